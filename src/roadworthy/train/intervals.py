"""Prediction intervals of a regression from its out-of-fold errors."""

from __future__ import annotations

import math

import numpy as np

from roadworthy.contract import Interval, Task
from roadworthy.errors import InputError
from roadworthy.train.evidence import paired_gain
from roadworthy.train.record import IntervalEvidence
from roadworthy.train.scoring import Floats, Index

_FOLDS = 5
_LONGEST = 700.0
"""Distance on the log scale whose exponential is still a float64."""
_WHERE = "[train] interval"


def least_rows(level: float) -> int:
    """Rows that an interval of a level needs at least: fewer have no such quantile."""
    return max(20, math.ceil(2.0 / (1.0 - level) - 1e-9))


def check_interval(task: Task, level: float, rows: int) -> None:
    """Refuse, before any work, an interval that cannot be drawn.

    Args:
        task: The task.
        level: `[train] interval`; 0 is off.
        rows: Training rows.

    Raises:
        InputError: Classes have no interval, or there are too few rows for the level.
    """
    if level == 0:
        return
    if task != "regression":
        raise InputError(
            f"prediction intervals are for regression, and this is a {task} task",
            where=_WHERE,
            fix="leave interval out: probabilities say how sure an answer is",
        )
    if rows < least_rows(level):
        raise InputError(
            f"interval = {level:g} needs {least_rows(level)} training rows, and there are {rows}",
            where=_WHERE,
            fix="say a smaller share, or add rows",
        )


def choose_interval(
    predictions: Floats,
    y: Floats,
    level: float,
    *,
    weights: Floats | None = None,
    groups: Index | None = None,
    seed: int = 0,
) -> tuple[Interval, IntervalEvidence]:
    """Draw intervals around predictions from out-of-fold errors.

    Split-conformal quantiles of the errors of cross-validation (Vovk et al., 2005, ch. 2; Barber
    et al., 2021): each end leaves out half of what may be missed, and one row more counts than
    there are. The width is constant, or grows with the prediction (errors on the log scale)
    where the target is above 0 and that surely has the better interval score.

    Args:
        predictions: Out-of-fold predictions `[N]`.
        y: Target `[N]`.
        level: Share of true values to hold, 0 to 1.
        weights: Row weights.
        groups: Group of each row, for the comparison.
        seed: Seed of the comparison.

    Returns:
        The interval and its evidence.

    Raises:
        InputError: There are too few rows for the level.
    """
    check_interval("regression", level, len(y))
    weights = np.ones(len(y)) if weights is None else weights
    floors: list[float | None] = [None]
    if y.min() > 0 and (predictions > 0).mean() > 0.5:
        floors.append(float(min(y.min(), predictions[predictions > 0].min())))
    ends = {f: _left_out_ends(predictions, y, level, weights, f, seed) for f in floors}
    scores = {f: _interval_scores(y, *ends[f], level) for f in floors}
    chosen = floors[0]
    if len(floors) == 2:
        gain = paired_gain(scores[None], scores[floors[1]], weights, groups)
        chosen = floors[1] if gain.significant else None
    low, high = ends[chosen]
    evidence = IntervalEvidence(
        growing=chosen is not None,
        coverage=float(np.average((low <= y) & (y <= high), weights=weights)),
        width=float(np.median(high - low)),
        constant_score=float(np.average(scores[None], weights=weights)),
        growing_score=(
            float(np.average(scores[floors[1]], weights=weights)) if len(floors) == 2 else None
        ),
    )
    return _draw(predictions, y, level, weights, chosen), evidence


def _draw(
    predictions: Floats, y: Floats, level: float, weights: Floats, floor: float | None
) -> Interval:
    if floor is None:
        errors = y - predictions
    else:
        errors = np.log(y) - np.log(np.maximum(predictions, floor))
    low, high = _conformal_quantiles(errors, level, weights)
    if floor is not None:
        low, high = np.clip((low, high), -_LONGEST, _LONGEST).tolist()
    return Interval(level=level, low=low, high=high, floor=floor)


def _conformal_quantiles(errors: Floats, level: float, weights: Floats) -> tuple[float, float]:
    """The quantiles of both tails, as if one more row lay beyond each."""
    order = np.argsort(errors, kind="stable")
    ordered, masses = errors[order], weights[order]
    tail = (1.0 - level) / 2
    allowed = tail * (masses.sum() + masses[masses > 0].mean())  # mass beyond an end, one row more
    below = np.cumsum(masses)
    above = np.cumsum(masses[::-1])
    low = ordered[max(0, int(np.searchsorted(below, allowed * (1 + 1e-12), "right")) - 1)]
    high = ordered[::-1][max(0, int(np.searchsorted(above, allowed * (1 + 1e-12), "right")) - 1)]
    return float(low), float(high)


def _left_out_ends(
    predictions: Floats,
    y: Floats,
    level: float,
    weights: Floats,
    floor: float | None,
    seed: int,
) -> tuple[Floats, Floats]:
    """Both ends of each row's interval, drawn without the row's part."""
    part = np.random.default_rng(seed).permutation(len(y)) % _FOLDS
    low, high = np.zeros(len(y)), np.zeros(len(y))
    for number in range(_FOLDS):
        out = part == number
        drawn = _draw(predictions[~out], y[~out], level, weights[~out], floor)
        with np.errstate(over="ignore"):
            low[out], high[out] = drawn.around_many(predictions[out])
    return low, high


def _interval_scores(y: Floats, low: Floats, high: Floats, level: float) -> Floats:
    outside = np.maximum(low - y, 0.0) + np.maximum(y - high, 0.0)
    scores: Floats = (high - low) + outside * 2.0 / (1.0 - level)
    return scores
