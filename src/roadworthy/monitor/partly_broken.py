"""Breaks that touch a part of the rows, or leave one value or level over.

They need more rows than a break of everything: a thousand, or a week's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

import numpy as np

from roadworthy.monitor.chance import surprise
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.history import History, moment
from roadworthy.monitor.units import changed_unit
from roadworthy.observe.counts import Cells
from roadworthy.observe.layout import Block, ColumnBins

_ROWS, _WEEK = 1000, 7 * 24
_LEAST = 200
_CHANCE = 1e-7
_OUTSIDE = 0.05
_ALONE, _USUALLY = 0.99, 0.8
_EXCESS = 0.2
"""Share of rows that one value takes beyond what its bin held, from which it stands out."""
_RARE_REPEATS, _MORE_REPEATS = 0.1, 0.04


def partly_broken(history: History, known: Collection[str]) -> list[Finding]:
    """What is broken in a part of the newest rows.

    Args:
        history: What was counted.
        known: Columns of which something worse is known already.
    """
    found = history.recent(_ROWS, _WEEK)
    if found is None or found[0].cells[0] < _LEAST:
        return []
    now, since = found[0].cells, moment(found[1])
    before, layout = history.reference.cells, history.reference.layout
    findings: list[Finding] = []
    repeated: list[Finding] = []
    for column, block in zip(layout.columns, layout.blocks, strict=True):
        if column.clock or column.name in known:
            continue
        findings += _other_unit(column, block, before, now, since)
        findings += _one_level(column, block, before, now, since)
        repeated += _one_value(column, block, before, now, since)
    # rows of one caller after another repeat many columns; a filler repeats one
    return findings + (repeated if 3 * len(repeated) <= len(layout.columns) else [])


def _other_unit(
    column: ColumnBins, block: Block, before: Cells, now: Cells, since: datetime
) -> Iterator[Finding]:
    """What lies beyond the range is the whole column in another unit."""
    first, last = column.inner
    if column.shape != "number" or not last:
        return
    outer = now.copy()
    outer[block.start + first : block.start + last] = 0
    rows, count = int(now[block.filled].sum()), int(outer[block.filled].sum())
    if not rows or count / rows < _OUTSIDE or count == rows:
        return
    unit = changed_unit(column, block, before, outer)
    if unit is not None:
        yield Finding(
            "unit_change",
            "serious",
            column.name,
            f"{count / rows:.0%} of {column.name!r} look {unit.words}, the others do not",
            {"share": count / rows, "slope": unit.slope, "offset": unit.offset, "rows": rows},
            since,
            "find the source that sends the other unit; do not retrain on it",
        )


def _one_level(
    column: ColumnBins, block: Block, before: Cells, now: Cells, since: datetime
) -> Iterator[Finding]:
    if column.shape != "level":
        return
    old, new = before[block.filled], now[block.filled]
    rows, place = int(new.sum()), int(new.argmax())
    usual = float(old[place] / max(1, old.sum()))
    if (
        rows < _LEAST
        or new[place] < _ALONE * rows
        or usual > _USUALLY
        or place >= len(column.levels)
    ):
        return
    yield Finding(
        "stuck",
        "warning",
        column.name,
        f"{column.name!r} is {column.levels[place]!r} in {new[place] / rows:.0%} of rows; in "
        f"training it was in {usual:.0%}",
        {"share": float(new[place] / rows), "usual": usual, "rows": rows},
        since,
        "look whether the column is filled with a default at its source",
    )


def _one_value(
    column: ColumnBins, block: Block, before: Cells, now: Cells, since: datetime
) -> Iterator[Finding]:
    """Neighbours are equal more often than by chance, and one bin holds what is too many."""
    pairs, repeats = int(now[block.pairs]), int(now[block.repeats])
    usual = float(before[block.repeats] / max(1, before[block.pairs]))
    if column.shape != "number" or pairs < _LEAST or usual > _RARE_REPEATS:
        return
    if repeats / pairs < usual + _MORE_REPEATS or surprise(repeats, pairs, usual) >= _CHANCE:
        return
    old = before[block.filled] / max(1, before[block.filled].sum())
    new = now[block.filled] / max(1, now[block.filled].sum())
    excess = float(np.max((new - old) / np.maximum(1.0 - old, 1e-9)))
    if excess >= _EXCESS:
        yield Finding(
            "stuck",
            "warning",
            column.name,
            f"one value of {column.name!r} stands in about {excess:.0%} of rows that held others "
            "in training",
            {"share": excess, "repeats": repeats / pairs, "usual": usual, "pairs": pairs},
            since,
            "look whether a sensor stands still or a default is filled in at times",
        )
