"""Whether training and holdout rows are of one kind: a domain classifier and each column.

After Rabanser, Günnemann and Lipton 2019 ("Failing loudly", NeurIPS): a classifier that can tell
the parts apart, and tests of single columns with Bonferroni's correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.guard.checks._base import FOLDS, Case, Finding, fold_rows
from roadworthy.guard.codes import Coded, code_column, rank_correlation
from roadworthy.guard.model import cross_fit

_CHANCE = 0.003
"""False alarms allowed to each of the two tests."""
_AREA = 0.55
_WIDER = 1.5
_EFFECT = 0.1
_CLOCK = 0.9
_LEVELS = 12
_LEAST = 10
_MIN_ROWS = 30
_SHOWN = 5
_INTERVAL = 1.96


class Telling(NamedTuple):
    """A column that is distributed differently in the parts, and Cramér's V of the difference."""

    column: str
    effect: float


class Shift:
    """Training rows and held-out rows that can be told apart."""

    name = "shift"

    def find(self, case: Case) -> Iterator[Finding]:
        """See `Check.find`."""
        if case.table.split is None:
            return
        train, held = case.model_rows(case.training_rows), case.model_rows(case.holdout_rows)
        if min(len(train), len(held)) < _MIN_ROWS:
            return
        rows = np.concatenate([train, held])
        part = np.concatenate([np.zeros(len(train)), np.ones(len(held))])
        clocks = self._clocks(case)
        names = [name for name in case.model_names if name not in clocks]
        if not names:
            return
        area = self._classifier(case, rows, part, names)
        bar = 0.5 + NormalDist().inv_cdf(1 - _CHANCE) * _null_error(len(train), len(held))
        # Whole groups differ by nature: only a model that was asked about other groups says more.
        telling = [] if case.table.groups is not None else self._columns(case, rows, names, part)
        if area > max(_AREA, bar) or telling:
            yield self._finding(case, area, len(train), len(held), telling)

    def _folds(self, case: Case, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Folds that keep groups whole; time is no matter here, it is what is asked about."""
        if case.table.groups is not None:
            return fold_rows(case.table.take(rows), case.seed)
        return np.random.default_rng(case.seed).permutation(len(rows)) % FOLDS

    def _clocks(self, case: Case) -> set[str]:
        """Columns that differ by what a split by time is."""
        if case.table.times is None:
            return set()
        dates = {profile.name for profile in case.used if profile.kind == "date"}
        times = case.training.times
        assert times is not None
        for profile in case.used:
            if profile.kind == "number":
                values = case.training.frame[profile.name].cast(pl.Float64).fill_null(0).to_numpy()
                if abs(rank_correlation(times, values)) > _CLOCK:
                    dates.add(profile.name)
        return dates

    def _classifier(
        self, case: Case, rows: NDArray[np.int64], part: NDArray[np.float64], names: list[str]
    ) -> float:
        from sklearn.metrics import roc_auc_score

        matrix = case.numbers(rows, names)
        answers = cross_fit(matrix, part, 2, self._folds(case, rows), case.seed)
        return float(roc_auc_score(part, answers[:, 1]))

    def _columns(
        self,
        case: Case,
        rows: NDArray[np.int64],
        names: list[str],
        part: NDArray[np.float64],
    ) -> list[Telling]:
        frame = case.table.frame.select(names)[rows]
        held = part.astype(np.int64)
        telling = []
        for name in names:
            chance, effect = _difference(code_column(frame[name]), held)
            if chance < _CHANCE / len(names) and effect > _EFFECT:
                telling.append(Telling(name, round(effect, 4)))
        return sorted(telling, key=lambda column: -column.effect)

    def _finding(
        self, case: Case, area: float, train: int, held: int, telling: list[Telling]
    ) -> Finding:
        assert case.table.split is not None
        timed = case.table.times is not None
        width = _INTERVAL * _area_error(area, held, train)
        named = ", ".join(repr(column.column) for column in telling[:_SHOWN])
        by = f", and {named} differ most" if named else ""
        why = (
            "the future differs from the past"
            if timed
            else f"the split ({case.table.split.policy}) should have made them alike"
        )
        fix = (
            "expect the score to fall further with time: retrain often and watch drift; a column "
            "whose meaning changed can go: [data] drop = [...]"
            if timed
            else "look for copies, sorted or grouped rows; keep what belongs together on one side: "
            '[data] group = "COLUMN" or [data] time = "COLUMN"'
        )
        return Finding(
            check=self.name,
            severity="warning",
            columns=tuple(column.column for column in telling[:_SHOWN]),
            what=f"held-out rows are not like training rows (a model tells them apart with AUC "
            f"{area:.3f}{by}): {why}",
            evidence={
                "auc": round(area, 4),
                "low": round(max(0.0, area - width), 4),
                "high": round(min(1.0, area + width), 4),
                "columns": {column.column: column.effect for column in telling},
                "training_rows": train,
                "holdout_rows": held,
            },
            fix=fix,
        )


def _difference(coded: Coded, held: NDArray[np.int64]) -> tuple[float, float]:
    """Chance of such a difference between the parts (chi-square), and its size (Cramér's V)."""
    from scipy.stats import chi2

    counts = np.bincount(coded.codes, minlength=coded.bins)
    if np.count_nonzero(counts) > _LEVELS:  # stretches of neighbouring bins, as even as they go
        merged = (np.cumsum(counts) - counts) * _LEVELS // len(held)
    else:
        merged = np.arange(coded.bins)
    table = np.zeros((int(merged.max()) + 1, 2))
    np.add.at(table, (merged[coded.codes], held), 1)
    table = table[table.sum(axis=1) > 0]
    rare = table.sum(axis=1) * min(held.mean(), 1 - held.mean()) < _LEAST
    table = np.vstack([table[~rare], table[rare].sum(axis=0)]) if rare.any() else table
    table = table[table.sum(axis=1) > 0]
    if len(table) < 2:
        return 1.0, 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(held)
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(chi2.sf(statistic, len(table) - 1)), math.sqrt(statistic / len(held))


def _null_error(first: int, second: int) -> float:
    """Standard error of a cross-fitted area when there is nothing to tell.

    Mann-Whitney's, times what models that share most of their rows scatter more than that.
    """
    return _WIDER * math.sqrt((first + second + 1) / (12 * first * second))


def _area_error(area: float, positive: int, negative: int) -> float:
    """Standard error of an area (Hanley and McNeil 1982, Radiology 143)."""
    above, below = area / (2 - area), 2 * area**2 / (1 + area)
    square = area**2
    spread = (
        area * (1 - area) + (positive - 1) * (above - square) + (negative - 1) * (below - square)
    )
    return math.sqrt(max(0.0, spread) / (positive * negative))
