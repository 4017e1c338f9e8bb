"""Columns that name or number the rows, used as features all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from roadworthy.guard.checks._base import Case, Finding, drop_line, quoted
from roadworthy.guard.codes import rank_correlation
from roadworthy.table import ColumnProfile

_UNIQUE = 0.95
_MIN_ROWS = 50
_ROWS_A_LEVEL = 3.0
_ORDERED = 0.995
_CROWDED = 1.5
_NAME = re.compile(
    r"(^|[_\-. ]|(?<=[a-z])(?=[A-Z]))(id|uuid|guid|key|index|rownames?|record|number|nr|no)$", re.I
)


class Identifiers:
    """Nearly unique integers or texts that the model gets."""

    name = "identifiers"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        for profile in case.used:
            series = case.training.frame[profile.name]
            if profile.kind == "number" and series.dtype == pl.Int64:
                yield from self._integers(profile, series, case)
            elif profile.kind == "category":
                yield from self._levels(profile, series, case)

    def _integers(self, profile: ColumnProfile, series: pl.Series, case: Case) -> Iterator[Finding]:
        known = np.flatnonzero(series.is_not_null().to_numpy())
        values = series.drop_nulls().to_numpy().astype(np.float64)
        distinct = len(np.unique(values))
        if distinct < _MIN_ROWS or distinct < _UNIQUE * len(values):
            return
        # Of all the table's integers in the range, which share occurs: a counter uses them up.
        crowded = values.max() - values.min() + 1 <= _CROWDED * profile.distinct
        named = _NAME.search(profile.name) is not None
        order = rank_correlation(known.astype(np.float64), values)
        signs = [
            *(["its numbers leave few gaps, as a counter's do"] if crowded else []),
            *(["it is named like a key"] if named else []),
            *(["it grows with the row order"] if abs(order) >= _ORDERED else []),
        ]
        if not (crowded or named):
            return
        labels = case.training.labels[known]
        told = rank_correlation(values, labels) if len(case.table.classes) <= 2 else 0.0
        tells = abs(told) >= 0.2
        also = f"; its order goes with the target's (rank correlation {told:.2f})" if tells else ""
        yield self._finding(
            profile,
            f"column {profile.name!r} has a different number in nearly every row and "
            f"{' and '.join(signs)}{also}: it looks like an identifier",
            {
                "distinct": distinct,
                "known": len(values),
                "row_order": round(order, 4),
                "target_order": round(told, 4),
                **case.sample,
            },
        )

    def _levels(self, profile: ColumnProfile, series: pl.Series, case: Case) -> Iterator[Finding]:
        known = len(case.table.frame[profile.name]) - profile.blanks
        rows_a_level = known / max(1, profile.distinct)
        if profile.distinct < _MIN_ROWS or rows_a_level > _ROWS_A_LEVEL:
            return
        yield self._finding(
            profile,
            f"column {profile.name!r} has {profile.distinct:,} levels in {known:,} rows: it names "
            "rows more than it groups them, and new rows will bring unseen levels",
            {"distinct": profile.distinct, "known": known, "rows_a_level": round(rows_a_level, 2)},
        )

    def _finding(self, profile: ColumnProfile, what: str, evidence: dict[str, object]) -> Finding:
        return Finding(
            check=self.name,
            severity="warning",
            columns=(profile.name,),
            what=what,
            evidence=evidence,
            fix=f"{drop_line(profile.name)}, or say that it is none: "
            f"[guard] acknowledge = [{quoted(f'{self.name}:{profile.name}')}]",
        )
