"""The search: within its budget, reproducible, and honest about what it could not do."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import InputError
from roadworthy.prepare.fit import fit_encode
from roadworthy.project import Project
from roadworthy.table import Table, read_table
from roadworthy.train import train
from roadworthy.train.candidates import CANDIDATES, Config, Fitted, Problem, Rows, Space
from roadworthy.train.folds import make_folds
from tests.conftest import DATA

FAMILIES = ("linear", "boosting", "forest")
SMALL = Project().override("train", budget="60s", folds=3, candidates=FAMILIES)


def small(task: str, rows: int = 400, seed: int = 0) -> Table:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    c = random.choice(["u", "v", "w"], rows)
    signal = x[:, 0] + (c == "u") + 0.3 * random.normal(size=rows)
    goal: object = signal
    if task == "binary":
        goal = np.where(signal > 0.3, "yes", "no")
    elif task == "multiclass":
        goal = np.array(["low", "mid", "high"])[np.digitize(signal, [-0.3, 0.9])]
    return read_table(pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": c, "y": goal}), "y")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_family_is_tried_and_beats_the_baseline(task: str) -> None:
    model = train(small(task), project=SMALL)
    families = {trial.family for trial in model.search.trials if trial.score is not None}
    assert families - {"blend"} == {*FAMILIES, "baseline"}
    assert model.search.complete
    best, dummy = model.search.best.score, model.search.trials[-1].score
    assert best is not None
    assert dummy is not None
    assert (best > dummy) if model.search.metric == "roc_auc" else (best < dummy)


def test_the_same_seed_gives_the_same_model_and_another_may_not() -> None:
    table = small("binary")
    first, second = train(table, project=SMALL), train(table, project=SMALL)
    assert first.search == second.search
    assert first.plan == second.plan
    np.testing.assert_array_equal(
        first.scores(table.holdout.frame), second.scores(table.holdout.frame)
    )
    other = train(table, project=SMALL.override("train", seed=5))
    assert other.search.trials != first.search.trials


def test_a_budget_is_kept() -> None:
    table = read_table(DATA / "flights.parquet", "late")
    start = time.monotonic()
    model = train(table, 10.0)
    assert time.monotonic() - start < 30
    assert model.search.search_rows < 80_000
    # the validation rows are not trained on: the search fits what is served
    assert model.search.training_rows < 75_000
    assert not set(model.oof_rows) & set(range(80_000, 100_000))
    assert len(model.oof_rows) == len(model.oof_scores)
    assert not model.search.complete


def test_a_budget_that_is_gone_already_still_ends_in_a_model() -> None:
    table = read_table(DATA / "adult.csv", "income")
    model = train(table, "5s", started=time.monotonic() - 30)
    assert np.isfinite(model.scores(table.holdout.frame)).all()
    assert not model.search.complete


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("family", ["boosting", "catboost", "xgboost"])
def test_boosting_whose_time_is_over_in_its_first_round_is_a_model(family: str, task: str) -> None:
    table = small(task)
    labels = table.labels
    plan, matrix = fit_encode(table.frame, labels, table.contract, Project().prepare)
    rows = Rows(matrix, labels)
    problem = Problem(table.task, len(table.classes), plan, seed=0, threads=1, deadline=0.0)
    fitted = CANDIDATES[family].fit({}, problem, rows, valid=rows)
    assert fitted.rounds >= 1
    assert not fitted.complete
    assert np.isfinite(fitted.estimator.predict(rows.X)).all()


def test_classes_too_rare_for_the_folds_are_still_learned() -> None:
    table = small("multiclass")
    labels = [table.classes[int(code)] for code in table.labels]
    frame = table.frame.with_columns(pl.Series("y", labels))
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("rare")).otherwise(pl.col("y")).alias("y")
    )
    rare = read_table(frame, "y")
    assert "rare" in rare.classes
    model = train(rare, project=SMALL)
    assert model.scores(rare.holdout.frame).shape[1] == 4


def test_folds_respect_groups_time_and_classes() -> None:
    days = pl.Series(np.arange(300) // 3).cast(pl.Date)
    frame = pl.DataFrame(
        {
            "x": np.arange(300.0) ** 1.5,
            "who": [f"p{i % 23}" for i in range(300)],
            "day": days,
            "y": ["a", "b", "b"] * 100,
        }
    )
    grouped = read_table(frame, "y", project=Project().override("data", group="who")).training
    assert grouped.groups is not None
    for fold in make_folds(grouped, 5, 0):
        assert not set(grouped.groups[fold.train]) & set(grouped.groups[fold.valid])
    timed = read_table(frame, "y", project=Project().override("data", time="day")).training
    assert timed.times is not None
    for fold in make_folds(timed, 5, 0):
        assert timed.times[fold.train].max() <= timed.times[fold.valid].min()
    by_chance = Project().override("data", split="random")
    plain = read_table(frame, "y", project=by_chance).training
    seen = np.concatenate([fold.valid for fold in make_folds(plain, 5, 0)])
    assert sorted(seen) == list(range(len(plain)))


def test_a_candidate_that_fails_is_set_aside_with_its_reason(monkeypatch) -> None:
    class Broken:
        family = "broken"
        settings = frozenset[str]()

        def configurations(self, problem: Problem) -> list[Config]:
            return [{}]

        def space(self, problem: Problem) -> Space:
            return {}

        def fit(self, config: Config, problem: Problem, train: Rows, *rest: object) -> Fitted:
            raise MemoryError

    monkeypatch.setitem(CANDIDATES, "broken", Broken())
    project = SMALL.override("train", candidates=("broken", "linear"))
    model = train(small("binary"), project=project)
    assert model.family == "linear"
    assert [t.note for t in model.search.trials if t.family == "broken"] == [
        "set aside: it ran out of memory"
    ]
    with pytest.raises(InputError, match="out of memory"):
        train(small("binary"), project=SMALL.override("train", candidates=("broken",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "rmse"}, "does not fit"),
        ({"candidates": ("magic",)}, "unknown candidate 'magic'"),
        ({"candidates": ()}, "no candidate"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(small("binary"), project=SMALL.override("train", **options))


def test_progress_names_the_step_and_the_best_score() -> None:
    seen = []
    train(small("regression"), project=SMALL, report=seen.append)
    steps = [progress.step for progress in seen]
    assert steps.count("refit") == 1
    assert all(p.done <= p.total for p in seen)
    assert seen[-2].best is not None
    assert seen[-2].metric == "rmse"


@pytest.mark.parametrize("few", [2, 3, 4, 8])
def test_a_handful_of_rows_of_a_class_is_enough(few: int) -> None:
    x = np.random.default_rng(0).normal(size=300)
    table = read_table(pl.DataFrame({"x": x, "y": ["rare"] * few + ["usual"] * (300 - few)}), "y")
    model = train(table, project=SMALL)
    assert model.search.metric == "log_loss"
    assert model.scores(table.holdout.frame).shape[1] == 2


def test_more_folds_than_rows_are_cut_down() -> None:
    frame = pl.DataFrame({"x": np.arange(20.0) ** 2, "y": np.arange(20.0)})
    model = train(read_table(frame, "y"), project=SMALL.override("train", folds=20))
    assert model.search.folds == 8
    thin = Project().override("data", holdout=0.9)
    with pytest.raises(InputError, match="too few to validate"):
        train(read_table(frame, "y", project=thin), project=SMALL)


def test_a_target_beyond_squares_is_told_for_what_it_is() -> None:
    frame = pl.DataFrame({"x": np.arange(60.0) / 3, "y": np.linspace(-1e300, 1e300, 60)})
    with pytest.raises(InputError, match=r"finite rmse|set aside"):
        train(read_table(frame, "y"), project=SMALL)
