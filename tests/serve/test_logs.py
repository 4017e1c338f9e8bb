"""What is written down: predictions as the model saw them, requests without the caller's data."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.serve.prediction_log import Logged, read
from roadworthy.serve.prediction_log.entries import Kinds
from roadworthy.serve.prediction_log.parquet import write_parquet
from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for, workers


def serve_logged(
    bundles: dict[str, Trained], tmp_path: Path, more: str = "", *options: str
) -> Server:
    text = f"[serve]\nlog_folder = 'log'\nlog_redact = ['race', 'sex']\n{more}\n"
    (tmp_path / "roadworthy.toml").write_text(text)
    return Server(bundles["binary"].bundle.path, *options, cwd=tmp_path)


def test_every_prediction_is_written_as_the_model_saw_it(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    rows = [ROW, {**ROW, "workclass": None, "occupation": "unheard of", "age": 50}]
    server = serve_logged(bundles, tmp_path, "", "--workers", "2")
    body = json.dumps(ROW).encode()
    server.request(
        "POST", "/predict", body, Content_Type="application/json", X_Request_ID="order-1"
    )
    given = server.predict(rows)[1]
    server.request(
        "POST", "/invocations", json.dumps({"instances": rows}).encode(),
        Content_Type="application/json",
    )  # fmt: skip
    server.predict({"age": 1})  # refused: nothing was predicted
    assert server.stop() == 0
    found = list(read(tmp_path / "log"))
    assert not list((tmp_path / "log").glob("*.open"))
    assert len(found) == 5
    (first,) = [one for one in found if one.request_id == "order-1"]
    assert first.inputs == {name: ROW[name] for name in ROW if name not in ("race", "sex")}
    assert (first.prediction, first.row) == ("<=50K", 0)
    assert (first.model, first.version) == ("adult", bundles["binary"].bundle.version)
    batch = [one for one in found if one.request_id == given["request_id"]]
    assert [one.row for one in batch] == [0, 1]
    assert [one.probabilities for one in batch] == [
        answer["probabilities"] for answer in given["predictions"]
    ]
    assert (batch[1].inputs["workclass"], batch[1].inputs["age"]) == (None, 50)
    assert batch[1].inputs["occupation"] == "unheard of"
    assert not [one for one in found if {"race", "sex"} & set(one.inputs)]


FORMS = {
    "one object": ("application/json", lambda rows: json.dumps(rows[0])),
    "objects": ("application/json", json.dumps),
    "columns": (
        "application/json", lambda rows: json.dumps({n: [r[n] for r in rows] for n in rows[0]}),
    ),
    "JSON lines": ("application/x-ndjson", lambda rows: "\n".join(map(json.dumps, rows))),
    "CSV": (
        "text/csv",
        lambda rows: "\n".join(",".join("" if c is None else str(c) for c in cells) for cells in
                               [list(rows[0]), *(row.values() for row in rows)]),
    ),
}  # fmt: skip


def test_the_log_holds_the_same_inputs_in_whatever_form_they_came(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    bundle = bundles["regression"].bundle
    rows = [golden.row for golden in bundle.golden[:5]]
    expected = [bundle.predict(row)["prediction"] for row in rows]
    (tmp_path / "roadworthy.toml").write_text("[serve]\nlog_folder = 'log'\n")
    with serving(bundle.path, cwd=tmp_path) as server:
        for name, (media, make) in FORMS.items():
            body = make(rows).encode()
            answer = server.request(
                "POST", "/predict", body, Content_Type=media, X_Request_ID=name.replace(" ", "_")
            )
            assert answer[0] == 200, answer
    found = list(read(tmp_path / "log"))
    alone = [one for one in found if one.request_id == "one_object"]
    assert len(alone) == 1
    assert len(found) == 1 + 4 * len(rows)
    for name in FORMS:
        its = [one for one in found if one.request_id == name.replace(" ", "_")]
        assert [one.prediction for one in its] == expected[: len(its)]
        for one, row in zip(its, rows, strict=False):
            again = bundle.predict(one.inputs)  # what is logged is a row that predicts the same
            assert again["prediction"] == one.prediction
            blank = [name for name, cell in row.items() if cell is None]
            assert [name for name, cell in one.inputs.items() if cell is None] == blank
        assert [one.inputs for one in its] == [
            one.inputs for one in found if one.request_id == "columns"
        ][: len(its)]


CELLS = {
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "category": st.text(st.characters(exclude_categories=["Cs"])),
    "date": st.just("2024-02-29T12:00:00+00:00"),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), classes=st.sampled_from([(), ("no", "yes"), (0, 1), (False, True)]))
def test_parquet_gives_back_what_was_logged(
    data: st.DataObject, classes: tuple, tmp_path_factory: pytest.TempPathFactory
) -> None:
    columns = {kind: kind for kind in CELLS}
    kinds = Kinds("m", "v", columns, list(classes), [str(one) for one in classes])
    cells = {name: st.none() | CELLS[kind] for name, kind in columns.items()}
    share = st.floats(0, 1)
    entry = st.builds(
        Logged, st.floats(0, 4e9).map(lambda t: round(t, 6)), st.text("abc", min_size=1),
        st.integers(0, 20_000), st.just("m"), st.just("v"), st.fixed_dictionaries(cells),
        st.sampled_from(classes) if classes else st.floats(-1e9, 1e9),
        st.fixed_dictionaries(dict.fromkeys(kinds.class_names, share)) if classes else st.none(),
        st.none() if classes else st.none() | st.lists(share, min_size=2, max_size=2),
    )  # fmt: skip
    rows = data.draw(st.lists(entry, max_size=5))
    file = tmp_path_factory.mktemp("log") / "m-v.0.parquet"
    write_parquet(rows, kinds, file)
    found = list(read(file))
    assert [round(one.time, 5) for one in found] == [round(one.time, 5) for one in rows]
    same_time = [msgspec.structs.replace(one, time=0.0) for one in found]
    assert same_time == [msgspec.structs.replace(one, time=0.0) for one in rows]
    assert [file.name] == [one.name for one in file.parent.iterdir()]


def test_a_line_that_a_killed_worker_left_half_is_not_read(tmp_path: Path) -> None:
    whole = Logged(1.5, "a", 0, "m", "v", {"x": 1.0}, "yes", {"no": 0.25, "yes": 0.75})
    line = msgspec.json.encode(whole) + b"\n"
    (tmp_path / "m-v.1.open").write_bytes(line + line[:30])
    (tmp_path / "m-v.0.jsonl").write_bytes(line)
    assert list(read(tmp_path)) == [whole, whole]
    (tmp_path / "m-v.2.jsonl").write_bytes(line + b"{}\n")
    with pytest.raises(InputError, match="line 2"):
        list(read(tmp_path))
    with pytest.raises(InputError, match="no prediction log"):
        list(read(tmp_path / "elsewhere"))


def test_a_killed_worker_loses_no_more_than_was_said(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    server = serve_logged(bundles, tmp_path)
    try:
        for _ in range(20):
            server.predict(ROW)
        wait_for(lambda: list((tmp_path / "log").glob("*.open")))
        wait_for(lambda: len(list(read(tmp_path / "log"))) == 20)
        os.kill(workers(server)[0], signal.SIGKILL)
        time.sleep(0.2)
        assert len(list(read(tmp_path / "log"))) == 20
    finally:
        server.stop()


def test_rows_without_room_are_counted_and_predictions_go_on(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    server = serve_logged(bundles, tmp_path, "log_rows = 10")
    try:
        assert server.predict([ROW] * 11)[0] == 200
        wait_for(lambda: b"roadworthy_log_dropped_total 11.0" in server.get("/metrics")[2])
    finally:
        server.stop()


def test_a_sample_is_taken_by_request(bundles: dict[str, Trained], tmp_path: Path) -> None:
    server = serve_logged(bundles, tmp_path, "log_sample = 0.5")
    for _ in range(100):
        server.predict([ROW, ROW])
    server.stop()
    found = list(read(tmp_path / "log"))
    assert 50 < len(found) < 150
    assert len({one.request_id for one in found}) == len(found) / 2


def test_the_access_log_says_what_happened_and_nothing_of_the_rows(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "roadworthy.toml").write_text("[serve]\naccess_log = true\n")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        server.request(
            "POST", "/predict?secret-query=1", json.dumps({**ROW, "age": "secret"}).encode(),
            Content_Type="application/json", X_API_Key="secret-key",
            Traceparent=f"00-{trace}-00f067aa0ba902b7-01",
        )  # fmt: skip
        server.get("/secret-path")
    found = [json.loads(line) for line in server.log if line.startswith("{")]
    (line,) = [line for line in found if line.get("route") == "/predict"]
    assert (line["status"], line["method"], line["trace_id"]) == (422, "POST", trace)
    assert "secret" not in "".join(server.log)
