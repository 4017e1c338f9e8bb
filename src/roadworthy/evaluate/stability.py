"""Whether quality holds: on other rows than the model learned from, later, and on worse data."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np
import polars as pl

from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.paired import two_sided
from roadworthy.evaluate.resample import Floats, Z
from roadworthy.evaluate.scored import Predict, Scored, is_better_greater, sample_rows
from roadworthy.table import Table

_ROWS = 2000
_NOISE = (0.01, 0.05, 0.1)
_BLANKS = (0.05, 0.1, 0.25)
_PERIODS = 6


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A metric on two sets of rows.

    Attributes:
        metric: The metric.
        first: Which rows it was better expected on: `training`, `validation`, `holdout`.
        second: The other rows.
        on_first: The metric there.
        on_second: And there.
        drop: By how much it is worse (above 0) on the second.
        p_value: Two-sided, that there is no difference; None where an error is unknown.
    """

    metric: str
    first: str
    second: str
    on_first: Estimate
    on_second: Estimate
    drop: Estimate
    p_value: float | None


class Robustness(msgspec.Struct, frozen=True, kw_only=True):
    """A metric on rows that were made worse on purpose.

    Attributes:
        change: What was done to them.
        metric: The metric.
        before: On the rows as they are.
        after: On the changed ones.
        changed: Share of rows whose predicted class, or whose prediction by more than a tenth of
            the target's standard deviation, is another.
    """

    change: str
    metric: str
    before: float | None
    after: float | None
    changed: float


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A metric on consecutive rows of a table that is ordered by time."""

    name: str
    rows: int
    metric: str
    estimate: Estimate


class LearningPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A model refitted on part of the rows: how many, how many it was tried on, how it did."""

    training_rows: int
    tested_rows: int
    metric: str
    estimate: Estimate


class Fitted(Protocol):
    """What a `fit` has to return."""

    def scores(self, frame: pl.DataFrame) -> Floats:
        """Probabilities `[N, K]` or predictions `[N]` of typed rows."""
        ...


Fit = Callable[[Table], Fitted]
"""Trains on a table's rows, all of them."""


def compare_parts(
    metric: str, first: str, second: str, on_first: Estimate, on_second: Estimate
) -> Gap:
    """By how much a metric is worse on other, independent rows, with a z-test."""
    sign = 1.0 if is_better_greater(metric) else -1.0
    drop, p_value = Estimate(None), None
    if on_first.value is not None and on_second.value is not None:
        value = sign * (on_first.value - on_second.value)
        drop = Estimate(value)
        errors = (on_first.error, on_second.error)
        if errors[0] is not None and errors[1] is not None:
            error = math.hypot(errors[0], errors[1])
            drop = Estimate(value, value - Z * error, value + Z * error)
            p_value = two_sided(value / error) if error > 0 else float(value == 0)
    return Gap(
        metric=metric,
        first=first,
        second=second,
        on_first=on_first,
        on_second=on_second,
        drop=drop,
        p_value=p_value,
    )


def robustness(scored: Scored, predict: Predict, metric: str) -> tuple[Robustness, ...]:
    """The metric with noise on the numbers, and with cells blanked.

    Noise is normal, with a share of each column's spread between its 5 % and 95 % quantiles as
    standard deviation; blanks fall on any column that may be blank.
    """
    part = scored.take(sample_rows(len(scored), _ROWS, scored.seed))
    if len(part) < 20:
        return ()
    random = np.random.default_rng(scored.seed)
    changes = {f"noise of {share:.0%} on numbers": _noisy(part, share, random) for share in _NOISE}
    changes |= {f"{share:.0%} of cells blank": _blanked(part, share, random) for share in _BLANKS}
    changed = {name: frame for name, frame in changes.items() if frame is not None}
    if not changed:
        return ()
    answers = np.split(predict(pl.concat(list(changed.values()))), len(changed))
    areas = metric in ("roc_auc", "pr_auc")
    base = part.metrics(areas=areas)(_weights(part))[metric]
    return tuple(
        _changed(name, metric, base, part, Scored(part.table, scores, part.seed), areas)
        for name, scores in zip(changed, answers, strict=True)
    )


def _changed(
    name: str, metric: str, base: float, part: Scored, after: Scored, areas: bool
) -> Robustness:
    value = after.metrics(areas=areas)(_weights(part))[metric]
    if part.regression:
        other = np.abs(after.scores - part.scores) > 0.1 * part.target.scale
    else:
        other = after.predicted != part.predicted
    return Robustness(
        change=name,
        metric=metric,
        before=base if math.isfinite(base) else None,
        after=value if math.isfinite(value) else None,
        changed=float(other.mean()),
    )


def _weights(part: Scored) -> Floats:
    return np.ones(len(part)) if part.weights is None else part.weights


def _noisy(part: Scored, share: float, random: np.random.Generator) -> pl.DataFrame | None:
    columns = []
    for column in part.table.contract.columns:
        if column.kind == "number" and len(column.quantiles) == 5:
            spread = (column.quantiles[4] - column.quantiles[0]) / (2 * 1.645)
            if spread > 0 and math.isfinite(spread):
                noise = random.normal(0.0, share * spread, len(part))
                noise = np.round(noise) if column.dtype == "integer" else noise
                cells = part.table.frame[column.name].cast(pl.Float64) + pl.Series(noise)
                columns.append(cells.alias(column.name))
    numbers = [c.name for c in part.table.contract.columns if c.kind == "number"]
    return _typed(part, numbers).with_columns(columns) if columns else None


def _blanked(part: Scored, share: float, random: np.random.Generator) -> pl.DataFrame | None:
    columns = []
    for column in part.table.contract.columns:
        hit = pl.Series(random.random(len(part)) < share)
        if column.on_blank == "impute":
            columns.append(part.table.frame[column.name].set(hit, None))
    numbers = [c.name for c in part.table.contract.columns if c.kind == "number"]
    return _typed(part, numbers).with_columns(
        cells.cast(pl.Float64) if cells.name in numbers else cells for cells in columns
    ) if columns else None  # fmt: skip


def _typed(part: Scored, numbers: Sequence[str]) -> pl.DataFrame:
    """The model's columns with numbers as floats, so that changed frames stack."""
    frame = part.table.frame.select(part.table.contract.names)
    return frame.with_columns(pl.col(name).cast(pl.Float64) for name in numbers)


def periods(scored: Scored, metric: str) -> tuple[Period, ...]:
    """The metric over consecutive parts of rows that are ordered by time; empty without times."""
    times = scored.table.times
    if times is None or len(scored) < 40 * 2:
        return ()
    order = np.argsort(times, kind="stable")
    parts = np.array_split(order, min(_PERIODS, len(scored) // 40))
    found = []
    for number, rows in enumerate(parts):
        estimate = scored.take(np.sort(rows)).estimates().get(metric, Estimate(None))
        name = f"part {number + 1} of {len(parts)}"
        found.append(Period(name=name, rows=len(rows), metric=metric, estimate=estimate))
    return tuple(found)


def learning_curve(
    table: Table,
    fit: Fit,
    metric: str,
    *,
    shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    budget: float = 60.0,
) -> tuple[LearningPoint, ...]:
    """Refit on growing parts of the training rows and measure each on the holdout.

    Args:
        table: The table, with its split.
        fit: Trains on a table's rows.
        metric: What to measure by.
        shares: Shares of the training rows, ascending.
        budget: Seconds after which no further fit is begun.
    """
    start, training = time.monotonic(), table.training
    order = np.random.default_rng(0).permutation(len(training))
    found = []
    for share in shares:
        rows = np.sort(order[: max(20, round(share * len(training)))])
        found.append(_point(training.take(rows), table.holdout, fit, metric))
        if time.monotonic() - start > budget:
            break
    return tuple(found)


def backtest(
    table: Table, fit: Fit, metric: str, *, cuts: int = 4, budget: float = 60.0
) -> tuple[LearningPoint, ...]:
    """Train on everything up to a moment and test on what comes next, again and again.

    Args:
        table: A table with times.
        fit: Trains on a table's rows.
        metric: What to measure by.
        cuts: Moments, evenly spread over the second half of the rows.
        budget: Seconds after which no further fit is begun.

    Raises:
        ValueError: The table has no times.
    """
    if table.times is None:
        raise ValueError("a backtest needs a table that was read with [data] time")
    start = time.monotonic()
    order = np.argsort(table.times, kind="stable")
    edges = np.linspace(len(order) // 2, len(order), cuts + 1).astype(int)
    found = []
    for low, high in itertools.pairwise(edges):
        past, future = np.sort(order[:low]), np.sort(order[low:high])
        found.append(_point(table.take(past), table.take(future), fit, metric))
        if time.monotonic() - start > budget:
            break
    return tuple(found)


def _point(training: Table, tested: Table, fit: Fit, metric: str) -> LearningPoint:
    scored = Scored(tested, fit(training).scores(tested.frame))
    return LearningPoint(
        training_rows=len(training),
        tested_rows=len(tested),
        metric=metric,
        estimate=scored.estimates()[metric],
    )
