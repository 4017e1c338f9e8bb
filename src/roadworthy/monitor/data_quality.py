"""Breaks of the data, told apart from drift: what no model can mend, and no retraining should.

Each rule asks for an effect that matters and for evidence that chance does not give, so that a few
hundred rows are enough and a usual window is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np

from roadworthy.monitor.chance import surprise
from roadworthy.monitor.findings import Finding, Kind, Severity
from roadworthy.monitor.history import History, moment
from roadworthy.monitor.partly_broken import partly_broken
from roadworthy.monitor.units import changed_unit
from roadworthy.observe.counts import Cells, Counts
from roadworthy.observe.effect import inside_bins, stability_index
from roadworthy.observe.layout import Block, ColumnBins
from roadworthy.observe.reference import Reference

ROWS = 200
"""Rows that are looked at: the newest hours that hold so many."""
_CHANCE = 1e-7
_BLANK = 0.1
_UNSEEN = 0.02
_OUTSIDE = 0.05
_INSIDE = 0.1
"""Population stability index of what lies inside the range, from which the whole column moved."""
_REFUSED = 0.05
_MIN_REFUSED = 10
_RENAMED = 0.05
_REPEATS = 0.95
_MIN_PAIRS = 50
_USUAL_REPEATS = 0.7
_DUPLICATES = 0.2


def broken_data(history: History) -> list[Finding]:
    """What is broken in the newest rows.

    Args:
        history: What was counted.
    """
    found = history.recent(ROWS)
    if found is None:
        return []
    counts, hour = found
    reference = history.reference
    findings: list[Finding] = []
    for place, column in enumerate(reference.columns):
        block = reference.layout.blocks[place]
        rule = _Rule(history, column, block, counts.cells, moment(hour))
        findings += rule.findings()
    stuck = [finding for finding in findings if finding.kind == "stuck"]
    repeated = _duplicates(reference, counts, moment(hour))
    if repeated is not None:  # whole rows come again: that their columns do is no further news
        findings = [finding for finding in findings if finding not in stuck]
        findings.append(repeated)
        return findings
    partly = partly_broken(history, {each.subject for each in findings if each.kind != "range"})
    explained = {each.subject for each in partly}  # another unit in a part lies out of range, too
    kept = [each for each in findings if each.kind != "range" or each.subject not in explained]
    return kept + partly


class _Rule:
    """The rules of one column."""

    def __init__(
        self, history: History, column: ColumnBins, block: Block, now: Cells, since: datetime
    ) -> None:
        self.history = history
        self.column, self.block, self.now, self.since = column, block, now, since
        self.before = history.reference.cells
        self.rows = int(now[block.start : block.blank + 1].sum())
        self.filled = self.rows - int(now[block.blank])

    def findings(self) -> Iterator[Finding]:
        """What is broken in the column; what explains something else comes instead of it."""
        yield from self._refused()
        if not self.rows:
            return
        yield from self._blank()
        if not self.filled:
            return
        renamed = list(self._renamed())
        yield from renamed or self._unseen()
        stuck = list(self._stuck())
        unit = [] if stuck else list(self._unit())  # one value over and over fits any unit
        yield from unit or self._outside()
        yield from stuck

    def _refused(self) -> Iterator[Finding]:
        refused = int(self.now[self.block.refused])
        share = refused / max(1, refused + self.rows)
        if refused >= _MIN_REFUSED and share >= _REFUSED:
            yield self._finding(
                "type_change",
                f"{share:.0%} of requests are refused for {self.column.name!r}: it is absent or of "
                "another type than in training",
                {"refused": refused, "share": share, "rows": self.rows},
                "send the column as the contract says (GET /contract), or train on what it is now",
            )

    def _blank(self) -> Iterator[Finding]:
        old = _share(self.before, self.block, self.before[self.block.blank])
        count = int(self.now[self.block.blank])
        share = count / self.rows
        usual = max([old, *self._usual_days(lambda cells: int(cells[self.block.blank]))])
        if share >= usual + _BLANK and surprise(count, self.rows, usual) < _CHANCE:
            what = "is blank in every row" if count == self.rows else f"is blank in {share:.0%}"
            tail = "" if count == self.rows else " of rows"
            yield self._finding(
                "blank_rate",
                f"{self.column.name!r} {what}{tail}; in training it was in {old:.1%}",
                {"share": share, "usual": old, "rows": self.rows},
                "find out at its source why the column is not filled; do not retrain on it",
            )

    def _unseen(self) -> Iterator[Finding]:
        count = int(self.now[self.block.unseen])
        old = _share(self.before, self.block, self.before[self.block.unseen])
        share = count / self.filled
        usual = max([old, *self._usual_days(lambda cells: int(cells[self.block.unseen]))])
        if share >= usual + _UNSEEN and surprise(count, self.filled, usual) < _CHANCE:
            yield self._finding(
                "unseen",
                f"{share:.1%} of {self.column.name!r} are levels that training never saw",
                {"share": share, "usual": usual, "rows": self.filled},
                "compare the levels with the contract's: a new code, spelling or source; retrain "
                "only when the levels are meant to be there",
            )

    def _renamed(self) -> Iterator[Finding]:
        """A level is gone, and about as many unseen ones have come."""
        if self.column.shape != "level":
            return
        old = self.before[self.block.filled].astype(np.float64)
        new = self.now[self.block.filled]
        shares = old / max(1.0, old.sum())
        unseen = int(self.now[self.block.unseen]) / self.filled
        for place, level in enumerate(self.column.levels):
            gone = new[place] <= 0.1 * shares[place] * self.filled
            chance = surprise(self.filled - int(new[place]), self.filled, 1 - shares[place])
            if (
                shares[place] >= _RENAMED
                and gone
                and chance < 1e-4
                and 0.5 * shares[place] <= unseen <= 2.0 * shares[place]
            ):
                yield self._finding(
                    "renamed_category",
                    f"level {level!r} of {self.column.name!r} is gone, and as many levels have "
                    "come that training never saw: it seems to have a new name",
                    {"level": level, "share_before": float(shares[place]), "unseen": unseen},
                    "send the old name, or map the new one to it before the model",
                )

    def _unit(self) -> Iterator[Finding]:
        unit = changed_unit(self.column, self.block, self.before, self.now)
        if unit is not None:
            yield self._finding(
                "unit_change",
                f"{self.column.name!r} looks {unit.words}",
                {
                    "slope": unit.slope, "offset": unit.offset, "distance": unit.distance,
                    "distance_converted": unit.left, "rows": self.filled,
                },
                "bring the column back to the unit of the training table; do not retrain on it",
            )  # fmt: skip

    def _outside(self) -> Iterator[Finding]:
        first, last = self.column.inner
        if self.column.clock or not last:
            return

        def outside(cells: Cells) -> int:
            bins = cells[self.block.filled]
            return int(bins[:first].sum() + bins[last:].sum())

        count = outside(self.now)
        old = _share(self.before, self.block, outside(self.before))
        usual = max([old, *self._usual_days(outside)])
        share = count / self.filled
        old_inside, new_inside = (
            inside_bins(self.column, self.block, cells)[1:-1] for cells in (self.before, self.now)
        )
        if stability_index(old_inside, new_inside) >= _INSIDE:
            return  # the whole column moved, and some of it across the border: that is drift
        if share >= usual + _OUTSIDE and surprise(count, self.filled, usual) < _CHANCE:
            yield self._finding(
                "range",
                f"{share:.1%} of {self.column.name!r} lie outside the range of training",
                {"share": share, "usual": usual, "rows": self.filled},
                "check the column at its source: a default such as 9999, a unit, a new population",
            )

    def _stuck(self) -> Iterator[Finding]:
        pairs, repeats = int(self.now[self.block.pairs]), int(self.now[self.block.repeats])
        usual = self.before[self.block.repeats] / max(1, self.before[self.block.pairs])
        if (
            pairs >= _MIN_PAIRS
            and repeats >= _REPEATS * pairs
            and usual <= _USUAL_REPEATS
            and not self.column.clock
        ):
            yield self._finding(
                "stuck",
                f"{self.column.name!r} hardly changes from row to row: {repeats / pairs:.0%} of "
                "cells are as the one before",
                {"repeats": repeats / pairs, "usual": float(usual), "pairs": pairs},
                "look at the sensor or the job that fills the column: it repeats its last value",
            )

    def _usual_days(self, count: Callable[[Cells], int]) -> list[float]:
        """Shares on the reference's own days: their 95 % quantile, when there are days."""
        days = [cells for cells in self.history.reference.day_cells.values() if cells[0]]
        shares = [_share(cells, self.block, count(cells)) for cells in days]
        return [float(np.quantile(shares, 0.95))] if shares else []

    def _finding(
        self, kind: Kind, what: str, evidence: dict[str, float | int | str], fix: str
    ) -> Finding:
        severity: Severity = "warning" if kind in ("range", "stuck") else "serious"
        return Finding(kind, severity, self.column.name, what, evidence, self.since, fix)


def _share(cells: Cells, block: Block, count: int | np.int64) -> float:
    rows = int(cells[block.start : block.blank + 1].sum())
    return int(count) / rows if rows else 0.0


def _duplicates(reference: Reference, counts: Counts, since: datetime) -> Finding | None:
    rows = int(counts.cells[0])
    if rows < ROWS:
        return None
    share = max(0.0, 1.0 - counts.distinct() / rows)
    usual = reference.duplicates(rows)
    if share < usual + _DUPLICATES:
        return None
    return Finding(
        "duplicates",
        "warning",
        "service",
        f"{share:.0%} of rows came before; among so many, {usual:.0%} are usual",
        {"share": share, "usual": usual, "rows": rows},
        since,
        "look for a client that sends again what was answered, or a job that runs twice",
    )
