"""Whether a column of numbers is written in two units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FACTORS = (1.8, 2.2046, 2.54, 10.0, 100.0, 1000.0)
_SHARE = 0.02
_ROWS = 100
_LOT = 20
_NEAR = 0.06
"""How far, in logarithms, the lots' medians may be from a factor."""
_ALIKE = 0.2
"""Largest Kolmogorov distance between the lots' shapes."""
_GAP = 2.0
"""Times the wider lot's own spread that separates the lots' medians."""


class MixedUnits(NamedTuple):
    """Two lots of numbers that differ by a factor.

    Attributes:
        factor: The factor.
        small: Median of the smaller lot.
        large: Median of the larger lot.
        large_share: Share of numbers in the larger lot.
    """

    factor: float
    small: float
    large: float
    large_share: float


def mixed_units(numbers: NDArray[np.float64]) -> MixedUnits | None:
    """Look for two lots of the same shape, apart by a factor between units.

    Args:
        numbers: The column without blanks.

    Returns:
        The lots, or None when the evidence is not strong.
    """
    if len(numbers) < _ROWS or numbers.min() <= 0 or len(np.unique(numbers)) < _LOT:
        return None
    logarithms = np.sort(np.log(numbers))
    edge = max(_LOT, int(np.ceil(_SHARE * len(logarithms))))
    gaps = np.diff(logarithms)[edge - 1 : len(logarithms) - edge]
    if not len(gaps):
        return None
    cut = int(gaps.argmax()) + edge
    small, large = logarithms[:cut], logarithms[cut:]
    spread = max(float(np.subtract(*np.quantile(lot, [0.9, 0.1]))) for lot in (small, large))
    apart = float(np.median(large) - np.median(small))
    nearest = min(_FACTORS, key=lambda factor: abs(np.log(factor) - apart))
    if abs(np.log(nearest) - apart) > _NEAR or apart < _GAP * max(spread, 1e-9) / 2:
        return None
    largest_inside = max(float(np.diff(lot).max()) for lot in (small, large))
    if gaps.max() < 2 * largest_inside or _distance(small, large - np.log(nearest)) > _ALIKE:
        return None
    return MixedUnits(
        nearest,
        float(np.exp(np.median(small))),
        float(np.exp(np.median(large))),
        round(len(large) / len(logarithms), 4),
    )


def _distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Kolmogorov's distance between two sorted samples."""
    every = np.concatenate([left, right])
    shares = [np.searchsorted(lot, every, side="right") / len(lot) for lot in (left, right)]
    return float(np.abs(shares[0] - shares[1]).max())
