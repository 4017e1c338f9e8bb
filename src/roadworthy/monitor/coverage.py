"""How many of the counted rows the prediction log holds: what findings on logged rows rest on.

Counts outlive a kill and know no sample; a log is sampled, lets rows go that find no room, and
loses its last second in a crash.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

import numpy as np

from roadworthy.monitor.findings import Finding, Severity
from roadworthy.monitor.history import History, moment
from roadworthy.monitor.predictions import MOST, Predictions
from roadworthy.observe.store import HOUR

_LOST = 0.01
_SAMPLE_LOST = 0.1
"""What a sample may lack beyond chance: it is drawn by requests, whose rows come or go together."""
_SIGMAS = 5.0


class Coverage(NamedTuple):
    """Logged beside counted rows of one version.

    Attributes:
        logged: Rows that the log holds.
        unusable: Rows of the log, of any time, that came twice or cannot be used.
        counted: Rows that were counted.
        since: The first hour that both speak of.
    """

    logged: int
    unusable: int
    counted: int
    since: datetime


def log_coverage(
    predictions: Predictions, history: History, *, unusable: int = 0, read: int = 0
) -> Coverage | None:
    """How many counted rows are logged, in the hours that both speak of.

    The log may have begun later than the counts, and only its newest rows are read: the whole hours
    from its first row on are looked at. The present one is left out where there are others, since
    counts and log are not written at the same moment.

    Args:
        predictions: Logged rows of the version.
        history: Its counts.
        unusable: Rows that were read and left out.
        read: Rows that were read, of all versions.

    Returns:
        None where nothing was counted in these hours.
    """
    rows = np.unique((predictions.times // HOUR).astype(np.int64), return_counts=True)
    logged = dict(zip(rows[0].tolist(), rows[1].tolist(), strict=True))
    counted = {hour: int(one.cells[0]) for hour, one in history.hours.items() if one.cells[0]}
    if not counted:
        return None
    began = min(counted)
    first = max(began, min(logged, default=began))
    if first > began or read >= MOST:
        first += bool(logged)  # only a part of that hour is in the log
    hours = [hour for hour in counted if hour >= first]
    chosen = [hour for hour in hours if hour < history.now] or hours
    if not chosen:
        return None
    total = sum(counted[hour] for hour in chosen)
    held = min(total, sum(logged.get(hour, 0) for hour in chosen))
    return Coverage(held, unusable, total, moment(min(chosen)))


def coverage_findings(coverage: Coverage | None, sample: float) -> list[Finding]:
    """A finding where fewer rows are logged than were counted.

    Args:
        coverage: What is logged; None where it is not known.
        sample: `[serve] log_sample`.
    """
    if coverage is None:
        return []
    share = coverage.logged / coverage.counted
    if share > 1 - _LOST:  # a row on the border of an hour may be counted in the next
        return []
    chance = _SIGMAS * math.sqrt(sample * (1 - sample) / coverage.counted)
    slack = _LOST if sample == 1 else _SAMPLE_LOST * sample + chance
    lost = share + coverage.unusable / coverage.counted < sample - slack
    severity: Severity = "warning" if lost else "info"
    why = "more are missing than that leaves out" if lost else "as it was asked for"
    sampled = f"log_sample is {sample:g}, {why}; " if sample < 1 else ""
    if coverage.unusable:
        sampled += f"{coverage.unusable:,} more came twice or cannot be used; "
    what = (
        f"the prediction log holds {coverage.logged:,} of {coverage.counted:,} counted rows "
        f"({share:.1%}); {sampled}what is said of logged rows, quality and estimates rests on these"
    )
    fix = "raise [serve] log_rows, make room on its disk, and look for workers that were killed"
    return [
        Finding(
            "store", severity, "log", what,
            {"logged": coverage.logged, "counted": coverage.counted, "share": share},
            coverage.since, fix if lost else "nothing, unless every row is wanted: log_sample = 1",
        )
    ]  # fmt: skip
