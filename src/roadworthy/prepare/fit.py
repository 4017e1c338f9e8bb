"""Learn a FeaturePlan from training rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import DatePart, Feature, FeaturePlan, date_part
from roadworthy.project import PrepareSection

ORDERED_LEVELS = 30
"""Categories of up to so many levels are coded in the order of the target's mean (W. D. Fisher
1958; Breiman et al. 1984, section 9.4: a tree then finds the best grouping by one threshold);
larger ones in the order of frequency, because means of rare levels would leak the target."""

_DATE: tuple[DatePart, ...] = ("days", "year", "month", "day", "weekday", "yearday")


class Prepared(NamedTuple):
    """A plan and the matrix of the rows that it was learned from.

    The matrix is what a model is fitted on. It is the plan's own, but for columns whose encoding
    looks at the target: there each row is coded by what the other rows say (cross-fitting).
    """

    plan: FeaturePlan
    matrix: NDArray[np.float64]


def fit_encode(
    frame: pl.DataFrame,
    labels: NDArray[np.float64],
    contract: Contract,
    options: PrepareSection,
    seed: int = 0,
) -> Prepared:
    """Learn a plan and encode the rows that it is learned from.

    Args:
        frame: Training rows, typed as `Table.frame`.
        labels: The target of these rows, `[N]`: a class's position or a number.
        contract: The columns to use.
        options: `[prepare]`.
        seed: Seed of the cross-fitting.
    """
    plan = fit_plan(frame, labels, contract, options)
    return Prepared(plan, encode_columns(frame, plan))


def fit_plan(
    frame: pl.DataFrame,
    labels: NDArray[np.float64],
    contract: Contract,
    options: PrepareSection,
) -> FeaturePlan:
    """Learn imputations and category tables.

    Args:
        frame: Training rows, typed as `Table.frame`.
        labels: The target of these rows, `[N]`: a class's position or a number.
        contract: The columns to use.
        options: `[prepare]`.

    Returns:
        The plan. A blank number becomes the mean (or median), a blank category, boolean or date
        the most frequent level, the most frequent value or the mean date.
    """
    ordered = contract.target.task != "multiclass"
    features: list[Feature] = []
    for column in contract.columns:
        series = frame[column.name]
        if column.kind == "number":
            features.append(_number(column, series, options))
        elif column.kind == "boolean":
            most = float(series.drop_nulls().cast(pl.Float64).mean() or 0.0) > 0.5  # type: ignore[arg-type]
            features.append(Feature(column=column.name, read="boolean", blank=float(most)))
        elif column.kind == "date":
            features += _dates(column, series)
        else:
            features.append(_category(column, series, labels if ordered else None, options))
    return FeaturePlan(tuple(features))


def _number(column: Column, series: pl.Series, options: PrepareSection) -> Feature:
    known = series.drop_nulls().cast(pl.Float64)
    middle = known.median() if options.number_blank == "median" else known.mean()
    if middle is None or not np.isfinite(middle):  # type: ignore[arg-type]
        middle = known.median() or 0.0  # all blank in this fold, or a sum beyond float64
    return Feature(column=column.name, read="number", blank=float(middle))  # type: ignore[arg-type]


def _dates(column: Column, series: pl.Series) -> list[Feature]:
    micros = series.drop_nulls().cast(pl.Int64).cast(pl.Float64)
    seconds = float(round(float(micros.mean() or 0.0) / 1e6))  # type: ignore[arg-type]
    parts: tuple[DatePart, ...] = (*_DATE, "hour") if column.dtype == "datetime" else _DATE
    return [
        Feature(column=column.name, read="date", part=part, blank=date_part(seconds, part))
        for part in parts
    ]


def _category(
    column: Column,
    series: pl.Series,
    labels: NDArray[np.float64] | None,
    options: PrepareSection,
) -> Feature:
    counts = (
        series.drop_nulls().value_counts().sort(["count", series.name], descending=[True, False])
    )
    names = list(counts[series.name].head(options.max_levels)) or [""]  # every cell is blank
    most = names[0]
    if labels is not None and 1 < len(names) <= ORDERED_LEVELS:
        codes = series.replace_strict(names, range(len(names)), default=None, return_dtype=pl.Int64)
        known = codes.is_not_null().to_numpy()
        coded = codes.drop_nulls().to_numpy()
        # NumPy adds in row order: the same bits on every run, unlike a threaded group-by.
        means = np.bincount(coded, labels[known]) / np.bincount(coded)
        names = [name for _, name in sorted(zip(means, names, strict=True))]
    return Feature(
        column=column.name,
        read="category",
        blank=float(names.index(most)),
        levels=tuple(names),
        code=True,
    )
