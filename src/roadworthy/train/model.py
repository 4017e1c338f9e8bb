"""What training hands over: the model, its plan, and the record of the search."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.table import Table
from roadworthy.train.decisions import DecisionRecord
from roadworthy.train.folds import Nested
from roadworthy.train.scoring import model_scores


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration and how it did.

    Attributes:
        family: The candidate's family; `baseline` is the dummy.
        config: Its settings.
        score: Mean of the metric over its validation folds.
        spread: Standard deviation over the folds; None with one fold.
        folds: Folds it was validated on.
        rounds: Mean boosting rounds or trees.
        microseconds: Predicted time of one row, from JSON to scores, on one core.
        megabytes: Predicted size of the core.
        members: Of a blend: position in `trials` -> weight.
        note: Why it was set aside, when it failed.
    """

    family: str
    config: dict[str, Any]
    score: float | None
    spread: float | None = None
    folds: int = 0
    rounds: int | None = None
    microseconds: float | None = None
    megabytes: float | None = None
    members: dict[str, float] = msgspec.field(default_factory=dict)
    note: str | None = None


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How the model was found.

    Attributes:
        metric: What the search went by.
        trials: Every configuration tried, the best first.
        chosen: Position of the chosen one in `trials`.
        folds: Folds of the validation.
        search_rows: Rows that the search used, of `training_rows`.
        training_rows: Rows that the chosen configuration was refitted on.
        policy: How the holdout was chosen.
        seed: Seed of everything random.
        complete: False when the budget ended the search before every configuration was tried
            or cut a fit short, fewer folds or faster learning among them; only a complete
            search is reproducible from its seed.
        kind: `race`, `grid` or `optuna`.
        rate: The factor of the boosting families' learning rates, chosen by the time that the
            first fit took; 0.3 when there was plenty.
        notes: What was noticed, for people.
        random_split_score: Where rows are split by time, what one random fold would have shown.
        nested: An estimate of the whole procedure by an outer loop, when asked for.
        decisions: What was decided on out-of-fold scores.
        digest: SHA-256 of the training rows.
        versions: Of the libraries.
        options: The `[prepare]` and `[train]` options.
    """

    metric: str
    trials: tuple[Trial, ...]
    chosen: int
    folds: int
    search_rows: int
    training_rows: int
    policy: str
    seed: int
    complete: bool
    kind: str = "race"
    rate: float = 1.0
    notes: tuple[str, ...] = ()
    random_split_score: float | None = None
    nested: Nested | None = None
    decisions: DecisionRecord | None = None
    digest: str = ""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def best(self) -> Trial:
        """The chosen configuration."""
        return self.trials[self.chosen]


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
