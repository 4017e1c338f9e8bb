"""The metrics that a search can go by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from roadworthy.contract import Task

GREATER_IS_BETTER = {
    "roc_auc": True,
    "accuracy": True,
    "f1": True,
    "log_loss": False,
    "rmse": False,
    "mae": False,
}
_TASK_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "accuracy", "f1"),
    "multiclass": ("log_loss", "roc_auc", "accuracy", "f1"),
    "regression": ("rmse", "mae"),
}


def metrics_for(task: Task) -> tuple[str, ...]:
    """Metrics that fit a task, the default first."""
    return _TASK_METRICS[task]


def model_scores(estimator: Any, X: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
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


def score(metric: str, y: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """One metric on one validation part; NaN where it is undefined (one class only)."""
    if metric == "rmse":
        return float(metrics.root_mean_squared_error(y, scores))
    if metric == "mae":
        return float(metrics.mean_absolute_error(y, scores))
    codes = y.astype(int)
    if metric == "log_loss":
        chosen = scores[np.arange(len(codes)), codes]
        return float(-np.log(np.clip(chosen, 1e-15, 1.0)).mean())
    if metric == "accuracy":
        return float((scores.argmax(axis=1) == codes).mean())
    if metric == "f1":
        return float(metrics.f1_score(codes, scores.argmax(axis=1), average="macro"))
    present = np.unique(codes)
    if len(present) < 2:
        return float("nan")
    if scores.shape[1] == 2:
        return float(metrics.roc_auc_score(codes, scores[:, 1]))
    aucs = [metrics.roc_auc_score(codes == code, scores[:, code]) for code in present]
    return float(np.mean(aucs))
