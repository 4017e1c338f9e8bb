"""What training hands over: the model, its plan, and the record of the search."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.table import Table
from roadworthy.train.record import SearchRecord
from roadworthy.train.scoring import model_scores


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A fitted model.

    Attributes:
        name: A short name.
        table: The table it was trained on; packaging proves parity on its holdout.
        contract: The columns it takes.
        plan: How a row becomes a vector.
        estimator: The scikit-learn estimator on that vector.
        family: The candidate's family.
        search: How it was found.
        seconds: Wall time by step; not reproducible, so kept apart from the record.
        fit_seconds: Mean wall time of a fit of each of `search.trials`, in the same order.
        oof_rows: Positions in the training table of rows that were predicted out of fold.
        oof_scores: Probabilities `[M, K]` or predictions `[M]` of these rows, by models of the
            chosen configuration that had not seen them: what calibration, threshold and
            intervals are decided on.
    """

    name: str
    table: Table
    contract: Contract
    plan: FeaturePlan
    estimator: Any
    family: str
    search: SearchRecord
    seconds: dict[str, float]
    fit_seconds: tuple[float | None, ...] = ()
    oof_rows: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    oof_scores: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))

    def scores(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Probabilities `[N, K]` or predictions `[N]` for typed rows (`Table.frame`)."""
        matrix = encode_columns(frame, self.plan)
        return model_scores(self.estimator, matrix, len(self.contract.target.classes))
