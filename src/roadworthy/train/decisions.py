"""What is decided on out-of-fold scores: calibration, threshold and prediction intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from roadworthy.contract import Target
from roadworthy.project import TrainSection
from roadworthy.table import Table
from roadworthy.train.calibration import (
    Calibrated,
    Calibration,
    check_calibration,
    choose_calibration,
)
from roadworthy.train.folds import check_validation
from roadworthy.train.intervals import check_interval, choose_interval
from roadworthy.train.record import DecisionRecord
from roadworthy.train.scoring import Floats, Index
from roadworthy.train.threshold import (
    check_decision,
    choose_threshold,
    decided_target,
)
from roadworthy.train.weights import check_weights, row_weights


class Decisions(NamedTuple):
    """What the served model needs beyond its estimator.

    Attributes:
        target: The contract's target with threshold and interval.
        calibration: What the probabilities go through.
        record: The evidence.
    """

    target: Target
    calibration: Calibration
    record: DecisionRecord

    def calibrated(self, estimator: Any) -> Any:
        """The estimator with its calibration, where there is one."""
        plain = self.calibration.method == "none"
        return estimator if plain else Calibrated(estimator, self.calibration)


def check_options(table: Table, options: TrainSection) -> None:
    """Refuse, before any work, what the table or task does not allow.

    Args:
        table: The table; only its training rows are looked at.
        options: `[train]`.

    Raises:
        InputError: Names the key and the remedy.
    """
    training = table.training
    check_validation(training, options)
    check_weights(training, options)
    row_weights(training, options)
    check_calibration(training.task, options.calibrate)
    check_decision(training, options.decision)
    check_interval(training.task, options.interval, len(training))


def decide(training: Table, rows: Index, scores: Floats, options: TrainSection) -> Decisions:
    """Decide everything that stands between a model's scores and its answers.

    Calibration is judged with the weights of the fit: who weighs classes wants probabilities
    that say so. The threshold is chosen on calibrated probabilities and with the rows' own
    weights: costs are of the rows as they are.

    Args:
        training: The training rows.
        rows: Positions in them that have out-of-fold scores `[N]`; a position that stands there
            more than once gets the mean.
        scores: Out-of-fold scores of the very model that is served: probabilities `[N, K]` or
            predictions `[N]`.
        options: `[train]`.

    Raises:
        InputError: No threshold reaches the floor, or there are too few rows for what is asked.
    """
    rows, scores = _mean_of_repeats(rows, scores)
    scored = training.take(rows)
    target = training.contract.target
    if not training.classes:
        return _with_interval(scored, scores, options)
    calibration, evidence = choose_calibration(
        scores,
        scored.labels,
        options.calibrate,
        weights=row_weights(scored, options),
        groups=scored.groups,
        seed=options.seed,
    )
    choice = None
    if training.task == "binary":
        choice = choose_threshold(
            calibration.apply(scores),
            scored.labels,
            target,
            options.decision,
            weights=scored.weights,
            seed=options.seed,
        )
    record = DecisionRecord(
        rows=len(rows), calibration=calibration.method, calibrations=evidence, threshold=choice
    )
    return Decisions(decided_target(target, options.decision, choice), calibration, record)


def _with_interval(scored: Table, scores: Floats, options: TrainSection) -> Decisions:
    target, evidence = scored.contract.target, None
    if options.interval:
        interval, evidence = choose_interval(
            scores,
            scored.labels,
            options.interval,
            weights=scored.weights,
            groups=scored.groups,
            seed=options.seed,
        )
        target = msgspec.structs.replace(target, interval=interval)
    return Decisions(target, Calibration(), DecisionRecord(rows=len(scored), interval=evidence))


def _mean_of_repeats(rows: Index, scores: Floats) -> tuple[Index, Floats]:
    known, place, counts = np.unique(rows, return_inverse=True, return_counts=True)
    if len(known) == len(rows):
        return rows, scores
    sums = np.zeros((len(known), *scores.shape[1:]))
    np.add.at(sums, place, scores)
    return known, sums / counts.reshape(-1, *[1] * (scores.ndim - 1))
