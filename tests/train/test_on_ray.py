"""Training with the fits on a real Ray cluster of several processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.cluster import attached
from roadworthy.errors import ProjectError
from roadworthy.progress import Progress
from roadworthy.project import Project, load_project
from roadworthy.table import Table, read_table
from roadworthy.train import train


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with attached(None, 2, store_bytes=100 << 20) as library:
        yield library


def small_table(rows: int = 300) -> Table:
    random = np.random.default_rng(1)
    size, colour = random.normal(size=rows), random.choice(["red", "green"], rows)
    label = size + (colour == "red") + random.normal(size=rows) > 0.5
    frame = pl.DataFrame({"size": size, "colour": colour, "bought": label.astype(str)})
    return read_table(frame, "bought")


def project(**options: Any) -> Project:
    families = ("linear", "boosting")
    grid = {"boosting": {"num_leaves": (3, 7)}}
    said = {"candidates": families, "search": "grid", "grid": grid, "folds": 3, "n_jobs": 2}
    return Project().override("train", **{**said, "budget": "120s", **options})


def test_a_cluster_finds_what_one_machine_finds_and_reports_as_it_goes(ray: Any) -> None:
    seen: list[Progress] = []
    here = train(small_table(), project=project())
    there = train(small_table(), project=project(engine="ray"), report=seen.append)
    assert [t.score for t in there.search.trials] == [t.score for t in here.search.trials]
    assert there.search.complete
    assert np.array_equal(there.oof_scores, here.oof_scores)
    holdout = small_table().holdout.frame
    assert np.array_equal(there.scores(holdout), here.scores(holdout))
    assert [p.done for p in seen if p.step == "search"][
        -1
    ] == 6  # two configurations on three folds


def test_a_worker_that_is_lost_loses_its_own_fit_alone_and_that_is_fitted_again(ray: Any) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill_one() -> None:
        while not killed and not over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if path.read_bytes().startswith(b"ray::_fit_there"):
                        os.kill(int(path.parent.name), signal.SIGKILL)
                        killed.append(int(path.parent.name))
                        break
                except OSError:
                    continue
            time.sleep(0.001)

    killer = threading.Thread(target=kill_one)
    killer.start()
    there = train(small_table(), project=project(engine="ray"))
    over.set()
    killer.join()
    assert killed
    here = train(small_table(), project=project())
    assert [t.score for t in there.search.trials] == [t.score for t in here.search.trials]
    assert not [t.note for t in there.search.trials if t.note]


def test_ctrl_c_ends_the_search_on_the_cluster_and_keeps_the_best_so_far(ray: Any) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == "search" and progress.done == 1:
            signal.raise_signal(signal.SIGINT)

    options = project(engine="ray", search="race", candidates=("linear", "forest"), grid={})
    model = train(small_table(2000), project=options, report=interrupt)
    assert "the user ended the search" in " ".join(model.search.notes)
    assert not model.search.complete


def test_an_address_without_the_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text('[train]\naddress = "head:6379"\n')
    with pytest.raises(ProjectError, match="address"):
        load_project(tmp_path / "roadworthy.toml")
    (tmp_path / "roadworthy.toml").write_text('[train]\nengine = "spark"\n')
    with pytest.raises(ProjectError, match="engine"):
        load_project(tmp_path / "roadworthy.toml")
