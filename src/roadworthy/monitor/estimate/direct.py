"""Direct loss estimation: a model of how far the model errs, row by row.

NannyML's DLE (its documentation, 2022): boosted trees learn from reference rows what a row's loss
is given its inputs and its prediction. The interval comes of the out-of-fold residuals, which have
seen neither the row nor what was learned from it.
"""

from __future__ import annotations

import math

import numpy as np

from roadworthy.evaluate import Scored
from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.estimate.base import Expected, RowExpectation, mean_expected
from roadworthy.monitor.estimate.confidence import brier_rows
from roadworthy.monitor.predictions import Predictions
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import FeaturePlan

_FOLDS = 5
_MIN_ROWS = 100
_MOST = 50_000
_OPTIONS = {
    "objective": "regression", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 40,
    "lambda_l2": 5.0, "verbosity": -1, "deterministic": True, "force_row_wise": True,
    "num_threads": 1,
}  # fmt: skip
_ROUNDS = 120


class DirectEstimator:
    """Estimates the mean losses of any task.

    Args:
        reference: Labelled rows of which the inputs and the outcome were what they should be.
        plan: How a row becomes a vector.
        seed: Seed of folds and trees.

    Raises:
        ValueError: There are fewer than 100 reference rows.
    """

    def __init__(self, reference: Scored, plan: FeaturePlan, seed: int = 0) -> None:
        if len(reference) < _MIN_ROWS:
            raise ValueError(f"direct loss estimation needs {_MIN_ROWS} labelled rows or more")
        self.plan, self.seed, self.regression = plan, seed, reference.regression
        newest = np.arange(max(0, len(reference) - _MOST), len(reference))
        rows = reference.take(newest)
        features = _vectors(rows.table.frame, rows.scores, plan)
        self._parts = {name: _Part(features, loss, seed) for name, loss in row_losses(rows).items()}

    def estimate(self, predictions: Predictions) -> dict[str, Expected]:
        """See `Estimator`."""
        if not len(predictions):
            return {}
        found = {}
        for name, rows in self.expectations(predictions).items():
            expected = mean_expected(rows)
            if name == "rmse":
                ends = (expected.value, expected.low, expected.high)
                expected = Expected(*(math.sqrt(max(0.0, each)) for each in ends))
            found[name] = expected.complement() if name == "accuracy" else expected
        return found

    def expectations(self, predictions: Predictions) -> dict[str, RowExpectation]:
        """See `Estimator`: of `mae` and `rmse` (squares), or of `accuracy` and `brier`."""
        features = _vectors(predictions.inputs, predictions.scores, self.plan)
        return {name: part.expect(features) for name, part in self._parts.items()}


class _Part:
    """One loss: the trees, and how far they are off."""

    def __init__(self, features: Floats, loss: Floats, seed: int) -> None:
        import lightgbm

        folds = np.random.default_rng(seed).permutation(len(loss)) % _FOLDS
        outside = np.empty(len(loss))
        self._models = []
        for fold in range(_FOLDS):
            inside = folds != fold
            data = lightgbm.Dataset(features[inside], loss[inside], free_raw_data=True)
            model = lightgbm.train({**_OPTIONS, "seed": seed}, data, _ROUNDS)
            outside[~inside] = model.predict(features[~inside], num_threads=1)
            self._models.append(model)
        residual = loss - outside
        self._shift = float(residual.mean())
        self._variance = float(residual.var(ddof=1))
        self._shared = math.sqrt(self._variance / len(loss))

    def expect(self, features: Floats) -> RowExpectation:
        if not len(features):
            return RowExpectation(np.empty(0), np.empty(0), self._shared)
        each = [model.predict(features, num_threads=1) for model in self._models]
        mean = np.mean(each, axis=0) + self._shift
        return RowExpectation(mean, np.full(len(mean), self._variance), self._shared)


def row_losses(scored: Scored) -> dict[str, Floats]:
    """What each labelled row lost, for metrics that are means over rows (`rmse` as squares)."""
    if scored.regression:
        return {"mae": scored.outcome, "rmse": scored.loss}
    wrong = (scored.predicted != scored.codes).astype(np.float64)
    return {"accuracy": wrong, "brier": brier_rows(scored.scores, scored.codes)}


def _vectors(frame: object, scores: Floats, plan: FeaturePlan) -> Floats:
    matrix = encode_columns(frame, plan)  # type: ignore[arg-type]
    return np.column_stack([matrix, scores])
