from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.errors import InputError
from roadworthy.project import Project
from roadworthy.table import read_table
from roadworthy.table.split import split_rows


@given(st.integers(2, 500), st.floats(0.01, 0.9), st.integers(0, 99))
def test_the_parts_are_the_table(rows: int, share: float, seed: int) -> None:
    split = split_rows(rows, share, seed)
    assert sorted([*split.train, *split.holdout]) == list(range(rows))
    assert len(split.train)
    assert len(split.holdout)
    again = split_rows(rows, share, seed)
    assert (again.holdout == split.holdout).all()


@given(st.lists(st.integers(0, 4), min_size=10, max_size=300), st.integers(0, 9))
def test_classes_keep_their_shares_and_a_row_to_train_on(codes: list[int], seed: int) -> None:
    strata = np.array(codes)
    split = split_rows(len(strata), 0.2, seed, strata=strata)
    for code in np.unique(strata):
        count = int((strata == code).sum())
        held = int((strata[split.holdout] == code).sum())
        assert abs(held - 0.2 * count) <= 1
        assert held < count


@given(st.lists(st.integers(0, 20), min_size=10, max_size=200), st.integers(0, 9))
def test_a_group_is_never_torn_apart(codes: list[int], seed: int) -> None:
    groups = np.array(codes)
    if len(np.unique(groups)) < 2:
        with pytest.raises(InputError, match="one group"):
            split_rows(len(groups), 0.2, seed, groups=groups)
        return
    split = split_rows(len(groups), 0.2, seed, groups=groups)
    assert not set(groups[split.train]) & set(groups[split.holdout])
    assert len(split.train)
    assert len(split.holdout)


@given(st.lists(st.integers(0, 30), min_size=10, max_size=200))
def test_the_holdout_is_newer_than_all_training_rows(moments: list[int]) -> None:
    times = np.array(moments, dtype=float)
    if len(np.unique(times)) < 2:
        with pytest.raises(InputError, match="one moment"):
            split_rows(len(times), 0.2, 0, times=times)
        return
    split = split_rows(len(times), 0.2, 0, times=times)
    assert times[split.train].max() < times[split.holdout].min()


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "x": np.arange(200) * 0.5,
            "who": [f"p{i % 17}" for i in range(200)],
            "day": pl.Series(np.arange(200) // 4).cast(pl.Date),
            "y": ["a", "b"] * 100,
        }
    )


def test_a_project_names_group_and_time() -> None:
    project = Project().override("data", group="who")
    table = read_table(frame(), "y", project=project)
    assert table.groups is not None
    assert not set(table.training.groups) & set(table.holdout.groups)
    assert "who" not in table.contract.names
    later = read_table(frame(), "y", project=Project().override("data", time="day"))
    assert later.training.frame["day"].max() < later.holdout.frame["day"].min()
    assert later.split is not None
    assert "newest" in later.split.policy


def test_a_date_column_orders_the_split_unless_the_project_says_otherwise() -> None:
    table = read_table(frame(), "y")
    assert table.split is not None
    assert "newest" in table.split.policy
    assert table.times is not None
    assert table.training.frame["day"].max() < table.holdout.frame["day"].min()
    assert "--split random" in " ".join(table.notes)
    by_chance = read_table(frame(), "y", project=Project().override("data", split="random"))
    assert by_chance.split is not None
    assert "stratified" in by_chance.split.policy
    assert by_chance.times is None


def test_dates_of_birth_and_dates_with_blanks_order_nothing() -> None:
    for renamed in (
        frame().rename({"day": "date_of_birth"}),
        frame().with_columns(pl.when(pl.col("x") > 3).then(pl.col("day")).alias("day")),
    ):
        table = read_table(renamed, "y")
        assert table.split is not None
        assert "stratified" in table.split.policy


def test_a_date_does_not_order_the_split_when_a_class_is_only_in_the_newest_rows() -> None:
    late = frame().sort("day").with_columns(
        pl.when(pl.int_range(pl.len()) >= pl.len() - 10).then(pl.lit("new")).otherwise(
            pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b"))
        ).alias("y")
    )  # fmt: skip
    table = read_table(late, "y")
    assert table.split is not None
    assert "stratified" in table.split.policy
    assert "classes that the older ones lack" in " ".join(table.notes)
    with pytest.raises(InputError, match="only the holdout has"):
        read_table(late, "y", project=Project().override("data", split="time"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"split": "random", "group": "who"}, "contradict"),
        ({"split": "random", "time": "day"}, "contradict"),
        ({"split": "group"}, "needs a group column"),
        ({"split": "time", "group": "who"}, "contradict"),
    ],
)
def test_splits_that_contradict_themselves_are_refused(said: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(frame(), "y", project=Project().override("data", **said))


def test_a_time_column_with_blanks_or_words_is_refused() -> None:
    blank = frame().with_columns(pl.when(pl.col("x") > 3).then(pl.col("day")).alias("day"))
    with pytest.raises(InputError, match="blanks"):
        read_table(blank, "y", project=Project().override("data", time="day"))
    with pytest.raises(InputError, match="neither dates nor numbers"):
        read_table(frame(), "y", project=Project().override("data", time="who"))
