"""History: what was counted of one version, by hour and by day, all workers and hosts together."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.observe.counts import Cells, Counts
from roadworthy.observe.reference import Reference
from roadworthy.observe.store import DAY_SUFFIX, HOUR, SUFFIX, WindowStore, hour_of

HOURS = 24


@dataclass(frozen=True)
class History:
    """Counts of one version.

    Attributes:
        reference: What they are compared with.
        hours: Hours since 1970 -> counts, in order; hours of which only the day is kept are not
            among them.
        now: The present hour.
        damaged: Windows that could not be read.
        days: Days since 1970 -> counts.
    """

    reference: Reference
    hours: dict[int, Counts]
    now: int
    damaged: int = 0
    days: dict[int, Cells] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(int(cells[0]) for cells in self.days.values())

    def recent(self, rows: int, hours: int = HOURS) -> tuple[Counts, int] | None:
        """The newest hours that hold so many rows, and the first of them.

        Args:
            rows: Rows that are enough.
            hours: Hours to look back from the newest one with rows, at most.
        """
        found: tuple[Counts, int] | None = None
        answered = [hour for hour, counts in self.hours.items() if counts.cells[0]]
        last = max(answered or self.hours, default=0)
        for hour in sorted(self.hours, reverse=True):
            if hour <= last - hours:
                break
            counts = self.hours[hour]
            found = (counts if found is None else found[0].merged(counts), hour)
            if found[0].cells[0] >= rows:
                break
        return found

    def complete_days(self) -> dict[int, Cells]:
        """Days since 1970 that are over -> counts."""
        return {day: cells for day, cells in self.days.items() if day < self.now // HOURS}


def read_history(
    store: WindowStore,
    reference: Reference,
    model: str,
    version: str,
    *,
    now: float,
    since: int | None = None,
) -> History:
    """Read what was counted of a version.

    A window of another layout or from the future, as a wrong clock writes it, is counted as
    damaged.

    Args:
        store: The windows.
        reference: Of the version.
        model: The model's name.
        version: The version.
        now: Seconds since 1970.
        since: The first hour to read.
    """
    hours: dict[int, Counts] = {}
    days: dict[int, Cells] = {}
    present = int(now // HOUR)
    damaged = 0
    for window, counts in store.windows(model, version, since=since):
        if window.hour > present + 1 or len(counts.cells) != reference.layout.size:
            damaged += 1
            continue
        day = window.hour // HOURS
        days[day] = days[day] + counts.cells if day in days else counts.cells
        if not window.sources:
            known = hours.get(window.hour)
            hours[window.hour] = counts if known is None else known.merged(counts)
    ordered = dict(sorted(hours.items()))
    return History(reference, ordered, present, damaged + len(store.damaged), days)


class VersionSpan(NamedTuple):
    """When a version was served.

    Attributes:
        version: Its first twelve letters.
        first: The first day since 1970;
        last: and the last.
    """

    version: str
    first: int
    last: int


def version_spans(store: WindowStore, model: str) -> tuple[VersionSpan, ...]:
    """When each version of a model was served, by the first day."""
    found = []
    for folder in store.folder.glob(f"{model}/*"):
        hours = [
            hour_of(file) for file in folder.glob("*-*") if file.suffix in (SUFFIX, DAY_SUFFIX)
        ]
        known = [hour // HOURS for hour in hours if hour >= 0]
        if known:
            found.append(VersionSpan(folder.name, min(known), max(known)))
    return tuple(sorted(found, key=lambda span: (span.first, span.last, span.version)))


def reference_days(reference: Reference) -> dict[int, Cells]:
    """Days since 1970 -> the training table's counts."""
    return {
        (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days: cells
        for day, cells in reference.day_cells.items()
    }


def moment(hour: int) -> datetime.datetime:
    """The beginning of an hour."""
    return datetime.datetime.fromtimestamp(hour * HOUR, datetime.UTC)


def weekdays(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for Monday to 6, of days since 1970 (a Thursday)."""
    return (days + 3) % 7
