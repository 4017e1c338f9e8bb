"""Labels: kept once each in whatever order they come, joined by request and row."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from roadworthy.cli import app
from roadworthy.errors import InputError, OutsideError
from roadworthy.monitor.feedback import Kept, LabelStore, join, read_labels
from roadworthy.monitor.predictions import read_predictions
from roadworthy.serve.feedback import Label
from tests.conftest import Trained, serving
from tests.registry.conftest import *  # noqa: F403 (the PostgreSQL server)
from tests.registry.test_robustness import ended, forked
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for

LABEL = st.builds(
    Label,
    request_id=st.sampled_from(["a", "b", "c"]),
    label=st.sampled_from(["yes", "no", 1, 2.5, True]),
    row=st.integers(0, 2),
    time=st.sampled_from([10.0, 20.0, 30.0]),
)


def content(store: LabelStore) -> list[tuple]:
    return store.frame().select("request_id", "row", "label", "label_time").rows()


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(LABEL, max_size=12), data=st.data())
def test_the_same_labels_give_the_same_store_in_any_order_and_however_often_they_come(
    labels: list[Label], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    one, other = (LabelStore(f"sqlite:///{folder / name}") for name in ("one.db", "other.db"))
    one.add(labels)
    shuffled = data.draw(st.permutations(labels))
    cut = data.draw(st.integers(0, len(labels)))
    other.add(shuffled[:cut])
    other.add(shuffled)
    assert content(one) == content(other)
    assert len(one) == len({(label.request_id, label.row) for label in labels})
    assert one.add(labels)[:2] == (0, 0)


def test_a_later_label_corrects_an_earlier_one_and_an_older_one_that_comes_late_does_not(
    store: LabelStore,
) -> None:
    assert store.add([Label("a", "no", 0, 20.0)]) == Kept(new=1)
    assert store.add([Label("a", "yes", 0, 30.0)]) == Kept(corrected=1)
    assert store.add([Label("a", "maybe", 0, 10.0)]) == Kept(known=1)
    assert content(store) == [("a", 0, '"yes"', 30.0)]


def test_a_label_of_a_clock_that_is_ahead_is_held_no_longer_than_until_the_next_one(
    store: LabelStore,
) -> None:
    ahead = Label("a", "no", 0, time.time() + 9e8)
    assert store.add([ahead]) == Kept(new=1)
    assert store.add([ahead]) == Kept(known=1)
    assert store.add([Label("a", "yes", 0, time.time() - 3600)]) == Kept(known=1)
    assert store.add([Label("a", "yes", 0, time.time() + 1)]) == Kept(corrected=1)
    assert content(store)[0][:3] == ("a", 0, '"yes"')


def test_labels_on_postgresql_are_kept_alike(postgres) -> None:
    store = LabelStore(postgres.url)
    assert store.add([Label("a", 1, 0, 20.0), Label("b", 2, 1, 20.0)]) == Kept(new=2)
    assert store.add([Label("a", 3, 0, 25.0), Label("b", 2, 1, 20.0)]) == Kept(0, 1, 1)
    assert content(store) == [("a", 0, "3", 25.0), ("b", 1, "2", 20.0)]
    store.close()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_form_of_a_file_gives_the_same_labels(form: str, tmp_path: Path) -> None:
    rows = [
        {"request_id": "a", "row": 0, "label": "yes", "time": "2026-01-01T00:00:00"},
        {"request_id": "b", "row": 1, "label": "no", "time": "2026-01-02T00:00:00"},
        {"request_id": "c", "row": 0, "label": None, "time": "2026-01-02T00:00:00"},
    ]
    file = tmp_path / f"labels.{form}"
    frame = pl.DataFrame(rows)
    if form == "csv":
        frame.write_csv(file)
    elif form == "parquet":
        frame.with_columns(pl.col("time").str.to_datetime()).write_parquet(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(read_labels(file))
    assert [(each.request_id, each.row, each.label) for each in found] == [
        ("a", 0, "yes"), ("b", 1, "no"),
    ]  # fmt: skip
    assert [each.time for each in found] == [1767225600.0, 1767312000.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("request_id,label\n,yes\n", "request_id is blank"),
        ("id,label\na,yes\n", "no column 'request_id'"),
        ("request_id,label,row\na,yes,1.5\n", "whole number"),
        ("request_id,label,time\na,yes,yesterday\n", "ISO 8601"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused_whole_with_the_row(
    text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        list(read_labels(tmp_path / "bad.csv"))


def keep_and_count(url: str, labels: list[Label], point: int | None = None) -> int:
    """Keep labels; how many lines of the store that took. At the given line, be killed."""
    seen = 0

    def count(frame, event: str, _):
        nonlocal seen
        if not frame.f_code.co_filename.endswith("feedback/store.py"):
            return None
        seen += event == "line"
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

    store, before = LabelStore(url), sys.gettrace()
    sys.settrace(count)
    store.add(labels)
    sys.settrace(before)
    return seen


def test_a_process_killed_while_it_keeps_labels_leaves_none_twice_and_none_lost(
    tmp_path: Path,
) -> None:
    file, rows = tmp_path / "labels.jsonl", 15_000
    with file.open("w") as sink:
        for number in range(rows):
            sink.write(json.dumps({"request_id": f"r{number}", "label": 1, "time": 5}) + "\n")
    labels, lefts = list(read_labels(file)), set()
    lines = keep_and_count(f"sqlite:///{tmp_path / 'whole.db'}", labels)
    for batch in range(3):
        url, point = f"sqlite:///{tmp_path / f'{batch}.db'}", lines * (2 * batch + 1) // 6
        assert ended(forked(keep_and_count, url, labels, point)) == -signal.SIGKILL
        left = len(LabelStore(url, create=False))
        lefts.add(left)
        again = CliRunner().invoke(app, ["feedback", str(file), "--store", url, "--json"])
        assert json.loads(again.stdout)["labels"] == rows
        assert json.loads(again.stdout)["new"] == rows - left
    assert lefts == {0, 5000, 10_000}


def test_what_servers_were_sent_is_collected_once_and_a_torn_line_waits(
    store: LabelStore, tmp_path: Path
) -> None:
    file = tmp_path / "labels-20260101T000000Z-1-1.jsonl"
    file.write_bytes(b'{"request_id":"a","label":1,"row":0,"time":5.0}\n{"request_id":"b","la')
    assert store.collect(tmp_path) == Kept(new=1)
    assert store.collect(tmp_path) == Kept()
    with file.open("ab") as more:
        more.write(b'bel":2,"row":0,"time":5.0}\nnot a label\n')
    assert store.collect(tmp_path) == Kept(new=1)
    assert [row[:3] for row in content(store)] == [("a", 0, "1"), ("b", 0, "2")]


def test_a_label_travels_from_an_answer_over_the_server_to_its_prediction(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        "[serve]\nlog_folder = 'log'\nfeedback_folder = 'sent'\nworkers = 2\n"
    )
    bundle = bundles["binary"].bundle
    with serving(bundle.path, cwd=tmp_path) as server:
        single, batch = server.predict(ROW)[1], server.predict([ROW, ROW])[1]
        labels = [
            {"request_id": single["request_id"], "label": ">50K"},
            {"request_id": batch["request_id"], "row": 1, "label": "<=50K", "time": 1.8e9},
            {"request_id": batch["request_id"], "row": 0, "label": "a class never seen"},
            {"request_id": "nobody's", "label": "<=50K"},
        ]
        send = [json.dumps(labels).encode(), json.dumps(labels[0]).encode()]
        for body in send:
            status, _, answer = server.request(
                "POST", "/feedback", body, Content_Type="application/json"
            )
            assert status == 202, answer
        for wrong, status in ((b"{", 400), (b'{"label": 1}', 422), (b"[[]]", 422)):
            assert server.request("POST", "/feedback", wrong)[0] == status
        refused = json.loads(server.request("POST", "/feedback", b'{"request_id": ""}')[2])
        assert refused["errors"]
        server.process.kill()  # what was answered lies on the disk
    monkeypatch.chdir(tmp_path)
    wait_for(lambda: len(read_predictions(tmp_path / "log", bundle.contract)) == 3)
    ran = CliRunner().invoke(app, ["feedback", "--json"])
    assert ran.exit_code == 0, ran.output
    assert (json.loads(ran.output)["labels"], json.loads(ran.output)["unknown_ids"]) == (4, 1)
    predictions = read_predictions(tmp_path / "log", bundle.contract)
    outcomes = join(predictions, LabelStore("sqlite:///labels.db").frame())
    assert len(outcomes) == 3
    assert outcomes.unknown_ids == 1
    assert outcomes.unknown_values == {"a class never seen": 1}
    by_key = dict(
        zip(predictions.keys.select("request_id", "row").rows(), outcomes.labels, strict=True)
    )
    assert by_key[single["request_id"], 0] == 1.0
    assert by_key[batch["request_id"], 1] == 0.0
    assert outcomes.scored().estimates()["accuracy"].value is not None


def test_labels_are_for_those_who_may_predict_and_need_a_folder(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        status, _, body = server.request("POST", "/feedback", b'{"request_id":"a","label":1}')
        assert (status, b"feedback_folder" in body) == (404, True)
    (tmp_path / "roadworthy.toml").write_text(
        "[serve]\nkeys = 'keys.json'\nfeedback_folder = 'sent'\n"
    )
    from roadworthy.serve.guard import add_key

    key = add_key(tmp_path / "keys.json", "client")
    with serving(bundles["binary"].bundle.path, cwd=tmp_path) as server:
        body = b'{"request_id":"a","label":1}'
        assert server.request("POST", "/feedback", body)[0] == 401
        assert server.request("POST", "/feedback", body, X_API_Key=key)[0] == 202
    assert len(list((tmp_path / "sent").glob("labels-*.jsonl"))) == 1


def test_a_store_that_is_locked_full_or_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_text("this is no database, however long it may be " * 40)
    with pytest.raises(OutsideError, match="store of labels cannot be used"):
        LabelStore(f"sqlite:///{tmp_path / 'labels.db'}")
    with pytest.raises(InputError, match="no labels are kept here yet"):
        LabelStore(f"sqlite:///{tmp_path / 'gone.db'}", create=False)
    with pytest.raises(OutsideError):
        LabelStore("postgresql://127.0.0.1:1/none")
