"""The target itself: classes written in two ways, single values that rule a regression."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from roadworthy.guard.checks._base import Case, Finding, quoted

_HEAVY = 0.5
_MIN_ROWS = 30
_SHOWN = 5


class Target:
    """Faults of the target column."""

    name = "target"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        if case.table.classes:
            yield from self._spellings(case)
        else:
            yield from self._outliers(case)
        if case.table.groups is not None:
            yield from self._groups(case)

    def _spellings(self, case: Case) -> Iterator[Finding]:
        alike: dict[str, list[str]] = {}
        for name in case.table.classes:
            if isinstance(name, str):
                plain = re.sub(r"[\s_\-]+", " ", name).strip(" .").casefold()
                alike.setdefault(plain, []).append(name)
        pairs = [names for names in alike.values() if len(names) > 1]
        if not pairs:
            return
        listed = "; ".join(" and ".join(map(repr, names)) for names in pairs[:_SHOWN])
        yield Finding(
            check=self.name,
            severity="warning",
            columns=(case.table.target,),
            what=f"classes differ only in case, spaces or punctuation: {listed}",
            evidence={"classes": pairs, "count": len(case.table.classes)},
            fix="write each class in one way in the table, or acknowledge that they differ: "
            f"[guard] acknowledge = [{quoted(f'{self.name}:{case.table.target}')}]",
        )

    def _outliers(self, case: Case) -> Iterator[Finding]:
        labels = case.table.training.labels
        if len(labels) < _MIN_ROWS:
            return
        top = float(np.abs(labels).max()) or 1.0
        centred = labels / top - np.median(labels / top)
        squares = centred**2
        total = float(squares.sum())
        row = int(squares.argmax())
        share = float(squares[row]) / total if total > 0 else 0.0
        if share < _HEAVY:
            return
        position = row if case.table.split is None else int(case.table.split.train[row])
        yield Finding(
            check=self.name,
            severity="warning",
            columns=(case.table.target,),
            what=f"one value, {labels[row]:,.6g} in row {position}, carries {share:.0%} of the "
            "target's variance: squared errors are about this row alone",
            evidence={
                "row": position,
                "value": float(labels[row]),
                "share": round(share, 4),
                "median": float(np.median(labels)),
                "training_rows": len(labels),
            },
            fix='correct or drop the row, or go by absolute errors: [train] metric = "mae"',
        )

    def _groups(self, case: Case) -> Iterator[Finding]:
        training = case.table.training
        assert training.groups is not None
        order = np.lexsort((training.labels, training.groups))
        groups, labels = training.groups[order], training.labels[order]
        same = groups[1:] == groups[:-1]
        repeated = len(np.unique(groups[1:][same]))
        if repeated < _SHOWN or (same & (labels[1:] != labels[:-1])).any():
            return
        count = len(np.unique(groups))
        yield Finding(
            check=self.name,
            severity="note",
            columns=(case.table.target,),
            what=f"the target is the same in all rows of a group: {len(labels):,} rows are "
            f"{count:,} observations",
            evidence={"groups": count, "rows": len(labels), "groups_of_several_rows": repeated},
            fix="read intervals as those of so many groups, or keep one row a group",
        )
