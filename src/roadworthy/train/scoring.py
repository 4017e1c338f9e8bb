"""The metrics that a search can go by, each for weighted rows.

Definitions are scikit-learn's. Where a metric is undefined (an area with one class, R² of a
constant) it is NaN, so that a validation part that cannot tell is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from roadworthy.contract import ClassValue, Task, class_name
from roadworthy.errors import InputError
from roadworthy.project import TrainSection
from roadworthy.table import Table

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
Measure = Callable[[Floats, Floats, Floats | None], float]
"""(target `[N]` as class positions or numbers, scores `[N, K]` or `[N]`, row weights) -> value."""

_TINY = 1e-15
_RARE = 10
"""Rows of a class below which some validation part may have none of it."""
_LOSSES = ("log_loss", "brier", "mae", "rmse", "mape", "pinball", "rmsle")
_CLASS_METRICS = (
    "roc_auc", "log_loss", "accuracy", "f1", "balanced_accuracy", "precision", "recall",
    "f1_weighted", "precision_weighted", "recall_weighted", "pr_auc", "brier",
)  # fmt: skip
_TASK_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": (*_CLASS_METRICS, "f1_positive", "precision_positive", "recall_positive"),
    "multiclass": (
        "log_loss",
        *(name for name in _CLASS_METRICS if name != "log_loss"),
        "roc_auc_weighted",
        "pr_auc_weighted",
    ),
    "regression": ("rmse", "mae", "r2", "mape", "pinball", "rmsle"),
}
GREATER_IS_BETTER = {
    name: name not in _LOSSES for names in _TASK_METRICS.values() for name in names
}


class Metric(NamedTuple):
    """What a search goes by.

    Attributes:
        name: Its name, or the import path of the user's own.
        greater_is_better: Whether a greater value is better.
        measure: What computes it; called with target, scores and row weights.
    """

    name: str
    greater_is_better: bool
    measure: Measure

    def __call__(self, y: Floats, scores: Floats, weights: Floats | None = None) -> float:
        """The metric on one part; NaN where it is undefined.

        Args:
            y: Class positions or numbers `[N]`.
            scores: Probabilities `[N, K]` or predictions `[N]`.
            weights: Row weights `[N]`; None weighs every row the same.
        """
        if weights is not None:
            counted = weights > 0
            y, scores, weights = y[counted], scores[counted], weights[counted]
        if not len(y):
            return float("nan")
        return self.measure(y, scores, weights)


def metrics_for(task: Task) -> tuple[str, ...]:
    """Metrics that fit a task, the default first."""
    return _TASK_METRICS[task]


def find_metric(options: TrainSection, table: Table) -> Metric:
    """The metric that `[train] metric` asks for, checked against the table before any work.

    Args:
        options: `[train]`.
        table: The table; the target of its training rows is looked at.

    Raises:
        InputError: There is no such metric, it does not fit the task or the target, or the
            user's own fails on a trial run.
    """
    wanted = options.metric
    if ":" in wanted:
        from roadworthy.train.own_metric import load_metric

        return load_metric(wanted, table.training)
    labels = table.training.labels
    if wanted == "auto":
        rarest = np.bincount(labels.astype(int)).min() if table.classes else 0
        few = table.task == "binary" and rarest < _RARE
        # an area needs both classes in every validation part
        wanted = "log_loss" if few else metrics_for(table.task)[0]
    _check_fits(wanted, table.task, labels)
    positive = options.decision.positive
    code = 1 if positive is None or table.task != "binary" else class_code(table.classes, positive)
    return built_in(wanted, positive=code, quantile=options.quantile)


def _check_fits(wanted: str, task: Task, labels: Floats) -> None:
    fitting = metrics_for(task)
    where = "[train] metric"
    if wanted not in fitting:
        known = wanted in GREATER_IS_BETTER
        near = difflib.get_close_matches(wanted, fitting, n=1)
        raise InputError(
            f"metric {wanted!r} does not fit a {task} task"
            if known
            else f"there is no metric {wanted!r}",
            where=where,
            fix=f"did you mean {near[0]!r}?"
            if near and not known
            else f"choose one of {', '.join(fitting)}, or name your own as package.module:function",
        )
    if wanted == "mape" and (labels == 0).any():
        raise InputError(
            "mape divides by the target, which is 0 in some rows", where=where, fix="take mae"
        )
    if wanted == "rmsle" and (labels < 0).any():
        raise InputError(
            "rmsle takes logarithms, and the target is below 0 in some rows",
            where=where,
            fix="take rmse",
        )


def class_code(
    classes: tuple[ClassValue, ...], wanted: ClassValue, where: str = "[train.decision] positive"
) -> int:
    """Position of a class that the user names, as a value or a text.

    Raises:
        InputError: There is no such class.
    """
    names = [class_name(value) for value in classes]
    if class_name(wanted) not in names:
        near = difflib.get_close_matches(class_name(wanted), names, n=1)
        shown = ", ".join(map(repr, names[:20]))
        hint = f"did you mean {near[0]!r}?" if near else f"the classes are {shown}"
        raise InputError(f"there is no class {class_name(wanted)!r}", where=where, fix=hint)
    return names.index(class_name(wanted))


def built_in(name: str, *, positive: int = 1, quantile: float = 0.5) -> Metric:
    """A metric by name.

    Args:
        name: One of `metrics_for`.
        positive: Position of the positive class among two: whose area under the
            precision-recall curve, and which class the `_positive` metrics are about.
        quantile: Quantile that `pinball` asks for.
    """
    if name in _TASK_METRICS["regression"]:
        return Metric(name, GREATER_IS_BETTER[name], _number_measure(name, quantile))
    return Metric(name, GREATER_IS_BETTER[name], _class_measure(name, positive))


def score(metric: str | Metric, y: Floats, scores: Floats, weights: Floats | None = None) -> float:
    """One metric on one validation part; NaN where it is undefined (one class only)."""
    found = built_in(metric) if isinstance(metric, str) else metric
    return found(y, scores, weights)


def model_scores(estimator: Any, X: Floats, n_classes: int) -> Floats:
    """What an estimator answers.

    Returns:
        Probabilities `[N, n_classes]` (0 for a class that the estimator never saw), or
        predictions `[N]` when `n_classes` is 0.
    """
    if not n_classes:
        return np.asarray(estimator.predict(X), dtype=np.float64)
    found = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    if found.shape[1] == n_classes:
        return found
    scores = np.zeros((len(X), n_classes))
    scores[:, np.asarray(estimator.classes_, dtype=int)] = found
    return scores


def row_losses(y: Floats, scores: Floats) -> Floats:
    """The log-loss of each row `[N]`, of probabilities `[N, K]` and class positions `[N]`."""
    chosen = scores[np.arange(len(y)), y.astype(int)]
    losses: Floats = -np.log(np.clip(chosen, _TINY, 1.0))
    return losses


def _class_measure(name: str, positive: int) -> Measure:
    family, _, suffix = name.partition("_")

    def measure(y: Floats, scores: Floats, weights: Floats | None) -> float:
        codes = y.astype(np.int64)
        if name == "log_loss":
            return float(np.average(row_losses(y, scores), weights=weights))
        if name == "brier":
            return _brier(codes, scores, weights)
        if name.startswith(("roc_auc", "pr_auc")):
            return _area(name, codes, scores, weights, positive)
        predicted = scores.argmax(axis=1)
        if name == "accuracy":
            return float(np.average(predicted == codes, weights=weights))
        if name == "balanced_accuracy":
            return _balanced(codes, predicted, weights)
        return _of_labels(family, suffix, codes, predicted, weights, positive)

    return measure


def _balanced(codes: Index, predicted: Index, weights: Floats | None) -> float:
    """Mean recall of the classes that are there."""
    hits = np.bincount(codes, weights=(predicted == codes) * (1.0 if weights is None else weights))
    totals = np.bincount(codes, weights=weights)
    present = totals > 0
    return float((hits[present] / totals[present]).mean())


def _of_labels(
    family: str,
    suffix: str,
    codes: Index,
    predicted: Index,
    weights: Floats | None,
    positive: int,
) -> float:
    """Precision, recall or F1: macro, weighted by the classes' shares, or of the positive class."""
    function = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }[family]
    if suffix == "positive":
        there = (codes == positive).any()
        if not there and (family == "recall" or not (predicted == positive).any()):
            return float("nan")
        choice: dict[str, Any] = {"labels": [positive], "average": "macro"}
    else:
        choice = {"average": suffix or "macro"}
    return float(function(codes, predicted, sample_weight=weights, zero_division=0, **choice))


def _brier(codes: Index, scores: Floats, weights: Floats | None) -> float:
    """Brier (1950): the squared distance to the truth, halved for two classes."""
    squares = scores**2
    rows = np.arange(len(codes))
    squares[rows, codes] = (1.0 - scores[rows, codes]) ** 2
    per_row = squares.sum(axis=1)
    return float(np.average(per_row / 2 if scores.shape[1] == 2 else per_row, weights=weights))


def _area(name: str, codes: Index, scores: Floats, weights: Floats | None, positive: int) -> float:
    """An area under a curve: of the positive class, or the mean over the classes that are there."""
    roc = name.startswith("roc_auc")
    function = metrics.roc_auc_score if roc else metrics.average_precision_score
    present = np.unique(codes)
    if scores.shape[1] == 2:
        if (roc and len(present) < 2) or positive not in present:
            return float("nan")
        return float(function(codes == positive, scores[:, positive], sample_weight=weights))
    if len(present) < 2:
        return float("nan")
    areas = [function(codes == code, scores[:, code], sample_weight=weights) for code in present]
    totals = np.bincount(codes, weights=weights)[present] if name.endswith("weighted") else None
    return float(np.average(areas, weights=totals))


def _number_measure(name: str, quantile: float) -> Measure:
    def measure(y: Floats, scores: Floats, weights: Floats | None) -> float:
        if name == "r2":
            if len(y) < 2 or (y == y[0]).all():
                return float("nan")
            return float(metrics.r2_score(y, scores, sample_weight=weights))
        if name == "pinball":
            return float(
                metrics.mean_pinball_loss(y, scores, sample_weight=weights, alpha=quantile)
            )
        if name == "rmsle":  # a prediction below 0 counts as 0: its logarithm may not exist
            known = np.maximum(scores, 0.0)
            return float(metrics.root_mean_squared_log_error(y, known, sample_weight=weights))
        function = {
            "rmse": metrics.root_mean_squared_error,
            "mae": metrics.mean_absolute_error,
            "mape": metrics.mean_absolute_percentage_error,
        }[name]
        with np.errstate(all="ignore"):  # squares beyond float64: the value says it
            return float(function(y, scores, sample_weight=weights))

    return measure
