"""Folds respect classes, groups and time, and impossible ones are refused before any work."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from roadworthy.errors import InputError
from roadworthy.project import Project, TrainSection
from roadworthy.table import Table, read_table
from roadworthy.train.folds import check_validation, make_folds, nested_estimate
from roadworthy.train.scoring import built_in


def table(goals: list, group: list | None = None, time: list | None = None) -> Table:
    columns = {"x": np.arange(len(goals)) ** 1.5, "y": goals}
    options = {}
    if group is not None:
        columns["who"], options["group"] = [f"g{name}" for name in group], "who"
    if time is not None:
        columns["when"], options["time"] = time, "when"
    frame = pl.DataFrame(columns)
    return read_table(frame, "y", project=Project().override("data", **options)).training


def covers(folds: list, rows: int, times: int = 1) -> bool:
    return sorted(np.concatenate([fold.valid for fold in folds])) == sorted([*range(rows)] * times)


def apart(folds: list) -> bool:
    return all(not set(fold.train) & set(fold.valid) for fold in folds)


def test_k_fold_may_be_asked_for_whatever_the_table_has() -> None:
    rows = table(["a", "b"] * 60, group=[i % 9 for i in range(120)])
    folds = make_folds(rows, 4, 0, validation="k_fold")
    assert covers(folds, len(rows))
    assert apart(folds)
    assert any(set(rows.groups[f.train]) & set(rows.groups[f.valid]) for f in folds)


def test_stratified_folds_keep_the_shares_of_the_classes() -> None:
    rows = table(["a", "b", "b", "b"] * 50)
    for fold in make_folds(rows, 5, 0, validation="stratified"):
        assert rows.labels[fold.valid].mean() == pytest.approx(rows.labels.mean(), abs=0.02)


def test_group_folds_keep_groups_whole_and_the_shares_as_far_as_they_allow() -> None:
    random = np.random.default_rng(0)
    group = random.integers(0, 40, 600)
    rows = table(["b" if g < 12 else "a" for g in group], group=list(group))
    folds = make_folds(rows, 4, 0, validation="group")
    assert covers(folds, len(rows))
    for fold in folds:
        assert not set(rows.groups[fold.train]) & set(rows.groups[fold.valid])
        assert rows.labels[fold.valid].mean() == pytest.approx(rows.labels.mean(), abs=0.12)


def test_time_folds_are_past_against_future_and_never_tear_a_moment() -> None:
    rows = table(["a", "b"] * 100, time=sorted(np.arange(200) // 3))
    for gap in (0, 10):
        folds = make_folds(rows, 5, 0, validation="time", gap=gap)
        assert len(folds) == 5
        for fold in folds:
            assert rows.times[fold.train].max() < rows.times[fold.valid].min()
            between = rows.times < rows.times[fold.valid].min()
            assert between.sum() - len(fold.train) == gap


def test_repeated_folds_are_cut_anew_each_time() -> None:
    rows = table(["a", "b"] * 40)
    folds = make_folds(rows, 4, 0, validation="repeated", repeats=3)
    assert covers(folds, len(rows), times=3)
    assert len({tuple(fold.valid) for fold in folds}) == 12


def test_auto_goes_by_time_then_groups_then_classes() -> None:
    both = ["a", "b"] * 60
    assert len(make_folds(table(both, time=list(range(120))), 3, 0)[0].train) < 40
    grouped = table(both, group=[i % 11 for i in range(120)])
    assert not set(grouped.groups[make_folds(grouped, 3, 0)[0].train]) & set(
        grouped.groups[make_folds(grouped, 3, 0)[0].valid]
    )


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=25, max_size=80),
    st.integers(2, 8),
    st.sampled_from(["auto", "k_fold", "stratified", "group", "time", "repeated"]),
    st.booleans(),
    st.integers(0, 3),
)
def test_any_folds_are_sound_or_an_error(rows, count, validation, timed, gap) -> None:
    goals, marks = [f"c{goal}" for goal, _ in rows], [mark for _, mark in rows]
    try:
        data = table(goals, **({"time": marks} if timed else {"group": marks}))
        folds = make_folds(data, count, 0, validation=validation, repeats=2, gap=gap)
    except InputError:
        return
    assert folds
    assert apart(folds)
    for fold in folds:
        assert len(fold.train)
        assert len(fold.valid)


@pytest.mark.parametrize(
    ("rows", "options", "key", "remedy"),
    [
        (table(list(np.arange(40.0))), {"validation": "stratified"}, "validation", "k_fold"),
        (table(["a", "b"] * 20), {"validation": "group"}, "validation", "[data] group"),
        (table(["a", "b"] * 20), {"validation": "time"}, "validation", "[data] time"),
        (
            table(["a", "b"] * 20, time=list(range(40))),
            {"validation": "repeated"},
            "validation",
            "leave out [data] time",
        ),
        (table(["a"] * 4 + ["b"] * 40), {"validation": "stratified"}, "folds", "folds = 3"),
        (
            table(["a", "b"] * 20, group=[0] * 38 + [1, 2]),
            {},
            "[data] group",
            "validation = 'k_fold'",
        ),
        (
            table(["a", "b"] * 20, time=list(range(40))),
            {"gap": 500},
            "[train] gap",
            "smaller gap",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_remedy(rows, options, key, remedy) -> None:
    with pytest.raises(InputError) as caught:
        check_validation(rows, TrainSection(**options))
    assert key in str(caught.value)
    assert remedy in str(caught.value)


def test_one_group_and_one_moment_are_refused() -> None:
    grouped = table(["a", "b"] * 30, group=[i % 5 for i in range(60)])
    one = grouped.take(np.flatnonzero(grouped.groups == grouped.groups[0]))
    with pytest.raises(InputError, match="of one group"):
        check_validation(one, TrainSection())
    timed = table(["a", "b"] * 30, time=[i // 10 for i in range(60)])
    moment = timed.take(np.flatnonzero(timed.times == timed.times[0]))
    with pytest.raises(InputError, match="no fold has both a past"):
        check_validation(moment, TrainSection())


def test_classes_that_a_sample_made_rare_stay_in_every_training_part() -> None:
    rows = table(["a"] * 4 + ["b"] * 60)
    for fold in make_folds(rows, 8, 0, validation="stratified"):
        assert 0.0 in rows.labels[fold.train]


def test_an_outer_loop_tells_what_choosing_the_best_of_many_hides() -> None:
    def best_column(data: Table):
        """A procedure that looks for the column that fits the labels best: there is none."""
        X, y = data.frame.to_numpy(), data.labels
        best = int(np.argmax([abs(np.corrcoef(X[:, i], y)[0, 1]) for i in range(X.shape[1])]))
        model = LogisticRegression().fit(X[:, [best]], y)
        return lambda frame: model.predict_proba(frame.to_numpy()[:, [best]])

    metric, seen, outer = built_in("roc_auc"), [], []
    for seed in range(8):
        random = np.random.default_rng(seed)
        frame = pl.DataFrame({f"x{i}": random.normal(size=120) for i in range(30)})
        goals = pl.Series("y", random.permutation(["a", "b"] * 60))
        rows = read_table(frame.with_columns(goals), "y").training
        seen.append(metric(rows.labels, best_column(rows)(rows.frame)))
        outer.append(nested_estimate(rows, best_column, metric, TrainSection(folds=5)))
    assert np.mean(seen) > 0.6
    assert np.mean([nested.score for nested in outer]) < 0.55
    assert all(len(nested.scores) == 5 and nested.spread for nested in outer)


def test_an_outer_loop_on_which_the_metric_is_undefined_is_an_error() -> None:
    rows = table(["a"] * 30 + ["b"] * 30, group=[i // 10 for i in range(60)])
    rows = rows.take(np.flatnonzero(np.isin(rows.groups, rows.groups[[0, -1]])))
    flat = lambda data: lambda frame: np.full((len(frame), 2), 0.5)  # noqa: E731
    with pytest.raises(InputError, match="undefined on every outer fold"):
        nested_estimate(rows, flat, built_in("roc_auc"), TrainSection(folds=2))
