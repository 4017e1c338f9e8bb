"""Old hours become days: every row counted once, whatever dies in between."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from roadworthy.observe import Counts, Window, WindowStore
from roadworthy.observe.compaction import GRACE, compact
from roadworthy.observe.recording import Recorder
from tests.conftest import Trained
from tests.observe.test_observe import recorder, rows_of

DAY = 20_000
NOW = (DAY + 40) * 86_400.0
VERSION = "v" * 64


def put(store: WindowStore, hour: int, rows: int, writer: str = "w", generation: int = 1) -> None:
    counts = Counts.empty(6)
    counts.cells[0] = rows
    store.write(
        Window(
            model="m", version=VERSION, hour=hour, writer=writer, generation=generation,
            counts=counts.packed(),
        )
    )  # fmt: skip


def rows_in(folder: Path) -> int:
    return sum(int(counts.cells[0]) for _, counts in WindowStore(folder).windows("m"))


def files(folder: Path, suffix: str) -> int:
    return len(list(folder.rglob(f"*{suffix}")))


def later(folder: Path) -> None:
    """Let the time pass for which files of hours stay."""
    for path in folder.rglob("*.day"):
        os.utime(path, (NOW - GRACE - 1, NOW - GRACE - 1))


def filled(folder: Path) -> WindowStore:
    """Two old days of two writers, and a young one."""
    store = WindowStore(folder)
    for day in (0, 1, 38):
        for hour in (0, 5, 23):
            put(store, (DAY + day) * 24 + hour, 10, "one")
            put(store, (DAY + day) * 24 + hour, 1, "two")
    return store


def test_old_hours_become_a_file_a_day_and_young_ones_stay(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert compact(store, now=NOW, hours_days=35) == 0
    assert (files(tmp_path, ".window"), files(tmp_path, ".day")) == (18, 2)
    assert rows_in(tmp_path) == 99
    assert compact(store, now=NOW, hours_days=35) == 0  # somebody may still be reading
    later(tmp_path)
    assert compact(store, now=NOW, hours_days=35) == 12
    assert (files(tmp_path, ".window"), files(tmp_path, ".day")) == (6, 2)
    assert rows_in(tmp_path) == 99
    (first, _), *_ = store.windows("m")
    assert (first.hour, len(first.sources)) == (DAY * 24, 6)
    assert [window.hour // 24 for window, _ in store.windows("m", since=(DAY + 1) * 24 + 7)] == [
        DAY + 1, *[DAY + 38] * 6
    ]  # fmt: skip


def test_what_comes_late_for_an_old_hour_is_counted_beside_its_day_and_then_in_it(
    tmp_path: Path,
) -> None:
    store = filled(tmp_path)
    compact(store, now=NOW, hours_days=35)
    assert store.pending("m", VERSION, DAY * 24, "one") is None
    put(store, DAY * 24, 7, "one")  # the same name, other rows: a clock that goes back
    assert store.pending("m", VERSION, DAY * 24, "one") is not None
    assert rows_in(tmp_path) == 106
    later(tmp_path)
    compact(store, now=NOW, hours_days=35)
    assert rows_in(tmp_path) == 106
    later(tmp_path)
    compact(store, now=NOW, hours_days=35)
    assert rows_in(tmp_path) == 106
    assert files(tmp_path, ".window") == 6


def test_killed_at_any_line_it_leaves_a_store_that_says_the_same(tmp_path: Path) -> None:
    line, ended = 0, False
    while not ended:
        folder = tmp_path / str(line)
        store = WindowStore(folder)
        for hour in (0, 1):
            put(store, DAY * 24 + hour, 10)
        if line % 2:  # the second half of the work, too
            compact(store, now=NOW, hours_days=35)
            later(folder)
        child = os.fork()
        if not child:
            _die_at(line // 2 * 3)
            compact(store, now=NOW, hours_days=35)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = not line % 2 and os.WIFEXITED(status)
        assert ended or os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
        assert rows_in(folder) == 20
        compact(store, now=NOW, hours_days=35)
        later(folder)
        compact(store, now=NOW, hours_days=35)
        assert rows_in(folder) == 20
        assert files(folder, ".window") == 0
        line += 1
    assert line > 40


def _die_at(wanted: int) -> None:
    """Kill this process when so many lines of the room have run."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if "roadworthy/observe" not in frame.f_code.co_filename:
            return None
        if event == "line":
            seen += 1
            if seen > wanted:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def test_a_dead_writer_whose_hour_is_in_a_day_is_not_counted_twice(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 5)
    monkeypatch.setattr("roadworthy.observe.recording.time.time", lambda: DAY * 86_400.0)
    dead = recorder(trained, tmp_path, "dead")
    for row in range(5):
        dead.add(matrix[row].tolist(), scores[row].tolist(), None)
    kept = Path(dead._file.name).read_bytes()
    dead.swap()
    dead.drain()
    place = Path(dead._file.name)
    dead.close()
    place.write_bytes(kept)
    for _ in range(2):
        compact(WindowStore(tmp_path), now=NOW, hours_days=35)
        later(tmp_path)
    assert files(tmp_path, ".window") == 0
    heir = recorder(trained, tmp_path, "heir")
    assert heir.recover() == 0
    heir.close()
    assert rows_in(tmp_path) == 5


def test_a_damaged_hour_or_day_is_left_and_told_of(tmp_path: Path) -> None:
    store = filled(tmp_path)
    torn = store.path("m", VERSION, DAY * 24 + 5, "one")
    torn.write_bytes(torn.read_bytes()[:-3])
    compact(store, now=NOW, hours_days=35)
    later(tmp_path)
    compact(store, now=NOW, hours_days=35)
    assert torn.exists()
    assert rows_in(tmp_path) == 89
    list(store.windows("m"))
    assert store.damaged == [torn]
    day = next(tmp_path.rglob("*.day"))
    day.write_bytes(b"torn")
    put(store, DAY * 24, 3)
    compact(store, now=NOW, hours_days=35)
    list(store.windows("m"))
    assert set(store.damaged) == {torn, day}


def test_two_at_once_do_the_work_once(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with WindowStore(tmp_path).alone():
        assert compact(store, now=NOW, hours_days=35) == 0
    assert files(tmp_path, ".day") == 0


def test_a_row_after_a_quiet_hour_is_counted_in_its_own_hour(
    bundles: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = bundles["binary"]
    matrix, scores, _ = rows_of(trained, 1)
    clock = [DAY * 86_400.0]
    monkeypatch.setattr("roadworthy.observe.recording.time.time", lambda: clock[0])
    one: Recorder = recorder(trained, tmp_path, "quiet")
    clock[0] += 40 * 3600
    assert not one.swap()  # as the server does every few seconds
    one.add(matrix[0].tolist(), scores[0].tolist(), None)
    one.close()
    ((window, counts),) = WindowStore(tmp_path).windows("m")
    assert window.hour == DAY * 24 + 40
    assert np.count_nonzero(counts.cells[:2]) == 2
