"""Metrics of a holdout, with intervals.

Every metric is written once, for weighted rows and for many weightings at a time: with weights of
one it is the point estimate, with the counts of a resample one bootstrap replicate (Efron and
Tibshirani 1993, ch. 13, percentile intervals). Plain shares get Wilson's interval instead, which
is right for few rows and for shares of 0 and 1 too. Definitions follow scikit-learn's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.evaluate.resample import LEVEL, Codes, Floats, Resamples, Z, mean_and_error

Metrics = Callable[[Floats], dict[str, Any]]
"""Row weights `[N]` or `[B, N]` -> each metric, a float or `[B]`; NaN where it is undefined."""

_TINY = 1e-15
_BINS = 10
"""Bins of equal rows of the calibration error."""


class Estimate(msgspec.Struct, frozen=True):
    """A number with its 95 % interval; None where it is undefined.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    @property
    def error(self) -> float | None:
        """The standard error that the interval's width stands for."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / (2 * Z)


def class_metrics(
    codes: Codes,
    probabilities: Floats,
    *,
    predicted: Codes | None = None,
    areas: bool = True,
) -> Metrics:
    """Metrics of a classification.

    Args:
        codes: True class positions `[N]`.
        probabilities: `[N, K]`.
        predicted: The positions that are answered; None takes the most probable class.
        areas: Whether to compute the areas under the curves, by far the most costly part.

    Returns:
        The metrics; `precision.3` is the precision of class 3, and so are `recall` and `f1`.
    """
    count = probabilities.shape[1]
    answered = probabilities.argmax(axis=1) if predicted is None else predicted
    cells = codes * count + answered
    rows = np.arange(len(codes))
    loss = -np.log(np.clip(probabilities[rows, codes], _TINY, 1.0))
    hits = np.zeros_like(probabilities)
    hits[rows, codes] = 1.0
    squares = ((probabilities - hits) ** 2).sum(axis=1)
    brier = squares / 2 if count == 2 else squares
    ranked = ([1] if count == 2 else range(count)) if areas else ()
    rankings = [Ranking(codes == code, probabilities[:, code]) for code in ranked]
    bins, surplus = calibration_bins(codes, probabilities)

    def metrics(weights: Floats) -> dict[str, Any]:
        many = np.atleast_2d(weights)
        total = many.sum(axis=1)
        sums = np.array([np.bincount(cells, row, count * count) for row in many], dtype=float)
        values = confusion_metrics(sums.reshape(-1, count, count))
        found = [ranking.areas(many) for ranking in rankings]
        for place, name in enumerate(("roc_auc", "pr_auc")):
            each = np.array([area[place] for area in found]).reshape(len(found), len(many))
            values[name] = _mean_of_known(each, len(many))
        with np.errstate(invalid="ignore", divide="ignore"):
            values["log_loss"] = many @ loss / total
            values["brier"] = many @ brier / total
            off = [np.bincount(bins, row * surplus, _BINS) for row in many]
            values["calibration_error"] = np.abs(off).sum(axis=1) / total
        return _as_given(values, weights)

    return metrics


def calibration_bins(codes: Codes, probabilities: Floats) -> tuple[Codes, Floats]:
    """Bins of equal rows by probability, and by how much each row's exceeds its outcome.

    The probability is that of the second of two classes; of more classes it is the most probable
    one's (Guo et al. 2017, with bins of equal mass: Nixon et al. 2019).

    Returns:
        Bin of each row `[N]` and probability less outcome `[N]`.
    """
    if probabilities.shape[1] == 2:
        claimed, right = probabilities[:, 1], codes == 1
    else:
        best = probabilities.argmax(axis=1)
        claimed, right = probabilities.max(axis=1), codes == best
    edges = np.quantile(claimed, np.arange(1, _BINS) / _BINS) if len(claimed) else np.empty(0)
    return np.searchsorted(edges, claimed, side="left"), claimed - right


def confusion_metrics(confusion: Floats) -> dict[str, Any]:
    """Metrics from confusion matrices `[B, true, predicted]`, each `[B]`."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support, claimed = confusion.sum(axis=2), confusion.sum(axis=1)
    total = support.sum(axis=1)
    precision, recall, f1 = per_class(confusion)
    present = (support + claimed) > 0
    there = support > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = support / total[:, None]
        values: dict[str, Any] = {
            "accuracy": right.sum(axis=1) / total,
            "balanced_accuracy": (recall * there).sum(axis=1) / there.sum(axis=1),
            "mcc": _matthews(right.sum(axis=1), support, claimed, total),
        }
        for name, each in (("precision", precision), ("recall", recall), ("f1", f1)):
            values[f"{name}_macro"] = (each * present).sum(axis=1) / present.sum(axis=1)
            values[f"{name}_weighted"] = (shares * each).sum(axis=1)
        for code in range(confusion.shape[1]):
            for name, each in (("precision", precision), ("recall", recall), ("f1", f1)):
                values[f"{name}.{code}"] = each[:, code]
    return values


def per_class(confusion: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class; 0 where a class was never claimed or never there."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, claimed = confusion.sum(axis=-1), confusion.sum(axis=-2)
    zeros = np.zeros_like(support, dtype=np.float64)
    precision = np.divide(right, claimed, out=zeros.copy(), where=claimed > 0)
    recall = np.divide(right, support, out=zeros.copy(), where=support > 0)
    f1 = np.divide(2 * right, support + claimed, out=zeros.copy(), where=right > 0)
    return precision, recall, f1


def _matthews(right: Floats, support: Floats, claimed: Floats, total: Floats) -> Floats:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 for one class."""
    over = right * total - (support * claimed).sum(axis=1)
    under: Floats = np.sqrt(
        (total**2 - (claimed**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1))
    )
    correlation: Floats = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return correlation


def number_metrics(truth: Floats, predicted: Floats) -> Metrics:
    """Metrics of a regression, as `class_metrics`; `bias` is the mean of prediction less truth."""
    error = predicted - truth
    size = np.abs(error)
    order = np.argsort(size, kind="stable")
    nonzero = truth != 0
    shares = np.divide(size, np.abs(truth), out=np.zeros_like(size), where=nonzero)

    def metrics(weights: Floats) -> dict[str, Any]:
        many = np.atleast_2d(weights)
        total = many.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mean = many @ truth / total
            squares = many @ error**2
            spread = np.array([row @ (truth - m) ** 2 for row, m in zip(many, mean, strict=True)])
            values: dict[str, Any] = {
                "mae": many @ size / total,
                "rmse": np.sqrt(squares / total),
                "r2": np.where(spread > 0, 1.0 - squares / spread, math.nan),
                "mape": many @ shares / (many @ nonzero),
                "median_ae": _weighted_median(size[order], many[:, order]),
                "bias": many @ error / total,
            }
        return _as_given(values, weights)

    return metrics


def _weighted_median(ordered: Floats, weights: Floats) -> Floats:
    """Medians of ascending values `[N]` for weights `[B, N]`: the mean of the two middle ones."""
    sums = np.cumsum(weights, axis=1)
    half = sums[:, -1:] / 2
    low = (sums >= half * (1 - 1e-12)).argmax(axis=1)
    high = (sums > half * (1 + 1e-12)).argmax(axis=1)
    median: Floats = (ordered[low] + ordered[high]) / 2
    return median


class Ranking:
    """The areas under the ROC and precision-recall curves of one class, for any row weights.

    Args:
        hits: Whether a row is of the class `[N]`.
        scores: Its probability `[N]`.
    """

    def __init__(self, hits: NDArray[np.bool_], scores: Floats) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self.last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.hits = hits[self.order].astype(np.float64)
        self.thresholds = ordered[self.last]

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of hits and of false alarms above each threshold, `[B, T]`."""
        ordered = weights[:, self.order]
        found = np.cumsum(ordered * self.hits, axis=1)[:, self.last]
        return found, np.cumsum(ordered, axis=1)[:, self.last] - found

    def areas(self, weights: Floats) -> tuple[Floats, Floats]:
        """Area under the ROC curve (Fawcett 2006) and average precision, `[B]` each."""
        hits, alarms = self.counts(weights)
        zero = np.zeros((len(hits), 1))
        every_hit, every_alarm = hits[:, -1], alarms[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ys, xs = np.hstack([zero, hits]), np.hstack([zero, alarms])
            roc = np.trapezoid(ys, xs, axis=1) / every_hit / every_alarm
            precision = np.nan_to_num(hits / (hits + alarms))
            average = (np.diff(ys, axis=1) * precision).sum(axis=1) / every_hit
        undefined = (every_hit <= 0) | (every_alarm <= 0)
        return np.where(undefined, math.nan, roc), np.where(every_hit <= 0, math.nan, average)


def bootstrap(
    metrics: Metrics,
    rows: int,
    seed: int,
    resampled: Metrics | None = None,
    *,
    weights: Floats | None = None,
    groups: Codes | None = None,
) -> dict[str, Estimate]:
    """Point estimates and 95 % percentile intervals.

    Args:
        metrics: From `class_metrics` or `number_metrics`.
        rows: Rows of the holdout.
        seed: Seed of the resampling.
        resampled: The same metrics for the replicates, where some cost too much to be repeated;
            those get no interval.
        weights: Weight of each row.
        groups: Group of each row: groups are resampled whole.
    """
    resamples = Resamples(rows, seed, weights, groups)
    points = metrics(resamples.base)
    replicates: dict[str, list[Floats]] = {name: [] for name in points}
    for block in resamples.blocks():
        for name, values in (resampled or metrics)(block).items():
            replicates[name].append(values)
    return {
        name: percentile_estimate(value, np.concatenate(replicates[name] or [np.empty(0)]))
        for name, value in points.items()
    }


def percentile_estimate(value: float, replicates: Floats) -> Estimate:
    """An estimate whose interval is that of its replicates; none where few are defined."""
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(value):
        return Estimate(None)
    if len(known) < 20:
        return Estimate(float(value))
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Estimate(float(value), float(low), float(high))


def share_interval(hits: int, rows: int) -> Estimate:
    """A share with its Wilson (1927) interval; undefined without rows."""
    if rows == 0:
        return Estimate(None)
    share = hits / rows
    middle = (share + Z * Z / (2 * rows)) / (1 + Z * Z / rows)
    half = Z * math.sqrt(share * (1 - share) / rows + Z * Z / (4 * rows**2)) / (1 + Z * Z / rows)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_interval(
    values: Floats, weights: Floats | None = None, groups: Codes | None = None
) -> Estimate:
    """A mean with its interval by the normal approximation; see `mean_and_error`."""
    if not len(values):
        return Estimate(None)
    mean, error = mean_and_error(values, weights, groups)
    if not math.isfinite(mean):
        return Estimate(None)
    if not math.isfinite(error):
        return Estimate(mean)
    return Estimate(mean, mean - Z * error, mean + Z * error)


def _mean_of_known(each: Floats, count: int) -> Floats:
    """The mean over classes `[classes, B]`, of those that are defined."""
    known = np.isfinite(each)
    some = known.sum(axis=0) if len(each) else np.zeros(count)
    sums = np.where(known, each, 0.0).sum(axis=0) if len(each) else np.zeros(count)
    mean: Floats = np.divide(sums, some, out=np.full(count, math.nan), where=some > 0)
    return mean


def _as_given(values: dict[str, Any], weights: Floats) -> dict[str, Any]:
    if weights.ndim == 2:
        return values
    return {name: float(value[0]) for name, value in values.items()}
