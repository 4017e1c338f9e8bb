"""Rows against rows: what can be told where no days are known yet.

Each column is tested for where its numbers lie (mean rank), for the shape of its distribution
(chi-squared over its bins) and for its blanks, corrected by Holm over everything that is tested.
Real rows of one day hang together, and such a test takes that for drift: it says so, and is only
used until there are days.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.evaluate.shift import homogeneity
from roadworthy.evaluate.worst import holm
from roadworthy.monitor.measures import PREDICTION
from roadworthy.observe.counts import Cells
from roadworthy.observe.effect import inside_bins, mean_rank, prediction_bins, stability_index
from roadworthy.observe.layout import GROUPS
from roadworthy.observe.reference import Reference

Floats = NDArray[np.float64]
LEVEL = 0.005
"""How likely any column is told of where nothing has changed."""
_EXPECTED = 10.0
"""Rows that a bin must expect for chi-squared to hold far out in its tail."""
_RAKING = 60
_MIN_ASSOCIATION = 0.1
"""Cramér's V of the difference below which a broken correlation is not told."""
_MIN_PAIR_ROWS = 300


class RowShift(NamedTuple):
    """What changed in a column.

    Attributes:
        subject: The column, or `prediction`.
        name: `shift`, `shape` or `blank`.
        p_value: Corrected for everything that was tested.
        size: How far: mean rank, population stability index, or share of blanks.
    """

    subject: str
    name: str
    p_value: float
    size: float


def compare_rows(reference: Reference, cells: Cells) -> list[RowShift]:
    """Test every column; all of them, changed or not, the surest change first.

    Args:
        reference: The training table.
        cells: Counts of the rows to test.
    """
    found: list[RowShift] = []
    layout, before = reference.layout, reference.cells
    for column, block in zip(layout.columns, layout.blocks, strict=True):
        old, new = inside_bins(column, block, before), inside_bins(column, block, cells)
        blanks = [np.array([its[block.filled].sum(), its[block.blank]]) for its in (before, cells)]
        found.append(
            RowShift(
                column.name, "blank", _two_counts(*blanks),
                float(cells[block.blank] / max(1, blanks[1].sum())),
            )
        )  # fmt: skip
        if not column.clock and column.shape != "none":
            found += _tests(column.name, old, new, ordered=column.shape != "level")
    old, new = prediction_bins(layout, before), prediction_bins(layout, cells)
    found += _tests(PREDICTION, old, new, ordered=True)
    if layout.classes:
        old, new = (layout.class_counts(its).astype(np.float64) for its in (before, cells))
        found += _tests(PREDICTION, old, new, ordered=False)
    corrected = holm([shift.p_value for shift in found])
    told = [shift._replace(p_value=p) for shift, p in zip(found, corrected, strict=True)]
    return sorted(told, key=lambda shift: shift.p_value)


def _tests(name: str, old: Floats, new: Floats, *, ordered: bool) -> list[RowShift]:
    found = []
    if ordered:
        found.append(RowShift(name, "shift", _rank_test(old, new), mean_rank(old, new)))
    shape = homogeneity(*_coarse(old, new))
    found.append(RowShift(name, "shape", shape, stability_index(old, new)))
    return found


def _coarse(old: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Neighbouring bins joined until each expects enough rows.

    It goes by the reference alone: what is joined must not hang on what is tested.
    """
    enough = _EXPECTED * old.sum() / max(float(new.sum()), 1.0)
    starts, held = [0], 0.0
    for place, count in enumerate(old[:-1]):
        held += count
        if held >= enough:
            starts.append(place + 1)
            held = 0.0
    if len(starts) > 1 and held + old[-1] < enough:
        starts.pop()
    return np.add.reduceat(old, starts), np.add.reduceat(new, starts)


def _two_counts(old: NDArray[np.int64], new: NDArray[np.int64]) -> float:
    """Whether two shares are the same: by Fisher's exact test where counts are small."""
    if min(old.min(), new.min()) >= 5:
        return homogeneity(old.astype(np.float64), new.astype(np.float64))
    if not old.sum() or not new.sum():
        return 1.0
    from scipy.special import betainc  # the tail of a binomial, without all of scipy.stats

    share = (old[1] + 0.5) / (old.sum() + 1.0)
    rows, count = int(new.sum()), int(new[1])
    above = float(betainc(count, rows - count + 1, share)) if count else 1.0
    below = float(betainc(rows - count, count + 1, 1 - share)) if count < rows else 1.0
    return min(1.0, 2 * min(above, below))


def _rank_test(old: Floats, new: Floats) -> float:
    """Wilcoxon's rank-sum test of binned numbers, ties accounted for."""
    from scipy.special import ndtr

    before, now = old.sum(), new.sum()
    if min(before, now) < 5:
        return 1.0
    both = old + new
    total = before + now
    ranks = (np.cumsum(both) - both / 2) / total
    middle = float(both @ ranks / total)
    variance = float(both @ (ranks - middle) ** 2 / total) * (1 / before + 1 / now)
    if variance <= 0:
        return 1.0
    score = float(new @ ranks / now - old @ ranks / before) / np.sqrt(variance)
    return float(2 * ndtr(-abs(score)))


class BrokenPair(NamedTuple):
    """Two columns that do not hang together as they did.

    Attributes:
        first: One.
        second: The other.
        p_value: Corrected for the number of pairs.
        before: Cramér's V in the training table.
        now: The same now.
        difference: Cramér's V of the difference, the columns' own drift taken off.
    """

    first: str
    second: str
    p_value: float
    before: float
    now: float
    difference: float


def broken_pairs(reference: Reference, cells: Cells) -> list[BrokenPair]:
    """Pairs of columns whose association changed, apart from any drift of either.

    The reference's table is raked to the present margins (iterative proportional fitting, Deming
    and Stephan 1940), and the rows are tested against it by chi-squared.

    Args:
        reference: The training table.
        cells: Counts of the rows to test.
    """
    from scipy.special import gammaincc

    from roadworthy.observe.reference import association

    layout = reference.layout
    old = layout.pair_tables(reference.cells)[:, : GROUPS - 1, : GROUPS - 1].astype(np.float64)
    new = layout.pair_tables(cells)[:, : GROUPS - 1, : GROUPS - 1].astype(np.float64)
    rows, before = new.sum(axis=(1, 2)), old.sum(axis=(1, 2))
    if not len(rows):
        return []
    expected = _raked(old, new)
    scale = 1.0 + rows / np.maximum(before, 1.0)
    told = expected >= 1.0
    parts = np.where(told, (new - expected) ** 2 / np.maximum(expected, 1e-9), 0.0)
    found = parts.sum(axis=(1, 2)) / scale
    freedom = np.maximum(told.any(axis=2).sum(axis=1) - 1, 0) * np.maximum(
        told.any(axis=1).sum(axis=1) - 1, 0
    )
    smaller = np.minimum(told.any(axis=2).sum(axis=1), told.any(axis=1).sum(axis=1)) - 1
    able = (freedom > 0) & (rows >= _MIN_PAIR_ROWS)
    p_values = np.where(able, gammaincc(np.maximum(freedom, 1) / 2, found / 2), 1.0)
    sizes = np.sqrt(found / np.maximum(rows, 1) / np.maximum(smaller, 1))
    corrected = holm(p_values.tolist())
    shown = association(old.astype(np.int64)), association(new.astype(np.int64))
    names = [column.name for column in reference.columns]
    broken = [
        BrokenPair(
            names[one], names[two], corrected[place], float(shown[0][place]),
            float(shown[1][place]), float(sizes[place]),
        )
        for place, (one, two) in enumerate(reference.pairs)
        if corrected[place] < LEVEL and sizes[place] >= _MIN_ASSOCIATION
    ]  # fmt: skip
    return sorted(broken, key=lambda pair: -pair.difference)


def _raked(old: Floats, new: Floats) -> Floats:
    """The association of `old` with the margins of `new`, both `[P, 4, 4]`."""
    fitted = old + 0.25
    rows, sides = new.sum(axis=2, keepdims=True), new.sum(axis=1, keepdims=True)
    for _ in range(_RAKING):
        fitted = fitted * rows / np.maximum(fitted.sum(axis=2, keepdims=True), 1e-12)
        fitted = fitted * sides / np.maximum(fitted.sum(axis=1, keepdims=True), 1e-12)
    return fitted
