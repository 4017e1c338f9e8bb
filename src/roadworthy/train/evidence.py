"""Whether one way is better than another on the same rows, beyond chance."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SURE = 1.96
"""Standard errors that a gain must exceed: one such gain in forty is chance."""


class Gain(NamedTuple):
    """A mean gain of one way over another and its standard error."""

    mean: float
    standard_error: float

    @property
    def significant(self) -> bool:
        """Whether the gain is above 0 beyond chance."""
        return self.mean > SURE * self.standard_error


def paired_gain(
    old: Floats,
    new: Floats,
    weights: Floats | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Gain:
    """How much less `new` loses than `old`, row by row.

    Args:
        old: Loss of each row `[N]`.
        new: Loss of the same rows.
        weights: Row weights.
        groups: Group of each row: rows of one group may err together, so that the groups are
            what is counted (cluster-robust standard error; Liang and Zeger, 1986).

    Returns:
        The weighted mean and its standard error; infinite for a single row or group.
    """
    weights = np.ones(len(old)) if weights is None else weights
    total = weights.sum()
    mean = float(weights @ (old - new) / total)
    parts = weights * (old - new - mean) / total
    if groups is not None:
        parts = np.bincount(np.unique(groups, return_inverse=True)[1], weights=parts)
    count = len(parts)
    if count < 2:
        return Gain(mean, math.inf)
    return Gain(mean, math.sqrt(float(parts @ parts) * count / (count - 1)))
