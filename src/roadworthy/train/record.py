"""The record of a search, as plain data: what reports and packages keep of it.

It loads no library of training, so that who reads a report needs none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Method = Literal["none", "sigmoid", "isotonic"]


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


class Nested(msgspec.Struct, frozen=True, kw_only=True):
    """What an outer loop says of a whole procedure.

    Attributes:
        metric: The metric.
        score: Its mean over the outer folds.
        spread: Its standard deviation over them; None with one.
        scores: The metric of each outer fold; None where it is undefined.
    """

    metric: str
    score: float
    spread: float | None
    scores: tuple[float | None, ...]


class CalibrationEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one method came to on out-of-fold scores it was not fitted on.

    Attributes:
        method: The method.
        log_loss: Its cross-validated log-loss.
        gain: How much less than without calibration.
        standard_error: Of the gain, over rows.
    """

    method: Method
    log_loss: float
    gain: float
    standard_error: float


class ThresholdChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold and what it was chosen for.

    Attributes:
        positive: Name of the positive class.
        threshold: Probability of it from which it is answered.
        low: Lower end of the 95 % bootstrap interval of the threshold.
        high: Upper end.
        measure: What the aim is measured by: `cost` (mean a row), `recall`, `precision`, `f1`,
            `balanced_accuracy` or `accuracy`; None for a threshold that the user fixed.
        value: The measure at the threshold, on the rows that it was chosen on.
        default: The measure at 0.5.
        gain: How much better than 0.5 (for `cost` how much less), on rows that the choice did not
            see: the mean over bootstrap replicates.
        gain_low: Lower end of its 95 % interval.
        gain_high: Upper end.
        precision: Precision of the positive class at the threshold.
        recall: Its recall.
    """

    positive: str
    threshold: float
    low: float | None = None
    high: float | None = None
    measure: str | None = None
    value: float | None = None
    default: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    precision: float | None = None
    recall: float | None = None


class IntervalEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the two kinds of interval came to on out-of-fold errors they were not drawn from.

    Attributes:
        growing: Whether the width grows with the prediction.
        coverage: Share of true values that the chosen kind held.
        width: Its median width.
        constant_score: Mean interval score of a constant width: width plus what true values lie
            outside, times 2 / (1 - level) (Gneiting and Raftery, 2007); less is better.
        growing_score: The same of a growing width; None where the target is not above 0.
    """

    growing: bool
    coverage: float
    width: float
    constant_score: float
    growing_score: float | None = None


class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, and on what evidence.

    Attributes:
        rows: Out-of-fold rows that it was decided on.
        calibration: The method taken: `none`, `sigmoid` or `isotonic`.
        calibrations: The evidence for each that was tried.
        threshold: The threshold; None answers the more probable class.
        interval: The evidence for the prediction interval; None without one.
    """

    rows: int
    calibration: str = "none"
    calibrations: tuple[CalibrationEvidence, ...] = ()
    threshold: ThresholdChoice | None = None
    interval: IntervalEvidence | None = None


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
