"""Blends of few members, summed where their sums are one: log-odds, or the target itself.

A blend of log-odds is a sum of raw margins, so that all trees of all members lie in one operator
of the core (measured: never worse than averaging probabilities).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, RegressorMixin, clone

from roadworthy.train.servable import kind_of

LEAST_PROBABILITY = 1e-4
"""What a forest's probability counts as at least: it may be 0, whose log-odds are infinite."""
_UNSEEN = float(np.log(1e-6))

Floats = NDArray[np.float64]


class Blend(BaseEstimator):  # type: ignore[misc]
    """A weighted sum of members.

    Args:
        members: scikit-learn estimators of one task.
        weights: A weight each, which sum to 1.
    """

    def __init__(self, members: Sequence[Any], weights: Sequence[float]) -> None:
        self.members = members
        self.weights = weights

    def fit(self, X: Floats, y: NDArray[Any]) -> Blend:
        """Fit every member anew."""
        return self.take([clone(member).fit(X, y) for member in self.members])

    def take(self, fitted: Sequence[Any]) -> Blend:
        """Take members that are fitted already."""
        self.members_ = list(fitted)
        self.weights_ = [float(weight) for weight in self.weights]
        if hasattr(fitted[0], "classes_"):
            self.classes_ = fitted[0].classes_
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """Probabilities `[N, K]`, columns as in `classes_`."""
        return probabilities(self._sum(X))

    def predict(self, X: Floats) -> NDArray[Any]:
        """Numbers `[N]`, or classes."""
        if not hasattr(self, "classes_"):
            return self._sum(X)
        chosen: NDArray[Any] = np.asarray(self.classes_)[self.predict_proba(X).argmax(axis=1)]
        return chosen

    def _sum(self, X: Floats) -> Floats:
        weighed = zip(self.members_, self.weights_, strict=True)
        terms = [weight * margins(member, X) for member, weight in weighed]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


class LogTarget(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of the target's logarithm, for targets above 0 with a long tail.

    Args:
        regressor: What is fitted on log(y). Its answers are kept within one of the range of
            log(y), so that every finite row has a finite answer.
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, X: Floats, y: Floats) -> LogTarget:
        """Fit the regressor anew."""
        return self.take(clone(self.regressor).fit(X, log_target(y)), y)

    def take(self, fitted: Any, y: Floats) -> LogTarget:
        """Take a regressor that was fitted on `log_target(y)` already."""
        self.regressor_ = fitted
        self.centre_ = float(np.log(y).mean())
        self.low_ = float(np.log(y.min())) - 1.0
        self.high_ = float(np.log(y.max())) + 1.0
        return self

    def predict(self, X: Floats) -> Floats:
        """Numbers `[N]`."""
        logs = np.asarray(self.regressor_.predict(X), dtype=np.float64) + self.centre_
        numbers: Floats = np.exp(np.clip(logs, self.low_, self.high_))
        return numbers


def log_target(y: Floats) -> Floats:
    """What a `LogTarget` fits: log(y) around 0, where libraries of float32 are most exact."""
    logs: Floats = np.log(y)
    return np.asarray(logs - logs.mean())


def margins(estimator: Any, X: Floats, n_classes: int | None = None) -> Floats:
    """An estimator's answers where they can be summed.

    Args:
        estimator: Anything that can be served.
        X: The matrix, `[N, F]`.
        n_classes: Classes, of which the estimator may have seen only some; None takes its own.

    Returns:
        Log-odds of the second class `[N]`, log-probabilities `[N, K]`, or predictions `[N]`.
    """
    if not hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict(X), dtype=np.float64)
    found = _own_margins(estimator, X)
    known = np.asarray(estimator.classes_, dtype=int)
    if found.ndim == 2:
        found = log_softmax(found, axis=1)
    if n_classes is None or n_classes == len(known):
        return found
    if found.ndim == 1:
        found = np.column_stack([-np.logaddexp(0.0, found), -np.logaddexp(0.0, -found)])
    every = np.full((len(X), n_classes), _UNSEEN)
    every[:, known] = found
    return every


def probabilities(margin: Floats) -> Floats:
    """Probabilities `[N, K]` from summed margins."""
    if margin.ndim == 1:
        second = expit(margin)
        return np.column_stack([1.0 - second, second])
    shares: Floats = softmax(margin, axis=1)
    return shares


def _own_margins(estimator: Any, X: Floats) -> Floats:
    kind = kind_of(estimator)
    model = estimator
    if hasattr(estimator, "steps"):
        model = estimator.steps[-1][1]
        if kind != "logistic" and len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
    found: Any = None
    if kind == "lightgbm":
        found = model.predict(X, raw_score=True)
    elif kind == "xgboost":
        found = model.predict(X, output_margin=True)
    elif kind == "catboost":
        found = model.predict(X, prediction_type="RawFormulaVal")
    elif kind in ("hist", "gradient"):
        found = model.decision_function(X)
        found = 2.0 * found if getattr(model, "loss", "") == "exponential" else found
    elif kind == "logistic" and type(model).__name__ != "SGDClassifier":
        found = estimator.decision_function(X)
    elif kind == "blend":
        return np.asarray(estimator._sum(X))
    if found is None:
        bounded = np.clip(model.predict_proba(X), LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
        logs: Floats = np.log(bounded)
        return logs if logs.shape[1] > 2 else logs[:, 1] - np.log(1.0 - bounded[:, 1])
    return np.asarray(found, dtype=np.float64)
