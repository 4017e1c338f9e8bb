"""On which days a column was broken.

Where that is over, the rows of these days say nothing of model or world: labels for them still
come, and what is learned from them, or measured on them, is wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.evaluate.shift import contract_shift
from roadworthy.monitor.findings import Finding, Kind
from roadworthy.monitor.logged import MIN_ROWS, broken_column
from roadworthy.monitor.predictions import Predictions

_DAYS = 35
_UNLIKE = 3.0
"""How many times as large the population stability index is while a break lasts."""
_DAY = 86400


def healed_days(predictions: Predictions) -> tuple[NDArray[np.bool_], list[Finding]]:
    """Which rows are of days on which a column was broken, and is not any more.

    A break is taken for an accident that is over when it holds for one run of days, at most half of
    those that are looked at (the newest 35 with 50 rows), and not for the newest, and when the days
    after it are far less unlike training. What comes back every week, lasts, is still there, or is
    a world that moved is for other findings to tell.

    Args:
        predictions: Logged rows of a version, in the order of their time.

    Returns:
        The rows `[N]`, and one finding a column.
    """
    days = _Days(predictions)
    rows = np.zeros(len(predictions), dtype=bool)
    findings = []
    for column in predictions.contract.columns if len(days.judged) > 1 else ():
        parts = days.parts(column)
        told = [_break(part, column) for part in parts]
        place = _one_run(np.array([each is not None for each in told]))
        if place is None or not _is_over(parts, place, column, predictions.contract):
            continue
        first, last = (int(days.judged[end]) for end in (place[0], place[1] - 1))
        mine = (days.of_rows >= first) & (days.of_rows <= last)
        rows |= mine
        findings.append(_finding(column.name, told[place[0]] or "", first, last, int(mine.sum())))
    return rows, findings


def broken_since(predictions: Predictions, column: Column, kind: Kind) -> datetime | None:
    """The day from which a column is broken in one way every day until the newest.

    Args:
        predictions: Logged rows of a version, in the order of their time.
        column: The column.
        kind: The way.

    Returns:
        None when the newest day by itself does not show it.
    """
    days = _Days(predictions)
    since = None
    for day, part in zip(days.judged[::-1], days.parts(column)[::-1], strict=True):
        told = broken_column(part, column)
        if told is None or told[0] != kind:
            break
        since = datetime.fromtimestamp(int(day) * _DAY, UTC)
    return since


class _Days:
    """The newest days that hold enough rows to be judged by themselves."""

    def __init__(self, predictions: Predictions) -> None:
        self.of_rows = (predictions.times // _DAY).astype(np.int64)
        self._inputs = predictions.inputs
        known, starts, counts = np.unique(self.of_rows, return_index=True, return_counts=True)
        enough = np.flatnonzero(counts >= MIN_ROWS)[-_DAYS:]
        self.judged, self._starts, self._counts = known[enough], starts[enough], counts[enough]

    def parts(self, column: Column) -> list[pl.Series]:
        """The column's cells on each of them."""
        cells = self._inputs[column.name]
        return [
            cells[int(start) : int(start + count)]
            for start, count in zip(self._starts, self._counts, strict=True)
        ]


def _break(cells: pl.Series, column: Column) -> str | None:
    told = broken_column(cells, column)
    return told[2] if told is not None and told[1] == "serious" else None


def _one_run(broken: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Beginning and end of the only run of broken days, if it is short and over."""
    steps = np.flatnonzero(np.diff(broken, prepend=False, append=False))
    if len(steps) != 2 or steps[1] == len(broken) or 2 * (steps[1] - steps[0]) > len(broken):
        return None
    return int(steps[0]), int(steps[1])


def _is_over(
    parts: list[pl.Series], run: tuple[int, int], column: Column, contract: Contract
) -> bool:
    alone = msgspec.structs.replace(contract, columns=(column,))
    during, after = (
        contract_shift(pl.concat(days).to_frame(), alone).columns[0].psi
        for days in (parts[slice(*run)], parts[run[1] :])
    )
    return during > _UNLIKE * max(after, 0.0)


def _finding(column: str, what: str, first: int, last: int, rows: int) -> Finding:
    begin, end = (datetime.fromtimestamp(day * _DAY, UTC) for day in (first, last))
    when = f"on {begin:%Y-%m-%d}" if first == last else f"from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    return Finding(
        "healed",
        "info",
        column,
        f"{column!r} was broken {when} ({what}) and is well again: these {rows:,} rows are left "
        "out of quality, estimates and retraining",
        {"rows": rows, "days": last - first + 1},
        begin,
        "find out why it broke; predictions of these days may have to be made again",
    )
