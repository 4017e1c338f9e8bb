"""scikit-learn's histogram-based gradient boosting."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from roadworthy.train.candidates._base import Between, Config, Fitted, Problem, Rows, Space

MAX_ROUNDS = 600
_RATE = 0.1
_FIRST = 10


class Hist:
    """HistGradientBoosting with early stopping, of as many rounds as the clock allows."""

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
        settings = {
            "learning_rate": _RATE * problem.rate,
            "random_state": problem.seed,
            "categorical_features": None,
            **config,
            "early_stopping": False,
        }
        family = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        # OpenMP's threads are set for the calling thread; the fit would else take every core
        with threadpool_limits(problem.threads, user_api="openmp"):
            start = time.monotonic()
            first = min(_FIRST, most)
            model = family(**{**settings, "max_iter": first}).fit(train.X, train.y, train.weights)
            each = (time.monotonic() - start) / first
            # it cannot be interrupted: so many rounds as the clock surely allows
            bought = max(first, int(0.7 * problem.seconds_left / each))
            if most > first and bought > first:
                settings["max_iter"] = min(most, bought)
                model = _fit_watched(family, settings, train, valid, problem.patience)
        return Fitted(model, len(model._predictors), most <= max(first, bought))


def _fit_watched(
    family: Any, settings: Config, train: Rows, valid: Rows | None, patience: int
) -> Any:
    """Fit with early stopping on the validation rows, and keep the best rounds only."""
    new = valid is not None and not np.isin(valid.y, train.y).all()
    if valid is None or (new and family is HistGradientBoostingClassifier):
        return family(**settings).fit(train.X, train.y, train.weights)
    watched = {**settings, "early_stopping": True, "n_iter_no_change": patience, "scoring": "loss"}
    model = family(**watched).fit(
        train.X,
        train.y,
        train.weights,
        X_val=valid.X,
        y_val=valid.y,
        sample_weight_val=valid.weights,
    )
    best = int(np.argmax(model.validation_score_))  # losses with their sign turned; 0 is no tree
    del model._predictors[max(1, best) :]
    model.set_params(early_stopping=False)
    return model
