"""Typed rows as somebody else's model takes them, and what it answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from roadworthy.bundle.foreign.apart import Levels
from roadworthy.errors import OutsideError

Floats = NDArray[np.float64]


class OwnRows(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of typed rows to the frame or matrix that a model was fitted on.

    Args:
        names: The columns, in the model's order.
        dropped: Those of them that the model drops.
        levels: Column -> level -> the model's own value; only columns read by their levels.
        blanks: Column -> whether a blank is None and not NaN.
        named: Whether the model was fitted on a data frame.
    """

    def __init__(
        self,
        names: list[str],
        dropped: list[str],
        levels: dict[str, dict[str, Any]],
        blanks: dict[str, bool],
        named: bool,
    ) -> None:
        self.names = names
        self.dropped = dropped
        self.levels = levels
        self.blanks = blanks
        self.named = named

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> OwnRows:
        """Return itself: there is nothing to learn."""
        return self

    def transform(self, X: pl.DataFrame) -> Any:
        """The rows; texts and numbers as the model knows them."""
        nothing = np.full(X.height, np.nan)
        columns = {
            name: nothing if name in self.dropped else self._cells(X[name], name)
            for name in self.names
        }
        if self.named:
            import pandas

            return pandas.DataFrame(columns)
        kinds = {cells.dtype for cells in columns.values()}
        return np.column_stack(
            [c.astype(object) if len(kinds) > 1 else c for c in columns.values()]
        )

    def _cells(self, series: pl.Series, name: str) -> NDArray[Any]:
        if name not in self.levels:
            return series.cast(pl.Float64).to_numpy()
        known, blank = self.levels[name], None if self.blanks[name] else np.nan
        numeric = bool(known) and not any(isinstance(value, str) for value in known.values())
        if numeric:
            cells = [np.nan if x is None else known.get(x, _number(x)) for x in series]
            return np.array(cells, dtype=np.float64)
        return np.array([blank if x is None else known.get(x, x) for x in series], dtype=object)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def own_rows(
    names: list[str], dropped: list[str], levels: Mapping[str, Levels], *, named: bool
) -> OwnRows:
    """The transformer for a model in its parts; OutsideError when it needs pandas and has none."""
    if named:
        try:
            import pandas  # noqa: F401
        except ModuleNotFoundError:
            raise OutsideError(
                "the model was fitted on a data frame, and 'pandas' is not installed",
                fix="pip install pandas",
            ) from None
    return OwnRows(
        names=names,
        dropped=dropped,
        levels={name: dict(each.values) for name, each in levels.items()},
        blanks={name: each.blank is None for name, each in levels.items()},
        named=named,
    )


def ask(model: Any, rows: Any, classes: int) -> Floats:
    """Probabilities `[N, K]` or predictions `[N]` of somebody else's model."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if classes:
            return np.asarray(model.predict_proba(rows), dtype=np.float64)
        found = np.asarray(model.predict(rows), dtype=np.float64)
        if found.size != len(rows):
            raise ValueError("it predicts several targets")
        return found.reshape(-1)


def ask_each(model: Any, rows: Any, classes: int) -> Floats:
    """As `ask`; NaN for the rows that the model refuses or has no finite answer to."""
    try:
        found = ask(model, rows, classes)
    except Exception:  # every library refuses a row by an error of its own
        if len(rows) == 1:
            return np.full((1, classes) if classes else 1, np.nan)
        half = len(rows) // 2
        return np.concatenate(
            [ask_each(model, part, classes) for part in (rows[:half], rows[half:])]
        )
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(axis=1)
    found[bad] = np.nan
    return found
