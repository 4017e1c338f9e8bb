"""The whole model as one scikit-learn estimator: raw rows in, answers out.

Every format but ONNX holds one of these. It reads rows by the contract, prepares them by stock
transformers and asks the fitted estimator: the way of scikit-learn, which shares no code with the
plan's own encoders or the core.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from roadworthy.contract import Contract
from roadworthy.prepare.reference import reference_frame, reference_transformer
from roadworthy.project import DataSection
from roadworthy.table.conform import conform
from roadworthy.table.sources import read_frame
from roadworthy.train import TrainedModel
from roadworthy.train.scoring import model_scores

Floats = NDArray[np.float64]


class _Packaged(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What both kinds have in common.

    Args:
        contract: The contract as JSON: a text, so that every format can hold it.
        prepare: The fitted transformer of a `reference_frame`.
        model: The fitted estimator behind it.
    """

    def __init__(self, contract: str, prepare: Any, model: Any) -> None:
        self.contract = contract
        self.prepare = prepare
        self.model = model

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> Any:
        """Return itself: it is fitted already and learns nothing more."""
        return self

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """The columns that it takes."""
        return np.array(_decode(self.contract).names, dtype=object)

    @property
    def n_features_in_(self) -> int:
        """How many columns it takes."""
        return len(_decode(self.contract).columns)

    def _scores(self, X: Any) -> Floats:
        """Probabilities `[N, K]` or predictions `[N]` of raw rows."""
        contract = _decode(self.contract)
        rows = pl.DataFrame(X, infer_schema_length=None) if isinstance(X, list) else X
        source = read_frame(rows, DataSection(blanks=contract.blanks))
        typed = conform(source.frame, contract, text=source.text)
        matrix = self.prepare.transform(reference_frame(typed, contract))
        with np.errstate(all="ignore"):  # sums of 1e300 overflow in its own check of the input
            return model_scores(self.model, matrix, len(contract.target.classes))


class PackagedClassifier(ClassifierMixin, _Packaged):  # type: ignore[misc]
    """A classifier of raw rows (data frame of pandas, Polars or Arrow, or a list of mappings)."""

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes in the order of the probabilities."""
        return np.array(_decode(self.contract).target.classes)

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities `[N, K]`; RowsError when rows break the contract."""
        return self._scores(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The class that is answered for each row `[N]`, by the contract's threshold."""
        answered: NDArray[Any] = self.classes_[
            _decode(self.contract).target.predicted_codes(self._scores(X))
        ]
        return answered


class PackagedRegressor(RegressorMixin, _Packaged):  # type: ignore[misc]
    """A regressor of raw rows (data frame of pandas, Polars or Arrow, or a list of mappings)."""

    def predict(self, X: Any) -> Floats:
        """The number predicted for each row `[N]`; RowsError when rows break the contract."""
        return self._scores(X)


def packaged_estimator(model: TrainedModel) -> PackagedClassifier | PackagedRegressor:
    """A trained model as one estimator of raw rows."""
    kind = PackagedClassifier if model.contract.target.classes else PackagedRegressor
    return kind(
        contract=msgspec.json.encode(model.contract, order="sorted").decode(),
        prepare=reference_transformer(model.plan, model.contract),
        model=model.estimator,
    )


@functools.lru_cache(maxsize=16)
def _decode(contract: str) -> Contract:
    return msgspec.json.decode(contract, type=Contract)
