"""Races, grids and studies: what is tried, what is kept, and what it may cost to serve."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import InputError, ProjectError
from roadworthy.project import Project, load_project
from roadworthy.table import Table, read_table
from roadworthy.train import sampler, train
from roadworthy.train.candidates import CANDIDATES, find_candidates
from roadworthy.train.cost import Price, Size, price
from roadworthy.train.digest import data_digest
from roadworthy.train.scoring import score
from tests.train.test_training import FAMILIES, SMALL, small

QUICK = SMALL.override("train", candidates=("linear", "boosting"))


def blanks(task: str) -> Table:
    """A table whose numbers and levels have blanks."""
    table = small(task)
    gone = pl.int_range(pl.len()) % 5 == 0
    frame = table.frame.with_columns(pl.when(~gone).then(pl.col("a")).alias("a"))
    goal = table.labels if not table.classes else [str(table.classes[int(y)]) for y in table.labels]
    return read_table(frame.with_columns(pl.Series("y", goal)), "y")


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_every_installed_family_runs_and_blends_are_reported_with_their_members(task: str) -> None:
    model = train(blanks(task), "60s", project=Project().override("train", folds=2))
    record = model.search
    tried = {trial.family for trial in record.trials if trial.score is not None}
    assert tried >= {*CANDIDATES, "baseline"}
    assert record.versions["lightgbm"]
    assert record.digest == data_digest(model.table.training)
    assert record.options["train"]["folds"] == 2
    for trial in record.trials[:-1]:
        assert trial.microseconds is not None or trial.note
    if record.best.members:
        assert sum(record.best.members.values()) == pytest.approx(1.0)
        assert len(record.best.members) <= 3
    assert len(model.fit_seconds) == len(record.trials)


def test_out_of_fold_scores_are_those_that_the_choice_was_made_on() -> None:
    model = train(small("binary"), project=SMALL)
    labels = model.table.training.labels[model.oof_rows]
    assert sorted(model.oof_rows) == list(range(len(model.table.training)))
    assert model.oof_scores.shape == (len(labels), 2)
    np.testing.assert_allclose(model.oof_scores.sum(axis=1), 1.0)
    pooled = score("roc_auc", labels, model.oof_scores)
    assert pooled == pytest.approx(model.search.best.score, abs=0.03)


@pytest.mark.parametrize("column", ["group", "time"])
def test_a_race_keeps_groups_together_and_time_in_order(column: str) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 2))
    frame = pl.DataFrame(
        {
            "a": x[:, 0],
            "b": x[:, 1],
            "group": [f"g{i % 11}" for i in range(300)],
            "time": pl.Series(np.arange(300)).cast(pl.Date),
            "y": x[:, 0] + 0.1 * random.normal(size=300),
        }
    )
    table = read_table(frame, "y", project=Project().override("data", **{column: column}))
    model = train(table, project=QUICK)
    part = model.table.training
    if column == "time":
        assert part.times is not None
        first = np.sort(part.times)[len(part) // 4 - 1]
        assert part.times[model.oof_rows].min() >= first  # the oldest are never predicted
    assert np.isfinite(model.oof_scores).all()


def test_serving_cost_is_a_limit() -> None:
    table = small("multiclass", rows=600)
    free = train(table, project=SMALL)
    tight = train(table, project=SMALL.override("train", max_microseconds=25.0, max_mb=0.15))
    assert tight.search.best.microseconds <= 25.0
    assert tight.search.best.megabytes <= 0.15
    assert free.search.best.microseconds <= 100.0


def test_a_limit_that_nothing_meets_is_told() -> None:
    project = SMALL.override("train", candidates=("linear",), max_microseconds=10.0, folds=2)
    model = train(small("multiclass"), project=project)
    assert any("max_microseconds" in note for note in model.search.notes)


def test_prices_grow_with_trees_leaves_features_and_outputs() -> None:
    base = price([Size(100, 3000)], 10, 1)
    assert price([Size(200, 6000)], 10, 1) > base
    assert price([Size(100, 6000)], 10, 1) > base
    assert price([Size(100, 3000)], 50, 1).microseconds > base.microseconds
    assert price([Size(100, 3000)], 10, 9).microseconds > base.microseconds
    assert price([Size(50, 1500), Size(50, 1500)], 10, 1).megabytes == base.megabytes
    assert base.within(Price(100.0, 10.0))
    assert not base.within(Price(1.0, 10.0))


GRID = {"forest": {"n_estimators": (5, 10), "max_depth": (2, 4), "min_samples_split": (2, 8)}}


def test_a_grid_tries_every_combination_on_every_fold() -> None:
    project = SMALL.override("train", search="grid", grid=GRID)
    record = train(small("binary"), project=project).search
    assert record.kind == "grid"
    assert len(record.trials) == 8 + 1
    assert all(trial.folds == 3 for trial in record.trials)
    configs = {json.dumps(trial.config, sort_keys=True) for trial in record.trials[:-1]}
    assert len(configs) == 8
    assert {trial.rounds for trial in record.trials[:-1]} == {5, 10}
    assert record.complete


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"forest": {"n_trees": (5,)}}, "forest has no setting 'n_trees'"),
        ({"magic": {"x": (1,)}}, "'magic' is no candidate"),
        ({"forest": {"n_estimators": tuple(range(200)), "max_depth": tuple(range(200))}}, "many"),
    ],
)
def test_a_grid_that_cannot_be_searched_is_refused(grid: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(small("binary"), project=SMALL.override("train", search="grid", grid=grid))


def test_a_grid_is_read_from_the_project_file(tmp_path: Path) -> None:
    file = tmp_path / "roadworthy.toml"
    file.write_text('[train]\nsearch = "grid"\n[train.grid.forest]\nmax_depth = [4, 8]\n')
    project = load_project(file, environment={})
    assert project.train.grid == {"forest": {"max_depth": (4, 8)}}
    file.write_text('[train]\nsearch = "grid"\n')
    with pytest.raises(ProjectError, match=r"train\.grid"):
        load_project(file, environment={})


def test_a_study_is_taken_up_and_gives_the_same_model(tmp_path: Path) -> None:
    file, table = tmp_path / "study.jsonl", small("binary")
    project = QUICK.override("train", study=str(file))
    first = train(table, project=project)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-3]) + lines[-3][:40])  # the last line was half written
    second = train(table, project=project)
    assert second.search == first.search
    assert sorted(file.read_bytes().splitlines()[1:]) != []
    assert len(file.read_bytes().splitlines()) == len(lines)
    third = train(table, project=QUICK)
    assert third.search.trials == first.search.trials


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.jsonl"
    project = QUICK.override("train", study=str(file), folds=2)
    train(small("binary"), project=project)
    with pytest.raises(InputError, match="other training rows"):
        train(small("binary", seed=1), project=project)
    with pytest.raises(InputError, match="seed is 0 and not 3"):
        train(small("binary"), project=project.override("train", seed=3))
    file.write_text("not a study\nat all\n")
    with pytest.raises(InputError, match="damaged"):
        train(small("binary"), project=project)
    with pytest.raises(InputError, match="folder of the study"):
        train(small("binary"), project=project.override("train", study="/nowhere/at/all"))


def test_optuna_asks_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_TRIALS", 8)
    file = tmp_path / "optuna.db"
    project = QUICK.override(
        "train", search="optuna", candidates=("linear",), study=str(file), folds=2
    )
    model = train(small("binary"), project=project)
    assert model.search.kind == "optuna"
    assert len(model.search.trials) == 4 + 8 + 1
    assert file.exists()
    with pytest.raises(InputError, match="other training rows"):
        train(small("binary", seed=2), project=project)


def test_ctrl_c_ends_the_search_and_keeps_the_best_so_far() -> None:
    seen = []

    def interrupt(progress: object) -> None:
        seen.append(progress)
        if len(seen) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    model = train(small("binary"), project=SMALL, report=interrupt)
    assert any("ended the search" in note for note in model.search.notes)
    assert not model.search.complete
    assert np.isfinite(model.scores(model.table.holdout.frame)).all()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_search_may_run_in_any_thread() -> None:
    found = []
    worker = threading.Thread(
        target=lambda: found.append(train(small("binary", rows=120), project=QUICK))
    )
    worker.start()
    worker.join()
    assert found[0].search.best.score > 0.7


OWN = """
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.linear_model import LogisticRegression

def small_trees():
    return GradientBoostingClassifier(n_estimators=20, max_depth=2)

def scaled():
    return make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression())

def broken():
    raise RuntimeError("no licence")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    return "own_models"


def test_an_estimator_of_the_user_takes_part_and_is_served(own: str, tmp_path: Path) -> None:
    from roadworthy.bundle.write import package
    from roadworthy.evaluate import test as evaluate

    for name in ("small_trees", "scaled"):
        table = small("binary") if name == "small_trees" else blanks("binary")
        project = SMALL.override("train", candidates=(f"{own}:{name}",), folds=2)
        model = train(table, project=project)
        assert model.family == f"{own}:{name}"
        bundle = package(model, evaluate(model, table.holdout), directory=tmp_path / name)
        assert bundle.parity["ways"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("KNeighborsClassifier", "KNeighborsClassifier is not one of"),
        ("broken", "no licence"),
        ("absent", "cannot be made"),
    ],
)
def test_an_estimator_that_cannot_be_served_is_refused(own: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(small("binary"), project=SMALL.override("train", candidates=(f"{own}:{name}",)))


def test_a_family_whose_library_is_missing_is_left_out_or_told(monkeypatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "catboost" else real(name)
    )
    assert "catboost" not in {candidate.family for candidate in find_candidates("auto")}
    with pytest.raises(InputError, match="not installed"):
        find_candidates(("catboost",))


def test_workers_do_not_change_the_outcome() -> None:
    one = train(small("binary"), project=SMALL.override("train", n_jobs=1))
    two = train(small("binary"), project=SMALL.override("train", n_jobs=2))
    assert one.search.trials == two.search.trials
    assert FAMILIES


def test_a_digest_tells_every_cell_and_every_label() -> None:
    table = small("binary")
    other = table.frame.with_columns(pl.col("c").replace("u", "v"))
    goal = [str(table.classes[int(y)]) for y in table.labels]
    changed = read_table(other.with_columns(pl.Series("y", goal)), "y")
    assert data_digest(table) == data_digest(small("binary"))
    assert data_digest(table) != data_digest(changed)
    assert data_digest(table) != data_digest(table.take(np.arange(len(table))[::-1]))


def test_folds_without_a_score_are_left_out() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    goal = np.where(x + random.normal(size=300) > 0.5, "yes", "no")
    goal[: 300 // 3] = "no"  # the first groups know one class only
    frame = pl.DataFrame({"x": x, "g": [f"g{i // 30}" for i in range(300)], "y": goal})
    table = read_table(frame, "y", project=Project().override("data", group="g"))
    model = train(table, project=QUICK.override("train", folds=8))
    assert model.search.best.score > 0.6
    assert 0 < model.search.folds <= 8
