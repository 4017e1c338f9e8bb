"""Metrics of a holdout, with bootstrap intervals.

Every metric is written once, for weighted rows: with weights of one it is the point estimate,
with the counts of a resample it is one bootstrap replicate (Efron and Tibshirani 1993, ch. 13,
percentile intervals). Definitions follow scikit-learn's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metrics = Callable[[Floats], dict[str, float]]

LEVEL = 0.95
_TINY = 1e-15


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


def class_metrics(
    codes: NDArray[np.int64], probabilities: Floats, *, areas: bool = True
) -> Metrics:
    """Metrics of a classification.

    Args:
        codes: True class positions `[N]`.
        probabilities: `[N, K]`.
        areas: Whether to compute the areas under the ROC curves, by far the most costly part.

    Returns:
        A function of row weights `[N]` that gives each metric; NaN where it is undefined.
    """
    count = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    cells = codes * count + predicted
    rows = np.arange(len(codes))
    loss = -np.log(np.clip(probabilities[rows, codes], _TINY, 1.0))
    hits = np.zeros_like(probabilities)
    hits[rows, codes] = 1.0
    squares = ((probabilities - hits) ** 2).sum(axis=1)
    brier = squares / 2 if count == 2 else squares
    ranked = ([1] if count == 2 else range(count)) if areas else ()
    rankings = [_Ranking(codes == code, probabilities[:, code]) for code in ranked]

    def metrics(weights: Floats) -> dict[str, float]:
        total = weights.sum()
        sums = np.bincount(cells, weights, minlength=count * count).astype(np.float64)
        confusion = sums.reshape(count, count)
        values = confusion_metrics(confusion)
        found = [ranking.area(weights) for ranking in rankings] if areas else []
        known = [area for area in found if not math.isnan(area)]
        values["roc_auc"] = float(np.mean(known)) if known else math.nan
        values["log_loss"] = float(weights @ loss / total)
        values["brier"] = float(weights @ brier / total)
        return values

    return metrics


def confusion_metrics(confusion: Floats) -> dict[str, float]:
    """Accuracy, precision, recall and F1 from a confusion matrix `[true, predicted]`."""
    right = np.diag(confusion)
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = per_class(confusion)
    present = (support + claimed) > 0
    shares = support / support.sum()
    return {
        "accuracy": float(right.sum() / support.sum()),
        "precision_macro": float(precision[present].mean()),
        "recall_macro": float(recall[present].mean()),
        "f1_macro": float(f1[present].mean()),
        "precision_weighted": float(shares @ precision),
        "recall_weighted": float(shares @ recall),
        "f1_weighted": float(shares @ f1),
    }


def per_class(confusion: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each class; 0 where a class was never claimed or never there."""
    right = np.diag(confusion)
    support, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = np.divide(right, claimed, out=np.zeros_like(right), where=claimed > 0)
    recall = np.divide(right, support, out=np.zeros_like(right), where=support > 0)
    f1 = np.divide(2 * right, support + claimed, out=np.zeros_like(right), where=right > 0)
    return precision, recall, f1


def number_metrics(truth: Floats, predicted: Floats) -> Metrics:
    """Metrics of a regression, as `class_metrics`."""
    error = predicted - truth

    def metrics(weights: Floats) -> dict[str, float]:
        total = weights.sum()
        squares = float(weights @ error**2)
        mean = float(weights @ truth / total)
        spread = float(weights @ (truth - mean) ** 2)
        return {
            "mae": float(weights @ np.abs(error) / total),
            "rmse": math.sqrt(squares / total),
            "r2": 1.0 - squares / spread if spread > 0 else math.nan,
        }

    return metrics


class _Ranking:
    """The area under the ROC curve of one class, for any row weights (Fawcett 2006)."""

    def __init__(self, hits: NDArray[np.bool_], scores: Floats) -> None:
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self.last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self.hits = hits[self.order].astype(np.float64)

    def area(self, weights: Floats) -> float:
        weights = weights[self.order]
        hits = np.append(0.0, np.cumsum(weights * self.hits)[self.last])
        alarms = np.append(0.0, np.cumsum(weights * (1.0 - self.hits))[self.last])
        if hits[-1] == 0 or alarms[-1] == 0:
            return math.nan
        return float(np.trapezoid(hits, alarms) / hits[-1] / alarms[-1])


def bootstrap(
    metrics: Metrics, rows: int, seed: int, resampled: Metrics | None = None
) -> dict[str, Estimate]:
    """Point estimates and 95 % percentile intervals.

    Args:
        metrics: From `class_metrics` or `number_metrics`.
        rows: Rows of the holdout.
        seed: Seed of the resampling.
        resampled: The same metrics for the replicates, where some cost too much to be repeated;
            those get no interval.
    """
    points = metrics(np.ones(rows))
    random = np.random.default_rng(seed)
    replicates: dict[str, list[float]] = {name: [] for name in points}
    for _ in range(int(np.clip(4_000_000 // rows, 100, 500))):
        weights = np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)
        for name, value in (resampled or metrics)(weights).items():
            replicates[name].append(value)
    return {name: _estimate(value, replicates[name]) for name, value in points.items()}


def _estimate(value: float, replicates: list[float]) -> Estimate:
    known = [replicate for replicate in replicates if math.isfinite(replicate)]
    if not math.isfinite(value):
        return Estimate(None)
    if len(known) < 20:
        return Estimate(value)
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def share_interval(hits: int, rows: int) -> Estimate:
    """A share with its Wilson (1927) interval."""
    z = 1.959963984540054
    share = hits / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows**2)) / (1 + z * z / rows)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_interval(values: Floats) -> Estimate:
    """A mean with its interval by the normal approximation."""
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean)
    half = 1.959963984540054 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)
