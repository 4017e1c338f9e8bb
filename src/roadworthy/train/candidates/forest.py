"""Random forests and extremely randomised trees, kept small enough to serve."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from roadworthy.train.candidates._base import Config, Fitted, Problem, Rows

TREES = 60
_STEP = 6
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Forest:
    """Forests of 60 trees of at most a thousand leaves, fewer for many classes."""

    family = "forest"

    def configurations(self, problem: Problem) -> list[Config]:
        """Random forest with few and many features a split, and extra trees."""
        few, many = ("sqrt", 0.5) if problem.task != "regression" else (0.5, 1.0)
        return [
            {"trees": "random", "max_features": few, "min_samples_leaf": 3},
            {"trees": "random", "max_features": many, "min_samples_leaf": 5},
            {"trees": "extra", "max_features": many, "min_samples_leaf": 2},
        ]

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Grow trees a few at a time until there are enough or the deadline has come."""
        kinds = {
            ("random", False): RandomForestClassifier,
            ("random", True): RandomForestRegressor,
            ("extra", False): ExtraTreesClassifier,
            ("extra", True): ExtraTreesRegressor,
        }
        leaves = 2000 // max(2, problem.n_classes)  # the core holds every tree once a class
        forest = kinds[config["trees"], problem.task == "regression"](
            max_features=config["max_features"],
            min_samples_leaf=max(config["min_samples_leaf"], len(train.y) // leaves),
            random_state=problem.seed,
            n_jobs=problem.threads,
            warm_start=True,
            n_estimators=_STEP,
        )
        # the range in which scikit-learn's trees compare; beyond it they refuse to predict
        clip = FunctionTransformer(np.clip, kw_args={"a_min": -_FLOAT32_MAX, "a_max": _FLOAT32_MAX})
        X = clip.transform(train.X)
        while True:
            before = problem.seconds_left
            forest.fit(X, train.y)
            step = before - problem.seconds_left
            if forest.n_estimators >= TREES or problem.seconds_left < 1.2 * step:
                break
            forest.n_estimators += _STEP
        forest.n_jobs = 1  # sums in a fixed order: the same bits on every run
        forest.warm_start = False
        pipeline = Pipeline([("clip", clip), ("model", forest)])
        return Fitted(pipeline, forest.n_estimators, forest.n_estimators >= TREES)
