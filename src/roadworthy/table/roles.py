"""Which columns decide the split: groups that stay together, or time; and the split itself."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Task
from roadworthy.errors import InputError
from roadworthy.project import DataSection
from roadworthy.table.kinds import Typed
from roadworthy.table.split import Split, split_rows

_BIRTH = re.compile(r"birth|born|(^|[^a-z])dob($|[^a-z])", re.I)
"""Dates that say nothing of when a row came about."""
_FEW_MOMENTS = 5


class Roles(NamedTuple):
    """How a table is split.

    Attributes:
        split: The split.
        group: The column whose groups stay together, or None.
        time: The column that orders the rows in time, or None.
        groups: Group code of each row.
        times: A number of each row that grows with time.
        notes: What was decided, for people.
    """

    split: Split
    group: str | None
    time: str | None
    groups: NDArray[np.int64] | None
    times: NDArray[np.float64] | None
    notes: tuple[str, ...]


def choose_split(
    typed: dict[str, Typed],
    labels: NDArray[np.float64],
    task: Task,
    options: DataSection,
    seed: int,
) -> Roles:
    """Split a table as the project says, or as its columns suggest.

    A model must predict rows that come after those it learned from. So when the table has a date
    and the project does not say otherwise, the newest rows are the holdout: on real tables a
    random split flatters (a flights table: area .766 instead of .601).

    Args:
        typed: The columns without the target.
        labels: The target.
        task: The task.
        options: `[data]`.
        seed: Seed of a random split.

    Raises:
        InputError: The options contradict each other or the table.
    """
    _check(options)
    time = options.time
    found = None
    if options.split in ("auto", "time") and time is None and options.group is None:
        found = next((name for name, cells in typed.items() if _orders(name, cells)), None)
        if options.split == "time" and found is None:
            raise InputError(
                "no date column can order the rows in time",
                where="[data] split = 'time'",
                fix="name a column of dates or numbers: [data] time",
            )
    group = options.group
    groups = _codes(typed[group].series) if group else None
    strata = None if task == "regression" else labels.astype(np.int64)
    rows, share = len(labels), options.holdout
    if found is not None:
        times = _times(typed, found)
        split = split_rows(rows, share, seed, times=times)
        lost = task != "regression" and _loses_a_class(labels, split)
        if options.split == "time" or not lost:
            return Roles(split, None, found, None, times, (_time_note(found),))
        note = (
            f"column {found!r} is a date, but the newest rows have classes that the older ones "
            "lack: the split is random, and a model that must predict the future may score worse"
        )
        return Roles(split_rows(rows, share, seed, strata=strata), None, None, None, None, (note,))
    given = _times(typed, time) if time else None
    split = split_rows(rows, share, seed, strata=strata, groups=groups, times=given)
    return Roles(split, group, time, groups, given, ())


def _time_note(column: str) -> str:
    return (
        f"column {column!r} is a date, so the newest rows are held out, as a model that predicts "
        "the future is used; [data] split = 'random' (--split random) holds out rows at random"
    )


def _check(options: DataSection) -> None:
    if options.group and options.time:
        raise InputError(
            "group and time cannot both decide the holdout: the newest rows tear groups apart",
            where="[data] group, time",
            fix="name one of them",
        )
    if options.split == "group" and not options.group:
        raise InputError("split = 'group' needs a group column", where="[data] group")
    contradicting = {"random": ("group", "time"), "group": ("time",), "time": ("group",)}
    for key in contradicting.get(options.split, ()):
        if getattr(options, key):
            raise InputError(
                f"split = {options.split!r} and {key} = {getattr(options, key)!r} contradict "
                "each other",
                where="[data] split",
                fix="leave one of them out",
            )


def _orders(name: str, cells: Typed) -> bool:
    """Whether a column of dates can order all rows."""
    return (
        cells.kind == "date"
        and not cells.series.null_count()
        and cells.series.n_unique() >= _FEW_MOMENTS
        and _BIRTH.search(name) is None
    )


def _loses_a_class(labels: NDArray[np.float64], split: Split) -> bool:
    known = np.unique(labels[split.train])
    return len(known) < len(np.unique(labels)) or len(np.unique(labels[split.holdout])) < 2


def _codes(series: pl.Series) -> NDArray[np.int64]:
    return series.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)


def _times(typed: dict[str, Typed], column: str) -> NDArray[np.float64]:
    cells = typed[column]
    if cells.series.dtype.is_temporal():
        micros = cells.series.cast(pl.Int64)
        return micros.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if cells.series.dtype.is_numeric():
        return cells.series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    raise InputError(
        f"the time column holds neither dates nor numbers but {cells.kind}",
        where=f"[data] time = {column!r}",
    )
