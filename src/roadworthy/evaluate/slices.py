"""How a model holds on subgroups: one row for each level of each low-cardinality column."""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.evaluate.metrics import Estimate, mean_interval, share_interval
from roadworthy.table import Table

MAX_LEVELS = 12
MIN_ROWS = 30
"""Rows below which an interval is too wide to act on; such slices are marked, not hidden."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One subgroup of the holdout.

    Attributes:
        column: The column that cuts it out.
        value: Its level; `(blank)` for blank cells.
        rows: Its rows.
        metric: `accuracy`, or `mae` for regression.
        estimate: The metric on it.
        gap: Its metric less that of all other rows; None when it is the whole.
        few: Whether it has fewer rows than an interval needs.
    """

    column: str
    value: str
    rows: int
    metric: str
    estimate: Estimate
    gap: float | None
    few: bool


def slice_report(holdout: Table, scores: NDArray[np.float64]) -> tuple[Slice, ...]:
    """Metrics of every slice, the columns in the table's order, the levels by rows.

    Args:
        holdout: The rows.
        scores: The model's answers, `[N, K]` or `[N]`.
    """
    if holdout.task == "regression":
        outcome, metric = np.abs(scores - holdout.labels), "mae"
    else:
        outcome = (scores.argmax(axis=1) == holdout.labels).astype(np.float64)
        metric = "accuracy"
    slices: list[Slice] = []
    for profile in holdout.profiles:
        if profile.kind in ("category", "boolean") and profile.distinct <= MAX_LEVELS:
            levels = holdout.frame[profile.name].cast(pl.String).fill_null("(blank)")
            slices += _column(profile.name, levels, outcome, metric)
    return tuple(slices)


def _column(name: str, levels: pl.Series, outcome: NDArray[np.float64], metric: str) -> list[Slice]:
    counts = levels.value_counts().sort(["count", levels.name], descending=[True, False])
    slices = []
    for level, rows in counts.iter_rows():
        inside = (levels == level).to_numpy()
        part, rest = outcome[inside], outcome[~inside]
        estimate = (
            share_interval(int(part.sum()), rows) if metric == "accuracy" else mean_interval(part)
        )
        slices.append(
            Slice(
                column=name,
                value=level,
                rows=rows,
                metric=metric,
                estimate=estimate,
                gap=float(part.mean() - rest.mean()) if len(rest) else None,
                few=rows < MIN_ROWS,
            )
        )
    return slices
