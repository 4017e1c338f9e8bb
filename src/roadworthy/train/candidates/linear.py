"""Linear models on scaled numbers, missing indicators and one-hot levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from roadworthy.prepare.plan import FeaturePlan, Scale
from roadworthy.train.candidates._base import (
    Between,
    Config,
    Fitted,
    OneOf,
    Problem,
    Rows,
    Space,
)

CLIP = 8.0
"""Scaled numbers beyond which a number counts as that far: one absurd value must not decide an
answer alone, and every finite input gets a finite score."""
BOUND = 1e100
"""Numbers beyond are taken for this: their squares must stay within float64."""
_QUANTILES = 100
_ROWS_PER_SECOND = 400_000 / 15
"""Rows x (features + 10) / 15 that a second of one thread surely fits; the solver cannot be
interrupted, so a fit takes a sample of what its time allows."""


def signed_log(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sign(x) log(1 + |x|)`: long tails on both sides come near."""
    logs: NDArray[np.float64] = np.sign(X) * np.log1p(np.abs(X))
    return logs


class Linear:
    """Logistic regression (classes), ridge or elastic net regression."""

    family = "linear"
    settings = frozenset({"C", "alpha", "l1_ratio"})

    def configurations(self, problem: Problem) -> list[Config]:
        """Strengths of the squared penalty, then penalties that leave features out."""
        if problem.task == "regression":
            return [
                {"alpha": 1.0},
                {"alpha": 30.0},
                {"alpha": 0.003, "l1_ratio": 0.5},
                {"alpha": 0.001, "l1_ratio": 1.0},
            ]
        return [
            {"C": 1.0},
            {"C": 0.05},
            {"C": 0.3, "l1_ratio": 1.0},
            {"C": 0.3, "l1_ratio": 0.5},
        ]

    def space(self, problem: Problem) -> Space:
        """Strength of the penalty and what it is of."""
        ratio = OneOf((0.0, 0.5, 1.0))
        if problem.task == "regression":
            return {"alpha": Between(1e-4, 100.0, log=True), "l1_ratio": ratio}
        return {"C": Between(1e-3, 30.0, log=True), "l1_ratio": ratio}

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit on all rows, or on a sample where the deadline asks for one."""
        rows, complete = _sample(train, problem)
        model = _classifier(config, problem) if problem.n_classes else _regressor(config, rows.y)
        pipeline = Pipeline([("expand", _expand(problem.plan, rows.X)), ("model", model)])
        pipeline.fit(rows.X, rows.y, model__sample_weight=rows.weights)
        return Fitted(pipeline, None, complete)


def _classifier(config: Config, problem: Problem) -> LogisticRegression:
    ratio = config.get("l1_ratio", 0.0)
    if not ratio:
        return LogisticRegression(C=config.get("C", 1.0), max_iter=200, tol=1e-4)
    return LogisticRegression(
        C=config.get("C", 1.0),
        l1_ratio=ratio,
        solver="saga",
        max_iter=100,
        tol=1e-3,
        random_state=problem.seed,
    )


def _regressor(config: Config, y: NDArray[np.float64]) -> Ridge | ElasticNet:
    ratio = config.get("l1_ratio", 0.0)
    if not ratio:
        return Ridge(alpha=config.get("alpha", 1.0))
    spread = float(np.std(y)) or 1.0
    return ElasticNet(
        alpha=config.get("alpha", 1.0) * spread, l1_ratio=ratio, max_iter=500, tol=1e-3
    )


def _expand(plan: FeaturePlan, X: NDArray[np.float64]) -> ColumnTransformer:
    """Numbers scaled as the plan says, an indicator for each that has blanks, one-hot levels."""
    levels = [i for i, feature in enumerate(plan.features) if feature.code]
    numbers = [i for i, feature in enumerate(plan.features) if not feature.code]
    parts: list[tuple[str, Any, list[int]]] = []
    for scale in dict.fromkeys(plan.features[i].scale for i in numbers):
        own = [i for i in numbers if plan.features[i].scale == scale]
        parts.append((scale, _scaling(scale, len(X)), own))
    blank = [i for i in numbers if np.isnan(X[:, i]).any()]
    if blank:
        indicator = MissingIndicator(features="all", error_on_new=False)
        parts.append(("missing", indicator, blank))
    if levels:
        parts.append(("levels", OneHotEncoder(handle_unknown="ignore"), levels))
    return ColumnTransformer(parts)


def _scaling(scale: Scale, rows: int) -> Pipeline:
    """Bound, impute by the mean, scale, clip."""
    bound = FunctionTransformer(np.clip, kw_args={"a_min": -BOUND, "a_max": BOUND})
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})
    quantiles = min(_QUANTILES, max(2, rows))
    scalers: dict[Scale, list[tuple[str, Any]]] = {
        "none": [],
        "standard": [("standardise", StandardScaler()), ("clip", clip)],
        "min_max": [("normalise", MinMaxScaler()), ("clip", clip)],
        "robust": [("robust", RobustScaler()), ("clip", clip)],
        "quantile": [("quantile", QuantileTransformer(n_quantiles=quantiles, random_state=0))],
        "log": [
            ("log", FunctionTransformer(signed_log)),
            ("standardise", StandardScaler()),
            ("clip", clip),
        ],
        "power": [("power", PowerTransformer()), ("clip", clip)],
    }
    impute = SimpleImputer(keep_empty_features=True)
    return Pipeline([("bound", bound), ("impute", impute), *scalers[scale]])


def _sample(train: Rows, problem: Problem) -> tuple[Rows, bool]:
    seconds = max(0.2, problem.seconds_left)
    classes = max(1, problem.n_classes - 1)
    limit = int(seconds * _ROWS_PER_SECOND * 15 / (len(problem.plan.features) + 10) / classes)
    limit = max(1000, limit)
    if len(train.y) <= limit:
        return train, True
    rows = np.random.default_rng(problem.seed).permutation(len(train.y))[:limit]
    if problem.n_classes:  # no class may be lost to the sample
        rows = np.union1d(rows, np.unique(train.y, return_index=True)[1])
    weights = None if train.weights is None else train.weights[rows]
    return Rows(train.X[rows], train.y[rows], weights), False
