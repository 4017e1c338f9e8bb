"""Whether a column came in another unit: its counts fit the training table's, once converted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.observe.counts import Cells
from roadworthy.observe.layout import Block, ColumnBins

Floats = NDArray[np.float64]
_FACTORS = {
    10.0: "10", 100.0: "100", 1000.0: "1,000", 1e6: "1,000,000", 60.0: "60", 3600.0: "3,600",
    24.0: "24", 7.0: "7", 12.0: "12", 2.2046226: "2.2046 (kilograms to pounds)",
    2.54: "2.54 (inches to centimetres)", 1.609344: "1.609 (miles to kilometres)",
    3.2808399: "3.281 (metres to feet)", 4.184: "4.184 (calories to joules)",
    28.349523: "28.35 (ounces to grams)", 3.785412: "3.785 (gallons to litres)",
}  # fmt: skip
_MIN_ROWS = 50
_MIN_BINS = 5
_DIFFERENT = 0.3
"""Kolmogorov's distance from the training table from which a change of unit is looked for."""
_ALIKE = 0.08
"""The distance that is left by bins where the unit is the right one; chance comes on top."""


class Unit(NamedTuple):
    """A change of unit.

    Attributes:
        words: What the numbers were converted by.
        slope: New numbers are old ones times this,
        offset: plus this.
        distance: Kolmogorov's distance from the training table as it is;
        left: and once converted back.
    """

    words: str
    slope: float
    offset: float
    distance: float
    left: float


def _conversions() -> list[tuple[str, float, float]]:
    found = [(f"multiplied by {words}", factor, 0.0) for factor, words in _FACTORS.items()]
    found += [(f"divided by {words}", 1.0 / factor, 0.0) for factor, words in _FACTORS.items()]
    return [
        *found,
        ("converted from Celsius to Fahrenheit", 1.8, 32.0),
        ("converted from Fahrenheit to Celsius", 1 / 1.8, -32 / 1.8),
        ("converted from Celsius to Kelvin", 1.0, 273.15),
        ("converted from Kelvin to Celsius", 1.0, -273.15),
        ("turned in sign", -1.0, 0.0),
    ]


def changed_unit(column: ColumnBins, block: Block, before: Cells, now: Cells) -> Unit | None:
    """The change of unit that explains a column's numbers, if one does.

    Args:
        column: Its bins.
        block: Its cells.
        before: Counts of the training table.
        now: Counts of the rows.
    """
    first, last = column.inner
    new = now[block.filled].astype(np.float64)
    old = before[block.filled].astype(np.float64)
    used = int((old > 0).sum())
    if column.shape != "number" or column.clock or new.sum() < _MIN_ROWS or used < _MIN_BINS:
        return None
    edges = np.array(column.edges)
    reached = np.cumsum(new)[:-1] / new.sum()
    known, shares = edges[first - 1 : last], np.cumsum(old)[first - 1 : last] / old.sum()

    def distance(slope: float, offset: float) -> float:
        at = (edges - offset) / slope
        expected = np.interp(at, known, shares, left=0.0, right=1.0)
        if slope < 0:
            expected = 1.0 - expected
        return float(np.abs(expected - reached).max())

    start = distance(1.0, 0.0)
    if start < _DIFFERENT:
        return None
    limit = _ALIKE + 1.5 / np.sqrt(new.sum())
    best: Unit | None = None
    for words, slope, offset in _conversions():
        left = distance(slope, offset)
        if left < min(limit, 0.4 * start) and (best is None or left < best.left - 1e-9):
            best = Unit(words, slope, offset, start, left)
    return best
