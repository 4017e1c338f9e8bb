"""What is served is counted: every row once, whatever its way, and whatever happens."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roadworthy.observe import Counts, WindowStore
from roadworthy.serve.counting import _stand_back
from tests.conftest import Server, Trained, serving
from tests.serve.test_bad_input import ROW
from tests.serve.test_http import wait_for, workers


def counted(trained: Trained, folder: Path) -> Counts:
    total = Counts.empty(trained.bundle.reference.layout.size)
    for _, counts in WindowStore(folder).windows(trained.bundle.manifest.name):
        total = total.merged(counts)
    return total


def serve(trained: Trained, tmp_path: Path, *options: str, seconds: float = 0.5) -> Server:
    text = f"[monitor]\ncounts = 'counts'\ncounts_seconds = {seconds}\n"
    (tmp_path / "roadworthy.toml").write_text(text)
    return Server(trained.bundle.path, *options, cwd=tmp_path)


def test_every_row_is_counted_once_by_whatever_way_it_came(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    server = serve(trained, tmp_path, "--workers", "2")
    for _ in range(10):
        server.predict(ROW)
    server.predict([{**ROW, "workclass": None, "occupation": "unheard of"}] * 30)
    server.predict([ROW] * 3000)
    server.request(
        "POST", "/invocations", json.dumps({"instances": [ROW] * 5}).encode(),
        Content_Type="application/json",
    )  # fmt: skip
    server.predict({**ROW, "age": "old"})
    server.predict({name: cell for name, cell in ROW.items() if name != "race"})
    server.stop()
    cells = counted(trained, tmp_path / "counts").cells
    layout = trained.bundle.reference.layout
    block = {one.name: its for one, its in zip(layout.columns, layout.blocks, strict=True)}
    assert layout.service(cells, "rows") == layout.service(cells, "scored") == 3045
    assert cells[block["workclass"].blank] == 30
    assert cells[block["occupation"].unseen] == 30
    assert (cells[block["age"].refused], cells[block["race"].refused]) == (1, 1)
    assert layout.service(cells, "refused") == 2
    assert cells[layout.latencies].sum() == 13
    assert layout.class_counts(cells).sum() == layout.score_table(cells).sum() == 3045
    assert not list((tmp_path / "counts" / ".rows").rglob("*.rows"))


def test_a_worker_that_is_killed_loses_no_row_that_was_answered(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    server = serve(trained, tmp_path, seconds=3.0)
    try:
        for _ in range(3):
            for _ in range(50):
                assert server.predict(ROW)[0] == 200
            os.kill(workers(server)[0], signal.SIGKILL)
            server.wait_ready()
        for _ in range(50):
            server.predict(ROW)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if counted(trained, tmp_path / "counts").cells[0] == 200:
                break
            time.sleep(0.3)
    finally:
        server.stop()
    assert counted(trained, tmp_path / "counts").cells[0] == 200


def test_drift_is_told_in_the_metrics(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["binary"]
    with serving(trained.bundle.path) as server:
        server.predict([{**ROW, "age": 500, "workclass": None}] * 1000)
    server = serve(trained, tmp_path)
    try:
        server.predict([{**ROW, "age": 500, "workclass": None}] * 1000)
        text, deadline = "", time.monotonic() + 30
        while "roadworthy_drift{" not in text and time.monotonic() < deadline:
            time.sleep(0.3)
            text = server.get("/metrics")[2].decode()
    finally:
        server.stop()
    name = trained.bundle.manifest.name
    for column, measure in (("workclass", "blank_share"), ("age", "outside_share")):
        line = f'roadworthy_drift{{column="{column}",measure="{measure}",model="{name}"}} 1.0'
        assert line in text


def test_a_store_that_cannot_be_written_stops_no_prediction(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "counts").write_text("a file is in the way")
    server = serve(bundles["binary"], tmp_path)
    try:
        wait_for(
            lambda: (
                server.predict(ROW)[0] == 200 and any("counts wait" in line for line in server.log)
            )
        )
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_every_kind_of_model_is_counted(
    bundles: dict[str, Trained], tmp_path: Path, name: str
) -> None:
    trained = bundles[name]
    rows = [golden.row for golden in trained.bundle.golden]
    server = serve(trained, tmp_path)
    for row in rows:
        assert server.predict(row)[0] == 200
    server.predict(rows)
    server.stop()
    cells = counted(trained, tmp_path / "counts").cells
    layout = trained.bundle.reference.layout
    assert layout.service(cells, "scored") == layout.score_table(cells).sum() == 2 * len(rows)


def test_a_version_that_is_swapped_out_is_counted_to_its_end_and_leaves_nothing_behind(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    old, new = bundles["binary"].bundle, bundles["linear"].bundle
    link = tmp_path / "current"
    link.symlink_to(old.path.resolve())
    (tmp_path / "roadworthy.toml").write_text(
        "[serve]\nfollow = true\n[monitor]\ncounts = 'counts'\ncounts_seconds = 0.3\n"
    )
    store = WindowStore(tmp_path / "counts")
    with serving(link, cwd=tmp_path) as server:
        server.predict([ROW] * 3)
        draft = tmp_path / "draft"
        draft.symlink_to(new.path.resolve())
        draft.replace(link)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if server.predict(ROW)[1]["version"] == new.version:
                break
            time.sleep(0.2)
        rows = store.folder / ".rows" / old.manifest.name / old.version[:12]
        while list(rows.glob("*.rows")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not list(rows.glob("*.rows"))
    counted = {
        version: sum(int(its.cells[0]) for _, its in store.windows(old.manifest.name, version))
        for version in (old.version, new.version)
    }
    assert counted[old.version] >= 3
    assert counted[new.version] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority")
def test_the_threads_that_count_let_the_one_that_answers_go_first() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine = priority()
    with ThreadPoolExecutor(1, initializer=_stand_back) as threads:
        assert threads.submit(priority).result(90) == min(19, mine + 5)
    assert priority() == mine
