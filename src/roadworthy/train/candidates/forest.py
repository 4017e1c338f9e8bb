"""Random forests and extremely randomised trees, kept small enough to serve."""

from __future__ import annotations

from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline

from roadworthy.train.candidates._base import (
    Between,
    Config,
    Fitted,
    OneOf,
    Problem,
    Rows,
    Space,
    clip_to_float32,
)

TREES = 60
LEAVES = 1000
_STEP = 6
_KINDS = {
    ("random", False): RandomForestClassifier,
    ("random", True): RandomForestRegressor,
    ("extra", False): ExtraTreesClassifier,
    ("extra", True): ExtraTreesRegressor,
}


class Forest:
    """Forests of 60 trees of at most a thousand leaves, fewer for many classes."""

    family = "forest"
    settings = frozenset(RandomForestClassifier().get_params()) | {"trees"}

    def configurations(self, problem: Problem) -> list[Config]:
        """Random forest with few and many features a split, and extra trees."""
        few, many = ("sqrt", 0.5) if problem.task != "regression" else (0.5, 1.0)
        return [
            {"trees": "random", "max_features": few, "min_samples_leaf": 3},
            {"trees": "extra", "max_features": many, "min_samples_leaf": 2},
            {"trees": "random", "max_features": many, "min_samples_leaf": 5},
        ]

    def space(self, problem: Problem) -> Space:
        """Kind, size and randomness of the trees."""
        return {
            "trees": OneOf(("random", "extra")),
            "max_features": Between(0.1, 1.0),
            "min_samples_leaf": Between(1, 30, log=True, whole=True),
        }

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Grow trees a few at a time until there are enough or the deadline has come.

        A configuration without `trees` is a random forest with scikit-learn's own settings, as a
        grid names them.
        """
        settings = dict(config)
        kind = settings.pop("trees", None)
        wanted = rounds or settings.pop("n_estimators", TREES)
        settings.pop("n_estimators", None)
        if kind is not None:
            # the core holds every tree once a class
            leaves = 2 * LEAVES // max(2, problem.n_classes)
            least = max(settings.get("min_samples_leaf", 1), len(train.y) // leaves)
            settings["min_samples_leaf"] = least
        if problem.max_rounds is not None:
            wanted = min(wanted, problem.max_rounds)
        forest = _KINDS[kind or "random", problem.task == "regression"](
            **{"random_state": problem.seed, **settings},
            n_jobs=problem.threads,
            warm_start=True,
            n_estimators=min(_STEP, wanted),
        )
        clip = clip_to_float32()
        X = clip.transform(train.X)
        while True:
            before = problem.seconds_left
            forest.fit(X, train.y, train.weights)
            step = before - problem.seconds_left
            if forest.n_estimators >= wanted or problem.seconds_left < 1.2 * step:
                break
            forest.n_estimators = min(wanted, forest.n_estimators + _STEP)
        forest.n_jobs = 1  # sums in a fixed order: the same bits on every run
        forest.warm_start = False
        pipeline = Pipeline([("clip", clip), ("model", forest)])
        return Fitted(pipeline, forest.n_estimators, forest.n_estimators >= wanted)
