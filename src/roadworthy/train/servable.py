"""The estimators that can be served exactly: what the core's exporters know.

The search refuses anything else before it begins; the exporters are written against this list.
"""

from __future__ import annotations

from typing import Any, Literal

Kind = Literal[
    "logistic", "linear", "log_linear", "forest", "gradient", "hist", "lightgbm", "xgboost",
    "catboost", "log_target", "blend",
]  # fmt: skip

KINDS: dict[Kind, tuple[str, ...]] = {
    "logistic": ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier"),
    "linear": (
        "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
        "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "BayesianRidge",
        "ARDRegression", "HuberRegressor", "QuantileRegressor", "TheilSenRegressor",
        "SGDRegressor", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "LinearSVR",
    ),
    "log_linear": ("PoissonRegressor", "GammaRegressor"),
    "forest": (
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier",
        "ExtraTreeRegressor", "RandomForestClassifier", "RandomForestRegressor",
        "ExtraTreesClassifier", "ExtraTreesRegressor",
    ),
    "gradient": ("GradientBoostingClassifier", "GradientBoostingRegressor"),
    "hist": ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor"),
    "catboost": ("CatBoostClassifier", "CatBoostRegressor"),
    "log_target": ("LogTarget",),
    "blend": ("Blend",),
}  # fmt: skip
"""Kind -> names of its classes."""

SCALERS = (
    "SimpleImputer", "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler",
    "QuantileTransformer", "PowerTransformer",
)  # fmt: skip
"""Steps that a user's pipeline may have before its estimator."""

_HOMES = ("sklearn", "lightgbm", "xgboost", "catboost", "roadworthy")


def kind_of(estimator: Any) -> Kind | None:
    """The kind of an estimator, or of a pipeline's last step; None when it cannot be served."""
    if hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    for family in type(estimator).__mro__:
        if family.__module__.split(".")[0] not in _HOMES:
            continue  # a subclass may override what it predicts
        for kind, names in KINDS.items():
            if family.__name__ in names:
                return kind if family is type(estimator) else None
    return None


def sums_in_float32(estimator: Any) -> bool:
    """Whether a library adds up float32 numbers: its core, which adds float64, is more exact."""
    if getattr(estimator, "sums_in_float32", False):
        return True
    if hasattr(estimator, "calibration"):
        return sums_in_float32(estimator.estimator)
    kind = kind_of(estimator)
    if kind == "blend":
        return any(sums_in_float32(member) for member in estimator.members_)
    if kind == "log_target":
        return sums_in_float32(estimator.regressor_)
    return kind == "xgboost"


def why_not_servable(estimator: Any) -> str | None:
    """Why an unfitted estimator of the user cannot be served, in words; None when it can."""
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps[:-1]:
            if step not in (None, "passthrough") and type(step).__name__ not in SCALERS:
                return f"its step {type(step).__name__} is not one of {', '.join(SCALERS)}"
        estimator = estimator.steps[-1][1]
    kind = kind_of(estimator)
    if kind is None or kind in ("log_target", "blend"):
        names = [name for k in KINDS if k not in ("log_target", "blend") for name in KINDS[k]]
        return f"{type(estimator).__name__} is not one of {', '.join(names)}"
    refused = {
        ("booster", "dart"): "boosted trees with dropout",
        ("booster", "gblinear"): "linear boosters",
        ("linear_tree", True): "trees with linear leaves",
        ("zero_as_missing", True): "zeros taken for missing",
    }
    for (key, value), words in refused.items():
        if getattr(estimator, key, None) == value:
            return f"{words} are not served"
    if type(estimator).__name__ == "SGDClassifier" and estimator.loss != "log_loss":
        return "SGDClassifier gives probabilities that can be served only with loss='log_loss'"
    return None
