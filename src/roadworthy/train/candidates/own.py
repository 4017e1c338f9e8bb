"""The user's own scikit-learn estimator, named by its import path."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from roadworthy.errors import InputError
from roadworthy.train.candidates._base import (
    Config,
    Fitted,
    Problem,
    Rows,
    Space,
    clip_to_float32,
)
from roadworthy.train.servable import kind_of, why_not_servable


class Own:
    """An estimator that `package.module:name` names: a class, or a callable without arguments.

    Args:
        path: The import path.

    Raises:
        InputError: It cannot be imported or made, or what it makes cannot be served.
    """

    def __init__(self, path: str) -> None:
        self.family = path
        self.estimator = _make(path)
        self.settings = frozenset(self.estimator.get_params())
        reason = why_not_servable(self.estimator)
        if reason:
            raise InputError(
                f"{path} cannot be served: {reason}",
                where="[train] candidates",
                fix="name an estimator of that list, or a pipeline of scalers that ends in one",
            )

    def configurations(self, problem: Problem) -> list[Config]:
        """The estimator as it was made."""
        return [{}]

    def space(self, problem: Problem) -> Space:
        """Nothing: its settings are the user's."""
        return {}

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit a copy of it; it can neither be stopped early nor at the deadline."""
        estimator = clone(self.estimator).set_params(**config)
        if kind_of(estimator) in ("forest", "gradient", "xgboost"):
            estimator = Pipeline([("clip", clip_to_float32()), *_steps(estimator)])
        if not _takes_blanks(estimator):  # a column's first blank may come when it serves
            impute = SimpleImputer(keep_empty_features=True)
            estimator = Pipeline([("impute blanks", impute), *_steps(estimator)])
        names = estimator.get_params()
        for name, value in names.items():
            if value is None and name.split("__")[-1] in ("random_state", "random_seed"):
                estimator.set_params(**{name: problem.seed})
        y = train.y.astype(int) if problem.n_classes else train.y
        estimator.fit(train.X, y, **_weights(estimator, train))
        for name in names:  # sums in a fixed order: the same bits on every run
            if name.split("__")[-1] == "n_jobs":
                estimator.set_params(**{name: 1})
        return Fitted(estimator, None)


def _weights(estimator: Any, train: Rows) -> dict[str, Any]:
    """The rows' weights under the name that the estimator's `fit` takes them by."""
    if train.weights is None:
        return {}
    last = estimator.steps[-1] if hasattr(estimator, "steps") else None
    if not has_fit_parameter(last[1] if last else estimator, "sample_weight"):
        raise ValueError("its fit takes no sample_weight, and the project weighs rows or classes")
    return {f"{last[0]}__sample_weight" if last else "sample_weight": train.weights}


def _takes_blanks(estimator: Any) -> bool:
    steps = [step for _, step in _steps(estimator)]
    imputes = any(isinstance(step, SimpleImputer) for step in steps)
    return imputes or bool(get_tags(steps[-1]).input_tags.allow_nan)


def _steps(estimator: Any) -> list[tuple[str, Any]]:
    return list(estimator.steps) if hasattr(estimator, "steps") else [("model", estimator)]


def _make(path: str) -> Any:
    module, _, name = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as python -m does: a project's own modules lie beside its file
        sys.path.insert(0, here)
    try:
        maker = getattr(importlib.import_module(module), name)
        return maker()
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{path} cannot be made: {type(error).__name__}: {error}",
            where="[train] candidates",
            fix="name a class or a function without arguments as package.module:name",
        ) from None
