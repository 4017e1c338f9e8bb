"""scikit-learn's histogram-based gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from roadworthy.train.candidates._base import Between, Config, Fitted, Problem, Rows, Space

MAX_ROUNDS = 600
_RATE = 0.1
_STEP = 15


class Hist:
    """HistGradientBoosting, a few rounds at a time, so that the clock can stop it."""

    family = "hist"
    settings = frozenset(HistGradientBoostingClassifier().get_params()) - {"warm_start"}

    def configurations(self, problem: Problem) -> list[Config]:
        """Trees of the default size with a little penalty."""
        return [{"max_leaf_nodes": 31, "l2_regularization": 1.0, "max_features": 0.8}]

    def space(self, problem: Problem) -> Space:
        """Size, randomness and penalty of the trees."""
        return {
            "max_leaf_nodes": Between(6, 128, log=True, whole=True),
            "min_samples_leaf": Between(5, 60, log=True, whole=True),
            "l2_regularization": Between(0.01, 30.0, log=True),
            "max_features": Between(0.3, 1.0),
        }

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Boost until the validation loss stops falling, `rounds` are done or time is over."""
        regression = problem.task == "regression"
        most = rounds or config.get("max_iter") or problem.rounds(MAX_ROUNDS)
        model = (HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier)(
            **{
                "learning_rate": _RATE * problem.rate,
                "random_state": problem.seed,
                "categorical_features": None,
                **config,
                "max_iter": min(_STEP, most),
                "early_stopping": False,
                "warm_start": True,
            }
        )
        best, least, complete = 0, np.inf, True
        while True:
            before = problem.seconds_left
            model.fit(train.X, train.y)
            if valid is not None:
                value = _loss(model, valid)
                if value < least:
                    best, least = model.max_iter, value
                if model.max_iter - best >= problem.patience:
                    break
            if model.max_iter >= most:
                break
            if problem.seconds_left < before - problem.seconds_left:
                complete = False
                break
            model.max_iter = min(most, model.max_iter + _STEP)
        if valid is not None and best:
            del model._predictors[best:]
        model.set_params(warm_start=False, max_iter=len(model._predictors))
        return Fitted(model, len(model._predictors), complete)


def _loss(model: Any, valid: Rows) -> float:
    if not hasattr(model, "classes_"):
        return float(np.mean((model.predict(valid.X) - valid.y) ** 2))
    shares: NDArray[np.float64] = model.predict_proba(valid.X)
    place = np.searchsorted(model.classes_, valid.y)
    right = shares[np.arange(len(valid.y)), np.minimum(place, shares.shape[1] - 1)]
    return float(-np.log(np.maximum(right, 1e-12)).mean())
