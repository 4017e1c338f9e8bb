"""The prediction log on its way: Parquet, a bucket, PostgreSQL; nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.dataset
import pytest

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import load_project
from roadworthy.serve.prediction_log import Logged, read
from roadworthy.serve.prediction_log.entries import Kinds
from roadworthy.serve.prediction_log.shipping import Shipper
from roadworthy.serve.prediction_log.targets import Database, Folder
from tests.conftest import Server, Trained
from tests.registry.conftest import (  # noqa: F401 (fixtures)
    Postgres,
    aws,
    moto_server,
    postgres,
    postgres_server,
)
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for, workers

KINDS = Kinds("m", "v", {"x": "number", "t": "text"}, ["no", "yes"], ["no", "yes"])


def serve_logged(bundles: dict[str, Trained], folder: Path, more: str, *options: str) -> Server:
    text = f"[serve]\nlog_folder = 'log'\nlog_seconds = 1\nlog_redact = ['race']\n{more}\n"
    (folder / "roadworthy.toml").write_text(text)
    return Server(bundles["binary"].bundle.path, *options, cwd=folder)


def ask(server: Server, prefix: str, requests: int = 10) -> set[tuple[str, int]]:
    """Predict two rows a request; request id and row of each."""
    for number in range(requests):
        body = json.dumps([ROW, {**ROW, "workclass": None}]).encode()
        headers = {"Content_Type": "application/json", "X_Request_ID": f"{prefix}-{number}"}
        assert server.request("POST", "/predict", body, **headers)[0] == 200
    return {(f"{prefix}-{number}", row) for number in range(requests) for row in (0, 1)}


def names(rows: list[Logged]) -> list[tuple[str, int]]:
    return sorted((row.request_id, row.row) for row in rows)


def bucket(name: str) -> str:
    import boto3

    where = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return f"s3://{name}/log"


def test_segments_become_parquet_that_any_tool_reads(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    server = serve_logged(bundles, tmp_path, "log_format = 'parquet'", "--workers", "2")
    log = tmp_path / "log"
    asked = ask(server, "a")
    wait_for(lambda: list(log.glob("*.parquet")))
    asked |= ask(server, "b", 3)
    assert server.stop() == 0
    assert {file.suffix for file in log.iterdir()} == {".parquet", ".json"}
    assert names(list(read(log))) == sorted(asked)
    table = pyarrow.dataset.dataset(sorted(map(str, log.glob("*.parquet")))).to_table()
    assert table.num_rows == len(asked)
    inputs = table.column("inputs").combine_chunks().flatten()
    kinds = dict(zip(table.schema.field("inputs").type.names, inputs, strict=False))
    assert "race" not in kinds
    assert set(kinds["age"].to_pylist()) == {ROW["age"]}
    assert kinds["workclass"].null_count == len(asked) // 2


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_segments_go_to_a_bucket(
    bundles: dict[str, Trained],
    tmp_path: Path,
    aws: str,  # noqa: F811
    form: str,
) -> None:
    url = bucket(f"log-{form}")
    server = serve_logged(bundles, tmp_path, f"log_to = '{url}'\nlog_format = '{form}'")
    asked = ask(server, "a")
    assert server.stop() == 0
    assert names(list(read(url))) == sorted(asked)
    assert {file.suffix for file in (tmp_path / "log").iterdir()} == {".json"}
    with pytest.raises(OutsideError, match="cannot be used"):
        list(read("s3://there-is-none/log"))


def test_a_database_that_is_away_holds_nobody_up_and_gets_every_row_once(
    bundles: dict[str, Trained],
    tmp_path: Path,
    postgres: Postgres,  # noqa: F811
) -> None:
    server = serve_logged(bundles, tmp_path, f"log_to = '{postgres.url}'")
    asked = ask(server, "before")
    wait_for(lambda: stored(postgres) == sorted(asked))
    postgres.stop()
    try:
        asked |= ask(server, "away")
        wait_for(lambda: any("waits in its folder" in line for line in server.log))
        asked |= ask(server, "still-away")
    finally:
        postgres.start()
    wait_for(lambda: stored(postgres) == sorted(asked))
    rows = list(read(postgres.url))
    assert {row.inputs["workclass"] for row in rows} == {None, ROW["workclass"]}
    assert all(sum((row.probabilities or {}).values()) == pytest.approx(1) for row in rows)
    assert server.stop() == 0


def stored(postgres: Postgres) -> list[tuple[str, int]]:  # noqa: F811
    try:
        return names(list(read(postgres.url)))
    except OutsideError:
        return []


def test_what_a_killed_server_left_is_brought_by_the_next_one(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    more = "log_format = 'parquet'"
    server = serve_logged(bundles, tmp_path, more.replace("parquet", "jsonl"))
    asked = ask(server, "a")
    log = tmp_path / "log"
    wait_for(lambda: len(list(read(log))) == len(asked))
    for pid in (server.process.pid, workers(server)[0]):
        os.kill(pid, signal.SIGKILL)
    server.process.wait()
    left = next(iter([*log.glob("*.open"), *log.glob("*.jsonl")]))
    if left.suffix == ".open":
        left.write_bytes(left.read_bytes() + b'{"time": 17')  # it was killed in the middle
    following = serve_logged(bundles, tmp_path, more)
    asked |= ask(following, "b")
    following.stop()
    assert names(list(read(log))) == sorted(asked)
    assert not [*log.glob("*.open"), *log.glob("*.jsonl")]


def test_a_shipper_that_is_killed_is_replaced(bundles: dict[str, Trained], tmp_path: Path) -> None:
    server = serve_logged(bundles, tmp_path, "log_format = 'parquet'")
    try:
        wait_for(lambda: len(workers(server)) == 2)
        programs = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in workers(server)}
        (shipper,) = [pid for pid, program in programs.items() if "shipping" in program]
        os.kill(shipper, signal.SIGKILL)
        wait_for(lambda: len(set(workers(server)) - {shipper}) == 2)
        asked = ask(server, "a")
    finally:
        server.stop()
    assert names(list(read(tmp_path / "log"))) == sorted(asked)


def segment(folder: Path, name: str, rows: list[Logged]) -> Path:
    (folder / "m-v.columns.json").write_bytes(msgspec.json.encode(KINDS))
    file = folder / f"m-v.{name}.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return file


def entry(number: int, text: str = "a") -> Logged:
    inputs = {"x": float(number), "t": text}
    return Logged(1e9 + number, f"r{number}", 0, "m", "v", inputs, "yes", {"no": 0.0, "yes": 1.0})


def test_a_segment_that_comes_twice_is_stored_once(
    tmp_path: Path,
    postgres: Postgres,  # noqa: F811
) -> None:
    rows = [
        entry(number, text)
        for number, text in enumerate(["a", "", "ü\"'\\\n", "a\0b", "\U0001f600"])
    ]
    file = segment(tmp_path, "1", rows)
    for target in (Database(postgres.url), Database(postgres.url)):
        target.take(file, KINDS)
    found = list(read(postgres.url))
    assert found[3].inputs["t"] == "a\ufffdb"  # PostgreSQL's texts hold no NUL
    assert [one for one in found if one.row or one.request_id != "r3"] == rows[:3] + rows[4:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"not JSON\n"),
        lambda file: (file.parent / "m-v.columns.json").unlink(),
    ],
)
def test_a_spoilt_segment_is_set_aside_and_the_others_go_on(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    (tmp_path / "n-v.columns.json").write_bytes(msgspec.json.encode(KINDS))
    (tmp_path / "n-v.2.jsonl").write_bytes(msgspec.json.encode(entry(2)) + b"\n")
    spoil(segment(tmp_path, "1", [entry(1)]))
    assert Shipper(tmp_path, Folder(tmp_path)).ship()
    assert list(read(tmp_path)) == [entry(2)]
    assert (tmp_path / "m-v.1.bad").exists()


@pytest.mark.parametrize(
    "line",
    [
        "log_to = 'postgresql://me:secret@db/log'",
        "log_to = 'ftp://host/log'",
        "log_to = 's3://'",
        "log_format = 'xml'",
        "log_memory_mb = 0",
        "log_spool_mb = -1",
        "log_seconds = 0",
    ],
)
def test_a_place_that_cannot_be_used_is_refused_before_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text(f"[serve]\nlog_folder = 'log'\n{line}\n")
    with pytest.raises(InputError) as caught:
        load_project(file)
    assert "secret" not in str(caught.value)


def test_a_full_folder_is_not_filled_further(bundles: dict[str, Trained], tmp_path: Path) -> None:
    more = "log_to = 's3://no-such-bucket/log'\nlog_spool_mb = 0.001"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        patch.setenv("AWS_ACCESS_KEY_ID", "none")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        server = serve_logged(bundles, tmp_path, f"{more}\ndrain_seconds = 1")
    try:
        ask(server, "a")
        wait_for(lambda: list((tmp_path / "log").glob("*.jsonl")))

        def counted() -> bool:
            assert server.predict(ROW)[0] == 200
            return "roadworthy_log_dropped_total 0.0" not in server.get("/metrics")[2].decode()

        wait_for(counted)
    finally:
        server.stop()
    kept = sum(file.stat().st_size for file in (tmp_path / "log").iterdir())
    assert kept < 1_000_000


def test_a_missing_library_is_named_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pyarrow" else found(name, *a)
    )
    with pytest.raises(OutsideError, match="pyarrow") as caught:
        Folder(tmp_path)
    assert "roadworthy[arrow]" in str(caught.value.fix)
