"""An overview: everything that is known of a served version, for a page or a screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.monitor.advice import Action, Situation
from roadworthy.monitor.against import TRAINING, days_against, in_words
from roadworthy.monitor.alarms.notices import OpenAlarm
from roadworthy.monitor.coverage import Coverage
from roadworthy.monitor.domain import MIN_ROWS, Sample, domain_findings, sample_of, tell_apart
from roadworthy.monitor.findings import BROKEN_DATA, SEVERITIES, Finding
from roadworthy.monitor.history import HOURS, VersionSpan, moment
from roadworthy.monitor.inspection import Inspection
from roadworthy.monitor.predictions import Predictions
from roadworthy.monitor.quality import Quality

_WEEK = 7
_WEEKS = 3
"""Weeks of logged days from which the newest week is compared, and not the newest day."""


class Release(NamedTuple):
    """A version that became the champion.

    Attributes:
        at: When, UTC.
        version: Which.
        action: `promote` or `rollback`.
    """

    at: datetime
    version: str
    action: str


@dataclass(frozen=True)
class Overview:
    """Everything that is known of a served version.

    Attributes:
        inspection: What the counts say; its findings are all there are.
        situation: What recent logged rows and labels say; None without a log.
        quality: Realised quality over all logged rows, of all versions; None without labels.
        recent: Since when rows are recent, days since 1970.
        actions: Advice, the first thing first.
        spans: Versions that were served.
        releases: When which version became the champion.
        alarms: Alarms that are open, by `kind: subject`.
        coverage: How many of the counted rows are logged; None where it is not known.
    """

    inspection: Inspection
    situation: Situation | None = None
    quality: Quality | None = None
    recent: float | None = None
    actions: tuple[Action, ...] = ()
    spans: tuple[VersionSpan, ...] = ()
    releases: tuple[Release, ...] = ()
    alarms: tuple[tuple[str, OpenAlarm], ...] = ()
    coverage: Coverage | None = None


def with_findings(inspection: Inspection, findings: Sequence[Finding]) -> Inspection:
    """An inspection with other findings, the most serious first."""
    order = {severity: place for place, severity in enumerate(reversed(SEVERITIES))}
    ranked = sorted(
        findings, key=lambda each: (order[each.severity], -float(each.evidence.get("psi", 0)))
    )
    return dataclasses.replace(inspection, findings=tuple(ranked))


def joint_drift(
    predictions: Predictions,
    inspection: Inspection,
    against: str,
    training: pl.DataFrame | None = None,
) -> list[Finding]:
    """Whether the newest logged rows can be told from those that they are compared with.

    Args:
        predictions: Logged rows of the version.
        inspection: What the counts say: columns that they say something of are no news.
        against: As `[monitor] against`.
        training: Typed rows of the training table, for `training`; None takes older logged rows.
    """
    logged = sample_of(predictions)
    days = logged.days
    if days is None or not len(days):
        return []
    newest = int(days.max())
    week = newest - int(days.min()) + 1 >= _WEEKS * _WEEK
    first = newest - _WEEK + 1 if week and against == TRAINING else newest
    if int(days.min()) == newest:
        return []  # a part of a day is no reference for another
    young = days >= first
    new = _part(logged, young)
    if against == TRAINING:
        old, words = _part(logged, ~young), "the rows before"
        if training is not None:
            old, words = Sample(training), "the training table"
    else:
        chosen = np.array(list(days_against(against, newest)), dtype=np.int64)
        old, words = _part(logged, np.isin(days, chosen)), f"rows {in_words(against)}"
    if min(old.frame.height, new.frame.height) < MIN_ROWS:
        return []
    clocks = {column.name for column in inspection.history.reference.columns if column.clock}
    broken = {each.subject for each in inspection.findings if each.kind in BROKEN_DATA}
    known = frozenset(each.subject for each in inspection.findings)
    told = tell_apart(old, new, predictions.contract, without=frozenset(clocks | broken))
    return domain_findings(told, new.frame.height, words, moment(first * HOURS), known)


def _part(sample: Sample, wanted: NDArray[np.bool_]) -> Sample:
    days = None if sample.days is None else sample.days[wanted]
    return Sample(sample.frame.filter(pl.Series(wanted)), days)
