"""Linear models: logistic and ridge regression on standardised numbers and one-hot levels."""

from __future__ import annotations

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from roadworthy.train.candidates._base import Config, Fitted, Problem, Rows

CLIP = 8.0
"""Standard deviations beyond which a number counts as that far: one absurd value must not
decide an answer alone, and every finite input gets a finite score."""
BOUND = 1e100
"""Numbers beyond are taken for this: their squares must stay within float64."""
_ROWS_PER_SECOND = 400_000 / 15
"""Rows x (features + 10) / 15 that a second of one thread surely fits; the solver cannot be
interrupted, so a fit takes a sample of what its time allows."""


class Linear:
    """Logistic regression (classes) or ridge regression."""

    family = "linear"

    def configurations(self, problem: Problem) -> list[Config]:
        """Three strengths of the penalty."""
        if problem.task == "regression":
            return [{"alpha": 1.0}, {"alpha": 30.0}, {"alpha": 0.03}]
        return [{"C": 1.0}, {"C": 0.05}, {"C": 20.0}]

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit on all rows, or on a sample where the deadline asks for one."""
        levels = [i for i, f in enumerate(problem.plan.features) if f.code]
        numbers = [i for i, f in enumerate(problem.plan.features) if not f.code]
        scale = Pipeline(
            [
                ("bound", FunctionTransformer(np.clip, kw_args={"a_min": -BOUND, "a_max": BOUND})),
                ("standardise", StandardScaler()),
                ("clip", FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})),
            ]
        )
        one_hot = OneHotEncoder(handle_unknown="ignore")
        parts = [("numbers", scale, numbers), ("levels", one_hot, levels)]
        expand = ColumnTransformer([part for part in parts if part[2]])
        if problem.task == "regression":
            model: Ridge | LogisticRegression = Ridge(alpha=config["alpha"])
        else:
            model = LogisticRegression(C=config["C"], max_iter=200, tol=1e-4)
        pipeline = Pipeline([("expand", expand), ("model", model)])
        X, y, complete = _sample(train, problem)
        pipeline.fit(X, y)
        return Fitted(pipeline, None, complete)


def _sample(train: Rows, problem: Problem) -> tuple[np.ndarray, np.ndarray, bool]:
    seconds = max(0.2, problem.seconds_left)
    classes = max(1, problem.n_classes - 1)
    limit = int(seconds * _ROWS_PER_SECOND * 15 / (len(problem.plan.features) + 10) / classes)
    limit = max(1000, limit)
    if len(train.y) <= limit:
        return train.X, train.y, True
    rows = np.random.default_rng(problem.seed).permutation(len(train.y))[:limit]
    if problem.n_classes:  # no class may be lost to the sample
        rows = np.union1d(rows, np.unique(train.y, return_index=True)[1])
    return train.X[rows], train.y[rows], False
