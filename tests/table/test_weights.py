"""Row weights: read from a column that is no feature, or refused by row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from roadworthy.errors import InputError
from roadworthy.project import Project
from roadworthy.table import Table, read_table


def weighted(weights: list[Any], goals: list[Any] | None = None) -> Table:
    rows = len(weights)
    frame = pl.DataFrame(
        {"x": np.arange(rows) / 3, "w": weights, "y": goals or ["a", "b"] * (rows // 2)},
        strict=False,
    )
    return read_table(frame, "y", project=Project().override("data", weight="w"))


@pytest.mark.parametrize(
    "weights", [[0.5, 2.0] * 20, [0, 1] * 20, [3] * 40, list(range(1, 41)), ["1.5", "2"] * 20]
)
def test_the_weights_of_a_column_are_no_feature_and_go_with_their_rows(weights: list[Any]) -> None:
    table = weighted(weights)
    assert table.contract.names == ("x",)
    assert table.weights is not None
    np.testing.assert_array_equal(table.weights, np.array(weights, dtype=float))
    rows = table.split.train
    np.testing.assert_array_equal(table.training.weights, table.weights[rows])
    assert next(p.why_not for p in table.profiles if p.name == "w") == "says how much a row weighs"


@pytest.mark.parametrize(
    ("cell", "fault"),
    [(None, "blank"), (-1.0, "below 0"), (float("inf"), "blank or no finite"), ("much", "no fin")],
)
def test_a_weight_that_is_none_is_named_by_its_row(cell: Any, fault: str) -> None:
    weights: list[Any] = [1.5, 2.5] * 20
    weights[6] = cell
    with pytest.raises(InputError, match=fault) as caught:
        weighted([str(w) for w in weights] if isinstance(cell, str) else weights)
    assert "'w', row 7 below the header" in str(caught.value)


def test_the_row_is_counted_in_the_table_as_it_was_given() -> None:
    weights, goals = [1.5, 2.5] * 20, ["a", "b"] * 20
    weights[6], goals[2] = -1.0, None  # the row without a target is dropped before
    with pytest.raises(InputError, match="below 0") as caught:
        weighted(weights, goals)
    assert "row 7 below the header" in str(caught.value)


def test_weights_of_zero_in_every_row_are_refused() -> None:
    with pytest.raises(InputError, match="every weight is 0"):
        weighted([0.0] * 40)


def test_a_weight_column_that_is_not_there_or_is_the_target_is_refused() -> None:
    frame = pl.DataFrame({"x": range(30), "y": ["a", "b", "b"] * 10})
    with pytest.raises(InputError, match="no column 'z'"):
        read_table(frame, "y", project=Project().override("data", weight="z"))
    with pytest.raises(InputError, match="is the target"):
        read_table(frame, "y", project=Project().override("data", weight="y"))
