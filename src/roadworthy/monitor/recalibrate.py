"""Recalibrate: the champion with one calibration more, gated against what it was.

Probabilities whose order is right and whose size is not need no new model. Plan and core stay; a
calibration is fitted on labelled rows, and the newest of them are what both are compared on.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.acceptance import accept
from roadworthy.bundle import Bundle
from roadworthy.bundle.adjust import rewrite
from roadworthy.bundle.recalibrate import Answered, check_recalibratable, recalibrate_bundle
from roadworthy.contract import Interval, Target
from roadworthy.errors import InputError
from roadworthy.evaluate import Report
from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.predictions import Predictions
from roadworthy.monitor.recalibration import fit_recalibration
from roadworthy.monitor.retrain import (
    Retrained,
    check_logged,
    proposal,
    recent_rows,
    register_challenger,
    split_rows,
)
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project
from roadworthy.train.calibration import Calibration
from roadworthy.train.intervals import choose_interval
from roadworthy.train.record import DecisionRecord, IntervalEvidence

_MIN_OF_CLASS = 10
"""Labels that two classes need at least: fewer say nothing of how often they come."""


class _Fitted(NamedTuple):
    """A calibration, and the interval around what it gives."""

    calibration: Calibration
    interval: Interval | None
    decided: DecisionRecord


def recalibrate(
    champion: Bundle, outcomes: Outcomes, project: Project, *, since: datetime | None = None
) -> Retrained:
    """Make a challenger of the champion with one calibration more, and let it earn its way.

    Args:
        champion: The model in production.
        outcomes: Its logged predictions with what labels are known.
        project: As for `retrain`.
        since: Use only labelled rows from then on; None takes `[monitor] retrain_window_days`.

    Raises:
        InputError: Too few labels, or of one class; columns that the log does not hold; or the
            bundle's core cannot take a calibration.
        CheckFailed: What would be served differs from what was fitted.
    """
    check_recalibratable(champion)
    options = project.monitor
    window = options.retrain_window_days
    parts = split_rows(outcomes, since, window, options.retrain_test_share)
    check_logged(parts)
    rows = _answered_by(champion, recent_rows(outcomes, since, window)[0])
    labelled = rows.take(rows.known)
    learn = labelled.take(np.arange(len(labelled)) < parts.learn.height)
    fitted = _fit(learn, champion.contract.target)
    proven = recalibrate_bundle(
        champion,
        fitted.calibration,
        labelled.scored().table,
        Answered(rows.predictions.scores, _days(rows.predictions.times)),
        interval=fitted.interval,
        trusted_types=project.package.trusted_types,
    )
    gated = project
    if project.gates.no_worse_than is None:
        gated = project.override("gates", no_worse_than="champion")
    days = _days(learn.predictions.times)
    lineage = {
        "kind": "recalibrated",
        "parent": champion.version,
        "recalibrated_rows": str(len(learn)),
        "recalibrated_days": f"{days[0]} to {days[-1]}",
    }
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        draft = rewrite(champion, proven.contract, proven.files, None, directory=folder)
        verdict = accept(draft, parts.test, gated, champion=champion.path)
    report = verdict.report
    challenger = rewrite(
        champion,
        proven.contract,
        proven.files,
        None if report is None else _said(report, fitted, lineage),
        directory=project.package.directory,
        signing_key=project.registry.signing_key,
        lineage=lineage,
        measured=proven.measured,
    )
    registered, promoted = register_challenger(
        challenger, champion, verdict, project, kind="recalibrated"
    )
    return Retrained(
        challenger=challenger,
        verdict=verdict,
        learned=len(learn),
        new=len(learn),
        tested=parts.test.height,
        registered=registered,
        promoted=promoted,
        proposal=proposal(registered, verdict, promoted, options.retrain_promote, project),
        left_out=parts.left_out,
    )


def _answered_by(champion: Bundle, rows: Outcomes) -> Outcomes:
    """The rows with the champion's answers, whichever version answered them then."""
    old = rows.predictions
    matrix = encode_columns(old.inputs, champion.plan)
    made = Predictions(champion.contract, old.keys, old.inputs, champion.engine.run_many(matrix))
    return Outcomes(made, rows.labels, rows.label_times)


def _fit(learn: Outcomes, target: Target) -> _Fitted:
    scores, labels = learn.predictions.scores, learn.labels
    if target.classes:
        found = np.bincount(labels.astype(np.int64), minlength=len(target.classes))
        if (found >= _MIN_OF_CLASS).sum() < 2:
            rare = target.class_names[int(np.argsort(-found, kind="stable")[1])]
            raise InputError(
                f"{int(np.sort(found)[-2])} of {len(labels):,} labels say {rare!r}: "
                f"{_MIN_OF_CLASS} of each of two classes are needed",
                where="[monitor] labels",
                fix="collect labels of every class: roadworthy feedback FILE",
            )
    calibration = fit_recalibration(scores, labels)
    beta = calibration.method == "beta"
    if calibration.slope <= 0 and (not beta or calibration.rest <= 0):
        raise InputError(
            "the order of the scores is not right, and no calibration mends that",
            where=f"{len(labels):,} labelled rows",
            fix="roadworthy retrain, without --recalibrate",
        )
    interval, evidence = _interval(calibration.apply(scores), labels, target)
    decided = DecisionRecord(rows=len(labels), calibration=calibration.method, interval=evidence)
    return _Fitted(calibration, interval, decided)


def _interval(
    scores: Floats, labels: Floats, target: Target
) -> tuple[Interval | None, IntervalEvidence | None]:
    """Intervals around recalibrated predictions, of the level that they had."""
    if target.interval is None:
        return None, None
    return choose_interval(scores, labels, target.interval.level)


def _said(report: Report, fitted: _Fitted, lineage: dict[str, str]) -> Report:
    """The report of the new rows, with what of the training no longer tells this model."""
    how = {"beta": "beta calibration", "sigmoid": "a temperature and a shift a class"}
    note = (
        f"Recalibrated ({how.get(fitted.calibration.method, 'a straight line')}) on "
        f"{lineage['recalibrated_rows']} labelled rows of {lineage['recalibrated_days']}, after "
        f"version {lineage['parent'][:12]}. The search is that of the model before; what "
        "it measured was not measured again."
    )
    search = report.search
    if search is not None:
        search = msgspec.structs.replace(search, decisions=fitted.decided)
    return msgspec.structs.replace(report, notes=(*report.notes, note), search=search)


def _days(times: Floats) -> NDArray[np.str_]:
    """ISO dates of moments in seconds since 1970."""
    days: NDArray[np.str_] = np.array(
        [datetime.fromtimestamp(time, UTC).date().isoformat() for time in times.tolist()], dtype=str
    )
    return days
