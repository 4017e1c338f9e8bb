"""Columns that say nothing, say the same twice, or are not written in one way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.guard.checks._base import Case, Finding, drop_line
from roadworthy.guard.codes import Coded
from roadworthy.guard.units import mixed_units
from roadworthy.table import ColumnProfile

_NUMERIC = 0.9
_DISTINCT = 10
_EXAMPLES = 5
_AFFINE = 1e-9
_COPY_ROWS = 1_000


class Columns:
    """Faults of single columns, and columns that are copies of others."""

    name = "columns"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        for profile in case.table.profiles:
            if profile.used:
                yield from self._parts(profile, case)
                if profile.kind == "number":
                    yield from self._units(profile, case)
            if profile.kind in ("category", "identifier", "text"):
                yield from self._numbers_as_text(profile, case)
        yield from self._copies(case)

    def _parts(self, profile: ColumnProfile, case: Case) -> Iterator[Finding]:
        training = case.table.training.frame[profile.name]
        drop = drop_line(profile.name)
        parts = {"training": training}
        if case.table.split is not None:
            parts["held-out"] = case.table.holdout.frame[profile.name]
        for part, series in parts.items():
            if len(series) and series.null_count() == len(series):
                yield self._finding(
                    "warning",
                    (profile.name,),
                    f"column {profile.name!r} is blank in every one of the {part} rows",
                    {"part": part, "rows": len(series)},
                    f"find out where it stopped or began to be filled, or {drop}",
                )
                return
        if training.drop_nulls().n_unique() == 1 and not training.null_count():
            yield self._finding(
                "warning",
                (profile.name,),
                f"column {profile.name!r} has one value in all training rows: a model can learn "
                "nothing from it",
                {"training_rows": len(training), "distinct": profile.distinct},
                drop,
            )

    def _numbers_as_text(self, profile: ColumnProfile, case: Case) -> Iterator[Finding]:
        series = case.table.frame[profile.name]
        if series.dtype != pl.String or profile.why_not == "dropped by the project file":
            return
        head = series.drop_nulls().head(2_000)
        if head.cast(pl.Float64, strict=False).is_not_null().mean() < _NUMERIC:  # type: ignore[operator]
            return
        known = series.drop_nulls()
        numbers = known.cast(pl.Float64, strict=False)
        bad = known.filter(numbers.is_null())
        codes = known.head(2_000).str.contains(r"^0\d").any()
        few = numbers.n_unique() < _DISTINCT
        if not len(bad) or codes or few or len(bad) > (1 - _NUMERIC) * len(known):
            return
        examples = sorted(bad.unique().to_list(), key=lambda text: (len(text), text))[:_EXAMPLES]
        shown = ", ".join(repr(text[:40]) for text in examples)
        yield self._finding(
            "warning",
            (profile.name,),
            f"column {profile.name!r} is numbers but for {len(bad):,} of {len(known):,} cells, and "
            f"so it is taken for {profile.kind}: {shown}",
            {"bad_cells": len(bad), "cells": len(known), "examples": examples},
            f"correct these cells, or count them as blank: [data] blanks = "
            f'["", "na", …, "{examples[0][:40]}"]',
        )

    def _units(self, profile: ColumnProfile, case: Case) -> Iterator[Finding]:
        known = case.training.frame[profile.name].drop_nulls().cast(pl.Float64).to_numpy()
        mixed = mixed_units(known)
        if mixed is None:
            return
        yield self._finding(
            "note",
            (profile.name,),
            f"column {profile.name!r} falls into two lots that differ by a factor of "
            f"{mixed.factor:g} and look alike otherwise: it may be written in two units",
            {**mixed._asdict(), **case.sample},
            "bring the column to one unit in the table",
        )

    def _copies(self, case: Case) -> Iterator[Finding]:
        """Columns that say in every row what an earlier one says."""
        first: dict[bytes, str] = {}
        numbers = [p.name for p in case.used if p.kind in ("number", "date")]
        matrix = _standardised(case.numbers(case.training_rows, numbers))
        places = {name: place for place, name in enumerate(numbers)}
        for profile in case.used:
            place = places.get(profile.name)
            key = _levels_key(case.codes[profile.name]) if place is None else _key(matrix[:, place])
            original = first.setdefault(key, profile.name)
            if original == profile.name or not self._agree(case, original, profile.name):
                continue
            yield self._finding(
                "note",
                (profile.name, original),
                f"column {profile.name!r} says the same as {original!r} in every row, at most in "
                "other words or another unit",
                {"copy_of": original, **case.sample},
                f"{drop_line(profile.name)} saves callers a column",
            )

    def _agree(self, case: Case, one: str, other: str) -> bool:
        """Whether the columns agree in every training row that is looked at, not in a hash."""
        kinds = {p.name: p.kind in ("number", "date") for p in case.used}
        if kinds[one] != kinds[other]:
            return False
        if not kinds[one]:
            left, right = case.codes[one].codes, case.codes[other].codes
            pairs = len(np.unique(left * (right.max() + 1) + right))
            return pairs == len(np.unique(left)) == len(np.unique(right))
        pair = _standardised(case.numbers(case.training_rows, (one, other)))
        return bool(np.allclose(pair[:, 0], pair[:, 1], rtol=0, atol=1e-7, equal_nan=True))

    def _finding(
        self,
        severity: str,
        columns: tuple[str, ...],
        what: str,
        evidence: dict[str, object],
        fix: str,
    ) -> Finding:
        return Finding(
            check=self.name,
            severity=severity,  # type: ignore[arg-type]
            columns=columns,
            what=what,
            evidence=evidence,
            fix=fix,
        )


def _standardised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns without unit, origin and sign; a constant one is NaN throughout."""
    made = np.full(matrix.shape, np.nan)
    for place, column in enumerate(matrix.T):
        known = np.flatnonzero(~np.isnan(column))
        if not len(known):
            continue
        values = column[known]
        low, span = values.min() / 2, values.max() / 2 - values.min() / 2
        if span <= 0:
            continue
        scaled = (values / 2 - low) / span
        turned = 1 - scaled if scaled[0] > 0.5 else scaled  # the first row says which way is up
        made[known, place] = turned
    return made


def _key(column: NDArray[np.float64]) -> bytes:
    rounded = np.round(column[:_COPY_ROWS], 5)
    return np.where(np.isnan(rounded), -1.0, rounded + 0.0).tobytes()


def _levels_key(coded: Coded) -> bytes:
    """Levels by the order in which they first occur: the same for the same in other words."""
    codes = coded.codes[:_COPY_ROWS]
    _, first, member = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.where(codes == 0, -1, order[member]).tobytes()
