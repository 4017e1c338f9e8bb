"""Batch scoring: many files, partition by partition, exactly once, resumable."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.batch import predict_files
from roadworthy.batch.places import find_inputs, open_input, open_place
from roadworthy.batch.text import cut_text, find_layout, read_slice
from roadworthy.bundle import Bundle
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import DataSection
from roadworthy.table.delimited import read_delimited
from tests.batch.conftest import rows, scored

SMALL = {"workers": 1, "partition_mb": 0.01}


def manifest(folder: Path) -> dict[str, Any]:
    return msgspec.json.decode((folder / "_manifest.json").read_bytes())


def test_every_file_is_scored_as_predict_scores_it_alone(bundle: Bundle, tmp_path: Path) -> None:
    frames = {"a.csv": rows(700, 1), "b.parquet": rows(900, 2), "c.csv.gz": rows(300, 3)}
    source = tmp_path / "in"
    source.mkdir()
    frames["a.csv"].write_csv(source / "a.csv")
    frames["b.parquet"].write_parquet(source / "b.parquet", row_group_size=200)
    (source / "c.csv.gz").write_bytes(gzip.compress(frames["c.csv.gz"].write_csv().encode()))
    (source / "d.tsv").write_bytes(
        rows(50, 4).write_csv(separator="\t").replace("red", "é").encode("utf-16")
    )
    (source / "_hidden.csv").write_text("not a table")
    result = predict_files(
        [str(source)], bundle, str(tmp_path / "out"), keep=["id"], workers=2, partition_mb=0.01
    )
    assert (result.rows, result.rejected, result.resumed) == (1950, 0, 0)
    found = scored(tmp_path / "out")
    assert found.columns == ["file", "row", "id", *bundle.predict(frames["a.csv"]).columns]
    for name in ("a.csv", "b.parquet", "c.csv.gz", "d.tsv"):
        part = found.filter(pl.col("file") == str(source / name))
        assert part["row"].to_list() == list(range(part.height))
        assert part["id"].to_list() == [f"row-{number}" for number in range(part.height)]
        alone = bundle.predict(source / name)
        assert part.select(alone.columns).equals(alone)
    told = manifest(tmp_path / "out")
    assert told["rows"] == sum(part["rows"] for part in told["parts"]) == 1950
    assert len(told["parts"]) == len(list((tmp_path / "out").glob("part-*"))) > 5


def test_a_run_that_is_done_is_not_done_again_and_another_is_not_mixed_in(
    bundle: Bundle, tmp_path: Path
) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "out"
    rows(400).write_csv(source)
    first = predict_files([str(source)], bundle, str(out), **SMALL)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = predict_files([str(source)], bundle, str(out), **SMALL)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert (again.rows, again.resumed) == (400, first.parts)
    rows(200).write_csv(source)
    with pytest.raises(InputError, match="another"):
        predict_files([str(source)], bundle, str(out), **SMALL)
    anew = predict_files([str(source)], bundle, str(out), overwrite=True, **SMALL)
    assert (anew.rows, scored(out).height) == (200, 200)


def test_a_folder_with_files_of_others_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    rows(10).write_csv(tmp_path / "a.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"thesis\.txt"):
            predict_files(
                [str(tmp_path / "a.csv")], bundle, str(tmp_path / "out"), overwrite=overwrite
            )
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_a_bad_row_stops_the_run_or_is_listed_with_file_row_and_reason(
    bundle: Bundle, tmp_path: Path
) -> None:
    lines = rows(300).with_columns(pl.lit("red").alias("colour")).write_csv().splitlines()
    lines[1 + 250] = "x,large,red,true"
    lines[1 + 17] = "x,1,red,perhaps"
    lines[1 + 30] = "x,1,red,true,and,more"
    source = tmp_path / "a.csv"
    source.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"row 17|cells where the header has"):
        predict_files([str(source)], bundle, str(tmp_path / "stop"), workers=1, partition_mb=0.002)
    assert not (tmp_path / "stop" / "_manifest.json").exists()
    out = tmp_path / "reject"
    result = predict_files(
        [str(source)], bundle, str(out), bad_rows="reject", workers=1, partition_mb=0.002
    )
    assert (result.rows, result.rejected) == (300, 3)
    assert scored(out)["row"].to_list() == [n for n in range(300) if n not in (17, 30, 250)]
    listed = pl.concat([pl.read_csv(path) for path in sorted(out.glob("_rejects/*.csv"))])
    told = set(listed.select("row", "column").rows())
    assert told == {(17, "old"), (30, None), (250, "size")}
    assert listed["file"].unique().to_list() == [str(source)]
    assert "large" not in (out / "_rejects").joinpath(os.listdir(out / "_rejects")[0]).read_text()


def test_every_bad_row_of_many_is_rejected(bundle: Bundle, tmp_path: Path) -> None:
    endless = pl.int_range(600, eager=True) % 3 == 0
    size = pl.when(endless).then(float("inf")).otherwise("size").alias("size")
    frame = rows(600).with_columns(size)
    frame.write_parquet(tmp_path / "a.parquet")
    out = tmp_path / "out"
    result = predict_files(
        [str(tmp_path / "a.parquet")], bundle, str(out), bad_rows="reject", workers=1
    )
    assert (result.rows, result.rejected, scored(out).height) == (600, 200, 400)


@pytest.mark.parametrize(
    ("given", "match"),
    [("absent.csv", "does not exist"), ("nothing-*.csv", "no file"), ("ftp://x/y.csv", "unknown")],
)
def test_inputs_that_are_not_there_are_told(
    bundle: Bundle, tmp_path: Path, given: str, match: str
) -> None:
    path = given if "://" in given else str(tmp_path / given)
    with pytest.raises(InputError, match=match):
        predict_files([path], bundle, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_damaged_files_and_absent_columns_are_told(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="not a Parquet file"):
        predict_files([str(tmp_path / "a.parquet")], bundle, str(tmp_path / "out"))
    rows(20).drop("colour").write_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="'colour': is absent"):
        predict_files(
            [str(tmp_path / "b.parquet")], bundle, str(tmp_path / "o"), bad_rows="reject", workers=1
        )


def command(bundle: Bundle, source: Path, out: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "roadworthy", "predict", str(source), "-o", f"{out}/"]
    return [*start, "--model", str(bundle.path), "--partition-mb", "0.02", "--workers", "2", *more]


def started(run: subprocess.Popen, out: Path, parts: int) -> bool:
    """Whether a run was seen to have done some parts before it ended."""
    deadline = time.monotonic() + 90
    while len(list(out.glob("_progress/*.json"))) < parts and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return run.poll() is None


def killed_midway(bundle: Bundle, folder: Path) -> tuple[Path, Path, int]:
    """What a killed run read and left, and how many rows there are: more on a machine that is
    so quick, or so busy, that the run was over before it could be killed."""
    for height in (12_000, 48_000, 192_000):
        source, out = folder / f"{height}.csv", folder / f"out-{height}"
        rows(height).write_csv(source)
        run = subprocess.Popen(
            command(bundle, source, out), stderr=subprocess.DEVNULL, start_new_session=True
        )
        started(run, out, 3)
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.pid, signal.SIGKILL)  # it alone: its workers must end by themselves
        run.wait(30)
        _wait_until_no_process_is_left(run.pid)
        if not (out / "_manifest.json").exists():
            return source, out, height
    raise AssertionError("it ended before it could be killed")


def test_a_run_killed_midway_goes_on_and_writes_what_an_undisturbed_one_does(
    bundle: Bundle, tmp_path: Path
) -> None:
    source, out, height = killed_midway(bundle, tmp_path)
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("_progress/*.json")}
    (out / ".draft-left").write_bytes(b"half")
    again = subprocess.run(
        command(bundle, source, out, "--json"), capture_output=True, check=True, timeout=120
    )
    told = msgspec.json.decode(again.stdout)
    assert (told["rows"], told["resumed"]) == (height, len(done))
    for name, stamp in done.items():
        assert (out / "_progress" / name).stat().st_mtime_ns == stamp  # not done again
    predict_files([str(source)], bundle, str(tmp_path / "other"), workers=1, partition_mb=0.02)
    parts = {path.name: path.read_bytes() for path in out.glob("part-*")}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "other").glob("part-*")}
    assert scored(out)["row"].to_list() == list(range(height))
    assert not (out / ".draft-left").exists()


def _wait_until_no_process_is_left(group: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("workers outlived the run that started them")


def killed_worker(pid: int) -> bool:
    """Kill one of the workers of a run; whether there was one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
                return True
    except (OSError, ValueError):
        pass  # it is over
    return False


def test_a_worker_that_dies_costs_only_its_part(bundle: Bundle, tmp_path: Path) -> None:
    for height in (12_000, 48_000, 192_000):
        source, out = tmp_path / f"{height}.csv", tmp_path / f"out-{height}"
        rows(height).write_csv(source)
        run = subprocess.Popen(command(bundle, source, out, "--json"), stdout=subprocess.PIPE)
        killed = started(run, out, 1) and killed_worker(run.pid)
        told = msgspec.json.decode(run.communicate(timeout=180)[0])
        assert (run.returncode, told["rows"]) == (0, height)
        assert scored(out)["row"].to_list() == list(range(height))
        if killed:
            return
    raise AssertionError("it ended before a worker could be killed")


def test_a_bucket_is_read_by_ranges_and_written_with_a_manifest(
    bundle: Bundle, tmp_path: Path, aws: str
) -> None:
    import boto3

    client = boto3.client("s3")
    location = {"LocationConstraint": "eu-central-1"}
    client.create_bucket(Bucket="lake", CreateBucketConfiguration=location)
    parquet, text = io.BytesIO(), rows(300, 5).write_csv().encode()
    rows(500, 6).write_parquet(parquet, row_group_size=100)
    client.put_object(Bucket="lake", Key="in/2026/a.parquet", Body=parquet.getvalue())
    client.put_object(Bucket="lake", Key="in/2026/b.csv", Body=text)
    client.put_object(Bucket="lake", Key="in/2025/old.csv", Body=text)
    result = predict_files(["s3://lake/in/2026/*"], bundle, "s3://lake/out", **SMALL)
    assert result.rows == 800
    place = open_place("s3://lake/out")
    told = msgspec.json.decode(place.read("_manifest.json") or b"")
    parts = [pl.read_parquet(io.BytesIO(place.read(p["name"]) or b"")) for p in told["parts"]]
    found = pl.concat(parts)
    assert [input_["path"] for input_ in told["inputs"]] == [
        "s3://lake/in/2026/a.parquet",
        "s3://lake/in/2026/b.csv",
    ]
    alone = bundle.predict(rows(500, 6))
    assert found[:500].select(alone.columns).equals(alone)
    again = predict_files(["s3://lake/in/2026/"], bundle, "s3://lake/out", **SMALL)
    assert again.resumed == len(told["parts"])
    assert len(find_inputs(["s3://lake/in/**/*.csv"])) == 2
    with open_input(find_inputs(["s3://lake/in/2026/b.csv"])[0]) as stream:
        stream.seek(-10, os.SEEK_END)
        assert stream.read() == text[-10:]
    with pytest.raises(OutsideError):
        predict_files(["s3://no-such-lake/*.csv"], bundle, str(tmp_path / "out"))


cells = st.text(st.sampled_from("ab1,\"\n\r é'\t"), max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    table=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=25),
    size=st.integers(1, 60),
    blanks=st.integers(0, 3),
    bom=st.booleans(),
)
def test_slices_of_a_text_hold_the_rows_that_the_whole_text_holds(
    table: list[tuple[str, str, str]], size: int, blanks: int, bom: bool
) -> None:
    import csv
    import tempfile

    out = io.StringIO()
    out.write("\n" * blanks)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("one", "two", "three"), *table])
    content = (b"\xef\xbb\xbf" if bom else b"") + out.getvalue().encode()
    options = DataSection(delimiter=",", header=True)
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(content)
        file.flush()
        whole, _ = read_delimited(Path(file.name), options)
    layout, begin = find_layout(content, options, "it")
    stream = io.BytesIO(content)
    frames, at, first = [], begin, 0
    for cut in cut_text(stream, begin, layout, size, "it"):
        assert (cut.start, cut.first) == (at, first)
        frames.append(read_slice(content[cut.start : cut.stop], layout, "it", cut.first))
        assert frames[-1].height == cut.rows
        at, first = cut.stop, first + cut.rows
    assert at == len(content)
    assert pl.concat(frames).equals(whole)


def test_a_packed_file_is_called_by_its_name_as_in_training(bundle: Bundle, tmp_path: Path) -> None:
    for head, kind in (
        (b"PK\x03\x04", "Excel workbook"),
        (b"SQLite format 3\0", "SQLite database"),
    ):
        (tmp_path / "odd.csv").write_bytes(head + b"\0" * 50)
        with pytest.raises(InputError, match=kind):
            predict_files([str(tmp_path / "odd.csv")], bundle, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_that_are_not_ascii_are_read_and_written_where_the_locale_is(
    bundle: Bundle, tmp_path: Path
) -> None:
    source = tmp_path / "häuser"
    source.mkdir()
    rows(20).write_csv(source / "größe.csv")
    rows(20).write_parquet(source / "größe.parquet")
    program = "from roadworthy.cli import main; main()"
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    for data, output in (
        ("größe.csv", "antwört.csv"),
        ("größe.parquet", "antwört.parquet"),
        ("größe.csv", "teilä/"),
        ("größe.parquet", "gänze/"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", program, "predict", str(source / data), "--json",
             "--model", str(bundle.path), "-o", str(tmp_path / output)],
            capture_output=True, text=True, env={**os.environ, **plain}, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert (tmp_path / output).exists()
        assert msgspec.json.decode(run.stdout)["rows"] == 20
