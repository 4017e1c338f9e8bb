"""How a model holds on subgroups: levels, ranges of numbers, and their pairwise intersections."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.cells import iso_date
from roadworthy.contract import Column
from roadworthy.evaluate.metrics import Estimate, mean_interval, share_interval
from roadworthy.evaluate.resample import Floats, Z, mean_and_error
from roadworthy.evaluate.scored import Scored

MAX_LEVELS = 12
MIN_ROWS = 30
"""Rows below which an interval is too wide to act on; such slices are marked, not hidden."""
_CROSSED = 4
_MAX_COLUMNS = 40
_MAX_SLICES = 240

METRICS = {
    "binary": (
        "accuracy", "roc_auc", "precision", "recall", "log_loss", "brier", "selection_rate",
        "calibration_gap",
    ),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("mae", "rmse", "bias"),
}  # fmt: skip
"""What is measured on each slice. Precision, recall and the selection rate are of the positive
class; the calibration gap is the mean probability of it less its share, the bias is the mean
prediction less the mean truth."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One subgroup of the holdout.

    Attributes:
        column: The column that cuts it out; `A & B` for an intersection of two.
        value: Its level; `(blank)` for blank cells, `1 to 5` for a range.
        rows: Its rows.
        metric: `accuracy`, or `mae` for regression.
        estimate: The metric on it.
        gap: Its metric less that of all other rows; None when it is the whole.
        few: Whether it has fewer rows than an interval needs.
        metrics: Each metric of the task on it.
        gaps: By how much each metric is worse (above 0) than on all other rows.
    """

    column: str
    value: str
    rows: int
    metric: str
    estimate: Estimate
    gap: float | None
    few: bool
    metrics: dict[str, Estimate] = {}
    gaps: dict[str, Estimate] = {}


class Cut(NamedTuple):
    """A column cut into levels: its name, the levels' names, and each row's level `[N]`."""

    column: str
    levels: tuple[str, ...]
    codes: NDArray[np.int64]


def slice_report(scored: Scored, named: Sequence[str] = ()) -> tuple[Slice, ...]:
    """Metrics of every slice, the columns in the table's order, the levels by rows.

    Args:
        scored: Rows with answers.
        named: Columns to cut by, and to cross with each other; empty takes every category and
            boolean of at most twelve levels, and the ranges of the numbers that the model takes.
    """
    cuts = named_cuts(scored, named)
    slices = [entry for cut in cuts for entry in cut_slices(scored, cut)]
    few = [cut for cut in cuts if len(cut.levels) <= MAX_LEVELS][: None if named else _CROSSED]
    for one, other in itertools.combinations(few, 2):
        slices += [entry for entry in cut_slices(scored, _cross(one, other)) if not entry.few]
        if len(slices) > _MAX_SLICES:
            break
    return tuple(slices[:_MAX_SLICES])


def named_cuts(scored: Scored, named: Sequence[str] = ()) -> list[Cut]:
    """The columns to slice by, cut into levels; categories first."""
    frame, columns = scored.table.frame, {c.name: c for c in scored.table.contract.columns}
    if named:
        return [cut_column(frame[name], columns.get(name)) for name in named]
    levels = [
        profile.name
        for profile in scored.table.profiles
        if profile.kind in ("category", "boolean")
        and profile.distinct <= MAX_LEVELS
        and profile.name in frame.columns
    ]
    ranges = [name for name, column in columns.items() if column.kind in ("number", "date")]
    chosen = [*levels[:_MAX_COLUMNS], *ranges[: max(0, _MAX_COLUMNS - len(levels))]]
    return [cut_column(frame[name], columns.get(name)) for name in chosen]


def cut_column(series: pl.Series, column: Column | None) -> Cut:
    """Cut a column: numbers and dates at the training table's quartiles, else by level."""
    if series.dtype.is_numeric() or series.dtype.is_temporal():
        return _ranges(series, column)
    texts = series.cast(pl.String).fill_null("(blank)")
    counts = texts.alias("level").value_counts()  # a column may be called "count"
    counts = counts.sort(["count", "level"], descending=[True, False])
    levels = tuple(counts["level"].to_list())
    codes = texts.replace_strict(
        pl.Series(levels, dtype=pl.String),
        pl.Series(range(len(levels)), dtype=pl.Int64),
        return_dtype=pl.Int64,
    )
    return Cut(series.name, levels, codes.to_numpy())


def _ranges(series: pl.Series, column: Column | None) -> Cut:
    numbers = (
        series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / 1e6
        if series.dtype.is_temporal()
        else series.cast(pl.Float64)
    ).to_numpy()
    known = numbers[np.isfinite(numbers)]
    if column is not None and len(column.quantiles) == 5:
        edges = np.unique(column.quantiles[1:4])
    else:
        edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.empty(0)
    codes = np.searchsorted(edges, numbers, side="left")
    codes[~np.isfinite(numbers)] = len(edges) + 1
    shown = [iso_date(edge) if series.dtype.is_temporal() else f"{edge:.6g}" for edge in edges]
    if not shown:
        levels = ["any"]
    else:
        middle = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
        levels = [f"up to {shown[0]}", *middle, f"above {shown[-1]}"]
    return Cut(series.name, (*levels, "(blank)"), codes)


def _cross(one: Cut, other: Cut) -> Cut:
    levels = tuple(f"{a} & {b}" for a in one.levels for b in other.levels)
    codes = one.codes * len(other.levels) + other.codes
    return Cut(f"{one.column} & {other.column}", levels, codes)


def cut_slices(scored: Scored, cut: Cut) -> list[Slice]:
    """The slices of one cut that have rows."""
    counts = np.bincount(cut.codes, minlength=len(cut.levels))
    slices = []
    for code, level in enumerate(cut.levels):
        if counts[code]:
            slices.append(_slice(scored, cut.codes == code, cut.column, level))
    return slices


def _slice(scored: Scored, inside: NDArray[np.bool_], column: str, level: str) -> Slice:
    metric = "mae" if scored.regression else "accuracy"
    rows = int(inside.sum())
    here = measures(scored, inside)
    gaps: dict[str, Estimate] = {}
    if rows < len(scored):
        there = measures(scored, ~inside)
        gaps = {name: _gap(name, here[name], there[name]) for name in here}
        rest = there[metric].value
    gap = None if rows == len(scored) else _less(here[metric].value, rest)
    return Slice(
        column=column,
        value=level,
        rows=rows,
        metric=metric,
        estimate=here[metric],
        gap=gap,
        few=rows < MIN_ROWS,
        metrics=here,
        gaps=gaps,
    )


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def measures(scored: Scored, inside: NDArray[np.bool_]) -> dict[str, Estimate]:
    """The task's slice metrics on some rows, each with an interval."""
    weights = None if scored.weights is None else scored.weights[inside]
    groups = None if scored.groups is None else scored.groups[inside]
    plain = weights is None and groups is None

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_] | slice = slice(None)) -> Estimate:
        found = hits[of]
        if plain:
            return share_interval(int(found.sum()), len(found))
        return mean_interval(
            found.astype(np.float64),
            None if weights is None else weights[of],
            None if groups is None else groups[of],
        )

    if scored.regression:
        error = scored.scores[inside] - scored.table.labels[inside]
        squares = mean_interval(error**2, weights, groups)
        return {
            "mae": mean_interval(np.abs(error), weights, groups),
            "rmse": _root(squares),
            "bias": mean_interval(error, weights, groups),
        }
    codes, predicted = scored.codes[inside], scored.predicted[inside]
    values = {
        "accuracy": share(codes == predicted),
        "log_loss": mean_interval(scored.loss[inside], weights, groups),
    }
    if scored.table.task != "binary":
        return values
    code = scored.target.positive_code
    truth, claimed, probability = codes == code, predicted == code, scored.scores[inside, code]
    return values | {
        "roc_auc": _area(truth, scored.levels[inside], weights),
        "precision": share(truth & claimed, claimed),
        "recall": share(truth & claimed, truth),
        "brier": mean_interval((probability - truth) ** 2, weights, groups),
        "selection_rate": share(claimed),
        "calibration_gap": mean_interval(probability - truth, weights, groups),
    }


def _area(truth: NDArray[np.bool_], levels: NDArray[np.int64], weights: Floats | None) -> Estimate:
    """The area under the ROC curve with DeLong's (1988) interval, kept within 0 and 1.

    Args:
        truth: Whether a row is of the positive class.
        levels: Dense rank of its probability, ascending: ties are told without sorting anew.
        weights: Row weights.
    """
    size = int(levels.max(initial=0)) + 1
    hits = np.bincount(levels[truth], None if weights is None else weights[truth], size)
    alarms = np.bincount(levels[~truth], None if weights is None else weights[~truth], size)
    positives, negatives = hits.sum(), alarms.sum()
    if min(truth.sum(), (~truth).sum()) < 2 or positives <= 0 or negatives <= 0:
        return Estimate(None)
    of_hits = ((np.cumsum(alarms) - alarms / 2) / negatives)[levels[truth]]
    of_others = 1.0 - ((np.cumsum(hits) - hits / 2) / positives)[levels[~truth]]
    area, error = mean_and_error(of_hits, None if weights is None else weights[truth])
    _, error2 = mean_and_error(of_others, None if weights is None else weights[~truth])
    half = Z * math.hypot(error, error2)
    return Estimate(area, max(0.0, area - half), min(1.0, area + half))


def _root(squares: Estimate) -> Estimate:
    if squares.value is None:
        return squares
    if squares.low is None or squares.high is None:
        return Estimate(math.sqrt(squares.value))
    return Estimate(
        math.sqrt(squares.value), math.sqrt(max(0.0, squares.low)), math.sqrt(squares.high)
    )


def _gap(metric: str, here: Estimate, there: Estimate) -> Estimate:
    """By how much a slice is worse than the rest, by Newcombe's (1998) method 10.

    It joins the two parts' own intervals, which for shares are Wilson's.
    """
    if here.value is None or there.value is None:
        return Estimate(None)
    if metric in ("calibration_gap", "bias"):  # a gap of these is how far apart they are
        sign = 1.0 if here.value >= there.value else -1.0
    elif metric in ("accuracy", "precision", "recall", "roc_auc"):
        sign = -1.0
    else:
        sign = 1.0
    if metric == "selection_rate":
        sign = 1.0 if here.value >= there.value else -1.0
    value = sign * (here.value - there.value)
    ends = (here.low, here.high, there.low, there.high)
    if any(end is None for end in ends):
        return Estimate(value)
    low, high, low2, high2 = (float(end) for end in ends if end is not None)
    down, up = (here.value - low, high - here.value)
    down2, up2 = (there.value - low2, high2 - there.value)
    if sign < 0:
        down, up, down2, up2 = up, down, up2, down2
    return Estimate(value, value - math.hypot(down, up2), value + math.hypot(up, down2))


def slice_gains(
    challenger: Scored, champion: Scored, named: Sequence[str] = ()
) -> dict[str, Estimate]:
    """By how much a model is better than another on each slice (above 0) or worse.

    Args:
        challenger: The new model's answers.
        champion: The other's to the same rows.
        named: Columns to slice by, as in `slice_report`.

    Returns:
        `COLUMN = LEVEL` -> gain of the share of right answers, or of the mean absolute error, with
        the paired interval; slices with fewer than 30 rows are left out.
    """
    gain = challenger.outcome - champion.outcome
    gain = -gain if challenger.regression else gain
    gains = {}
    for cut in named_cuts(challenger, named):
        for code, level in enumerate(cut.levels):
            inside = cut.codes == code
            if inside.sum() >= MIN_ROWS:
                weights = None if challenger.weights is None else challenger.weights[inside]
                groups = None if challenger.groups is None else challenger.groups[inside]
                gains[f"{cut.column} = {level}"] = mean_interval(gain[inside], weights, groups)
    return gains
