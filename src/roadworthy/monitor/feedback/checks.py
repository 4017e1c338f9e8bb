"""Labels that are wrong themselves: of unknown requests, late, missing, or from a wrong clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from roadworthy.monitor.feedback.join import CLOCK_SECONDS, Outcomes
from roadworthy.monitor.findings import Finding, Severity

_MIN_ROWS = 30
_UNKNOWN, _LATE = 0.05, 0.2
_FEWER = 0.5
_DAY = 86400.0


def label_findings(
    outcomes: Outcomes, delay_days: float | None = None, now: float | None = None
) -> list[Finding]:
    """What is worth telling of labels and of the log, whatever they say of quality.

    Args:
        outcomes: Predictions with their labels.
        delay_days: Age from which a label is expected; None: as labels came so far.
        now: Seconds since 1970; None takes the clock.
    """
    return [
        *_unknown(outcomes),
        *_clocks(outcomes),
        *_ahead(outcomes, time.time() if now is None else now),
        *_late(outcomes, delay_days),
        *_missing(outcomes, delay_days),
    ]


def _unknown(outcomes: Outcomes) -> Iterator[Finding]:
    known, unknown = int(outcomes.known.sum()), outcomes.unknown_ids
    share = unknown / max(1, known + unknown)
    if unknown:
        grave = unknown >= _MIN_ROWS and share >= _UNKNOWN
        yield _finding(
            "warning" if grave else "info",
            f"{unknown:,} labels ({share:.0%}) belong to no prediction that was looked at",
            {"labels": unknown, "share": share},
            "compare request ids and rows with those of the answers; labels of predictions that "
            "are older than the log are no fault",
        )


def _clocks(outcomes: Outcomes) -> Iterator[Finding]:
    waits = (outcomes.label_times - outcomes.predictions.times)[outcomes.known]
    early = int((waits < -CLOCK_SECONDS).sum())
    if early:
        yield _finding(
            "warning",
            f"{early:,} labels are older than their predictions",
            {"labels": early, "earliest_seconds": float(waits.min())},
            "look at the clocks of the hosts that serve and of those that send labels",
        )
    if outcomes.ahead:
        yield _finding(
            "warning",
            f"{outcomes.ahead:,} labels came with a time that was still to come; the time at which "
            "they came is taken",
            {"labels": outcomes.ahead},
            "look at the clocks of the hosts that send labels",
        )


def _ahead(outcomes: Outcomes, now: float) -> Iterator[Finding]:
    """Predictions that bear a time that is still to come."""
    leads = outcomes.predictions.times - now
    early = int((leads > CLOCK_SECONDS).sum())
    if early:
        yield Finding(
            "store",
            "warning",
            "rows",
            f"{early:,} logged predictions bear a time that is still to come, up to "
            f"{float(leads.max()) / 3600.0:.1f} hours ahead",
            {"rows": early, "latest_seconds": float(leads.max())},
            None,
            "look at the clocks of the hosts that serve: these rows are told in the wrong period",
        )


def _late(outcomes: Outcomes, delay_days: float | None) -> Iterator[Finding]:
    if delay_days is None:
        return  # nobody has said what late is
    waits = (outcomes.label_times - outcomes.predictions.times)[outcomes.known]
    share = float((waits > delay_days * _DAY).mean()) if len(waits) else 0.0
    if len(waits) >= _MIN_ROWS and share >= _LATE:
        yield _finding(
            "warning",
            f"{share:.0%} of labels came later than label_delay_days ({delay_days:g})",
            {"share": share, "labels": len(waits), "median_days": float(np.median(waits)) / _DAY},
            "raise [monitor] label_delay_days: quality leaves out what comes later",
        )


def _missing(outcomes: Outcomes, delay_days: float | None) -> Iterator[Finding]:
    """The newer half of the predictions that are old enough has far fewer labels than the older."""
    from roadworthy.evaluate.shift import homogeneity

    times, known = outcomes.predictions.times, outcomes.known
    if not known.any():
        return
    delay = outcomes.delay() if delay_days is None else delay_days * _DAY
    newest = max(float(times.max()), float(outcomes.label_times[known].max()))
    mature = np.flatnonzero(times <= newest - delay)
    old, new = (known[half] for half in np.array_split(mature, 2))
    if min(len(old), len(new)) < _MIN_ROWS:
        return
    before, now = float(old.mean()), float(new.mean())
    counts = [np.array([half.sum(), (~half).sum()], dtype=np.float64) for half in (old, new)]
    if now < _FEWER * before and homogeneity(*counts) < 1e-4:
        since = datetime.fromtimestamp(float(times[mature[len(old)]]), UTC)
        yield _finding(
            "warning",
            f"{now:.0%} of predictions got their label in time; before it were {before:.0%}",
            {"share": now, "before": before, "rows": len(new)},
            "look whether the job that sends labels runs: quality is told of fewer rows meanwhile",
            since,
        )


def _finding(
    severity: Severity,
    what: str,
    evidence: dict[str, float | int | str],
    fix: str,
    since: datetime | None = None,
) -> Finding:
    return Finding("labels", severity, "label", what, evidence, since, fix)
