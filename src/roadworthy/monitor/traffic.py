"""Traffic: hours without rows, days with far fewer or more, and requests that fail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from roadworthy.monitor.findings import Finding
from roadworthy.monitor.history import HOURS, History, moment

_WEEK = 7 * HOURS
_MIN_GAP = 3
_FEW, _MANY = 0.3, 3.0
_MIN_ROWS = 100
_FAILED = 0.01
_MIN_FAILED = 5


def unusual_traffic(history: History) -> list[Finding]:
    """What is unusual in the traffic of a model.

    Args:
        history: What was counted.
    """
    return [*_gaps(history), *_days(history), *_failures(history)]


def _gaps(history: History) -> Iterator[Finding]:
    """Gaps of the last week that are twice as long as any before; nights recur and are usual."""
    hours = np.array([hour for hour, counts in history.hours.items() if counts.cells[0]])
    if not len(hours) or history.now - hours[0] < _WEEK + HOURS:
        return
    ends = np.append(hours[1:], history.now)
    empty = ends - hours - 1
    old = hours < history.now - _WEEK
    usual = int(empty[old].max()) if old.any() else 0
    for start, gap, end in zip(hours, empty, ends, strict=True):
        if start < history.now - _WEEK or gap < max(_MIN_GAP, 2 * usual):
            continue
        goes_on = bool(end == history.now)
        yield Finding(
            "time_gap",
            "serious" if goes_on else "warning",
            "service",
            f"no row came for {gap} hours" + ("" if not goes_on else ", until now"),
            {"hours": int(gap), "usual": usual},
            moment(int(start) + 1),
            "look whether callers reach the service, and whether their jobs ran; rows of that time "
            "are missing from every comparison",
        )


def _days(history: History) -> Iterator[Finding]:
    """The newest whole day against the same weekday of the weeks before."""
    days = {day: int(cells[0]) for day, cells in history.complete_days().items()}
    if not days:
        return
    last = max(days)
    before = [days[day] for week in (1, 2, 3, 4) if (day := last - 7 * week) in days]
    usual = float(np.median(before)) if len(before) >= 2 else 0.0
    if usual < _MIN_ROWS:
        return
    ratio = days[last] / usual
    if _FEW <= ratio <= _MANY:
        return
    yield Finding(
        "traffic",
        "warning" if ratio < 1 else "info",
        "service",
        f"{days[last]:,} rows came in a day; on this weekday {usual:,.0f} are usual",
        {"rows": days[last], "usual": usual, "ratio": ratio},
        moment(last * HOURS),
        "ask who calls the service what changed",
    )


def _failures(history: History) -> Iterator[Finding]:
    found = history.recent(1)
    if found is None:
        return
    counts, hour = found
    layout = history.reference.layout
    failed = layout.service(counts.cells, "failed")
    answered = int(counts.cells[layout.latencies].sum())
    share = failed / max(1, failed + answered)
    if failed >= _MIN_FAILED and share >= _FAILED:
        yield Finding(
            "errors",
            "serious",
            "service",
            f"{share:.1%} of requests failed in the server",
            {"failed": failed, "share": share},
            moment(hour),
            "read the server's log; roll back if a new version came with it",
        )
