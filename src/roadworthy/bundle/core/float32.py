"""What libraries that look at float32 numbers decide, folded into float64 thresholds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX = float(np.finfo(np.float32).max)
_END = 2.0**128
"""Where the next float32 would lie if there were one: half-way to it numbers become infinite."""
_EVERYTHING = float(np.finfo(np.float64).max)


def fold_at_most(thresholds: NDArray[np.float64], *, clipped: bool) -> NDArray[np.float64]:
    """Thresholds t with `x <= t` wherever `float32(x) <= threshold`, for every float64 x.

    A number rounds to a float32 of at most q when it lies below the midpoint of q and the next
    float32, or on it when the tie goes to q, whose last bit is then even (IEEE 754 rounding).

    Args:
        thresholds: What the library compares with, `[N]`.
        clipped: Whether numbers beyond float32 count as its largest, and not as infinite.
    """
    values = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
        down = np.nextafter(nearest, np.float32(-np.inf))
        below = np.where(nearest.astype(np.float64) <= values, nearest, down)
        above = np.nextafter(below, np.float32(np.inf))
    low, high = (np.clip(x.astype(np.float64), -_END, _END) for x in (below, above))
    middle = low + (high - low) / 2.0
    even = (below.view(np.uint32) % 2 == 0) & np.isfinite(below)
    ties = even | (below == -np.inf)  # beyond the largest float32 a tie goes to infinity
    folded = np.where(ties, middle, np.nextafter(middle, -np.inf))
    folded = np.where(below == np.inf, _EVERYTHING, folded)
    if clipped:
        folded = np.where(below >= _MAX, _EVERYTHING, folded)
        folded = np.where(below < -_MAX, -np.inf, folded)
    return folded


def fold_less(thresholds: NDArray[np.float64], *, clipped: bool) -> NDArray[np.float64]:
    """Thresholds t with `x <= t` wherever `float32(x) < float32(threshold)`, for every x."""
    with np.errstate(over="ignore"):
        single = np.asarray(thresholds, np.float32)
        below = np.nextafter(single, np.float32(-np.inf))
    folded = fold_at_most(below.astype(np.float64), clipped=clipped)
    return np.where(single == -np.inf, -np.inf, folded)
