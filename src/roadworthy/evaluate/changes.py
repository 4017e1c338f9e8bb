"""Cells to put in place of a column's own, for behavioural tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from roadworthy.contract import Column

_STEPS = 9


def constant(frame: pl.DataFrame, column: Column, value: Any) -> pl.Series:
    """The column with one value in every row of a frame."""
    return pl.Series(column.name, [value] * frame.height, dtype=frame[column.name].dtype)


def small_step(column: Column) -> float:
    """A thousandth of a number's spread; 0 where the smallest step there is is no small one.

    That is so for whole numbers of few values, and for a heap of one value: from none to a little
    is no small step.
    """
    if column.kind != "number" or len(set(column.quantiles)) < 5:
        return 0.0
    step = (column.quantiles[4] - column.quantiles[0]) * 1e-3
    if column.dtype == "integer":
        step = float(np.floor(step))
    return step if np.isfinite(step) else 0.0


def grid(column: Column, cells: pl.Series) -> list[Any]:
    """Values over the training range, ascending and all different."""
    low, high = column.minimum or 0.0, column.maximum or 0.0
    values = np.unique(np.concatenate([np.linspace(low, high, _STEPS), column.quantiles]))
    if column.dtype == "integer":
        values = np.unique(np.round(values))
    if cells.dtype.is_temporal():
        micros = (values * 1e6).round().astype(np.int64)
        return pl.Series(micros).cast(pl.Datetime("us")).to_list()
    return list(values.tolist())


def others(column: Column, cells: pl.Series) -> list[Any]:
    """Cells to swap in: the frequent levels, both booleans, the quantiles of a number."""
    if column.kind == "category":
        return list(column.levels()[:8])
    if column.kind == "boolean":
        return [True, False]
    return grid(column, cells)
