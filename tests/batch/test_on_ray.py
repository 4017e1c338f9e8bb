"""Batch scoring on a real Ray cluster of several processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy.batch import predict_files
from roadworthy.bundle import Bundle
from roadworthy.cluster import attached, knock
from roadworthy.errors import InputError, OutsideError
from tests.batch.conftest import rows, scored


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with attached(None, 2, store_bytes=100 << 20) as library:
        yield library


def busy_children() -> list[int]:
    """Worker processes of Ray that score now, by what they call themselves."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_work"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def killed_midway(source: Path, bundle: Bundle, out: Path) -> tuple[int, list[int]]:
    """Rows that a cluster scored while one of its workers was killed, and that worker."""
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not killed and not over.is_set():
            if list(out.glob("_progress/*.json")):
                for pid in busy_children()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.001)

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        result = predict_files([str(source)], bundle, str(out), engine="ray", partition_mb=0.02)
    finally:
        over.set()
        killer.join()
    return result.rows, killed


def test_a_cluster_writes_the_bytes_that_one_machine_does_though_a_worker_is_killed_midway(
    ray: Any, bundle: Bundle, tmp_path: Path
) -> None:
    for height in (12_000, 48_000, 192_000):  # more where it is over before one can be killed
        source, out = tmp_path / f"{height}.csv", tmp_path / f"out-{height}"
        rows(height).write_csv(source)
        scored_rows, killed = killed_midway(source, bundle, out)
        assert (scored_rows, scored(out)["row"].to_list()) == (height, list(range(height)))
        if killed:
            break
    assert killed
    predict_files([str(source)], bundle, str(tmp_path / "local"), workers=1, partition_mb=0.02)
    parts = {path.name: path.read_bytes() for path in out.glob("part-*")}
    assert parts == {path.name: path.read_bytes() for path in (tmp_path / "local").glob("part-*")}


def test_a_bad_row_is_told_by_the_cluster_as_by_one_machine(
    ray: Any, bundle: Bundle, tmp_path: Path
) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id,size,colour,old\n" + "x,1,red,true\n" * 50 + "x,huge,red,true\n")
    with pytest.raises(InputError, match="row 50, column 'size'") as told:
        predict_files([str(source)], bundle, str(tmp_path / "out"), engine="ray")
    assert told.value.where == str(source)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    with pytest.raises(OutsideError, match="Ray cluster cannot be used"):
        knock(address)
