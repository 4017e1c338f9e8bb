"""What days are compared with: the training table, or days of serving chosen with their season.

`last-week` takes the seven days before a day, `weekday` the same weekday of the four weeks before,
`DATE..DATE` these days. A season that every year brings moves away from the training table slowly
and from last week hardly; how far a day usually lies from the days before it is learned from the
days, as everything is.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.monitor.history import History, reference_days
from roadworthy.monitor.measures import Measured
from roadworthy.observe.counts import Cells
from roadworthy.observe.reference import write_cells
from roadworthy.project.monitor import read_dates

TRAINING = "training"
_LAGS = {"last-week": tuple(range(1, 8)), "weekday": (7, 14, 21, 28)}
_LEAST = {"last-week": 4, "weekday": 2}
"""Days before that must be known."""


def compared(history: History, against: str) -> History | None:
    """A history beside the days that its newest day is compared with; None where there are none.

    Args:
        history: What was counted.
        against: `training`, `last-week`, `weekday` or `DATE..DATE`.
    """
    if against == TRAINING:
        return history
    reference = history.reference
    days = reference_days(reference) | history.complete_days()
    newest = max(history.complete_days() or history.days, default=None)
    if newest is None:
        return None
    chosen = [day for day in days_against(against, newest) if day in days and days[day][0]]
    if len(chosen) < _LEAST.get(against, 1):
        return None
    total: Cells = np.sum([days[day] for day in chosen], axis=0)
    if not reference.layout.pair_tables(total).any():  # days of a bundle are kept without pairs
        reference.layout.pair_tables(total)[:] = reference.layout.pair_tables(reference.cells)
    kept = {_iso(day): write_cells(days[day]) for day in chosen} if against not in _LAGS else None
    changed = msgspec.structs.replace(
        reference, total=write_cells(total), days=reference.days if kept is None else kept
    )
    return dataclasses.replace(history, reference=changed)


def in_words(against: str) -> str:
    """What is compared with, for messages."""
    words = {
        TRAINING: "in training",
        "last-week": "in the seven days before",
        "weekday": "on this weekday of the four weeks before",
    }
    return words.get(against, f"from {against.replace('..', ' to ')}")


def lagged(days: NDArray[np.int64], measured: Measured, against: str) -> Measured:
    """Each day's measures less those of the days that it is compared with.

    Args:
        days: Days since 1970 `[D]`.
        measured: Their measures.
        against: What they are compared with; the measures stay as they are but for `last-week` and
            `weekday`.
    """
    if against not in _LAGS:
        return measured
    place = {int(day): number for number, day in enumerate(days)}
    values = np.full_like(measured.values, np.nan)
    variances = measured.variances.copy()
    for number, day in enumerate(days):
        before = [place[day - lag] for lag in _LAGS[against] if day - lag in place]
        if len(before) >= _LEAST[against]:
            values[number] = measured.values[number] - measured.values[before].mean(axis=0)
            variances[number] += measured.variances[before].mean(axis=0) / len(before)
    return Measured(measured.measures, values, variances)


def days_against(against: str, newest: int) -> Iterable[int]:
    """The days since 1970 that the newest one is compared with; not for `training`."""
    if against in _LAGS:
        return [newest - lag for lag in _LAGS[against]]
    first, last = read_dates(against)
    return [day for day in range(_number(first), _number(last) + 1) if day != newest]


def _number(day: datetime.date) -> int:
    return (day - datetime.date(1970, 1, 1)).days


def _iso(day: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
