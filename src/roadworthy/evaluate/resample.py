"""Poisson bootstrap: every replicate weighs each row by a Poisson(1) count.

The counts stand for the multinomial ones of the ordinary bootstrap (Chamandy et al. 2012,
"Estimating uncertainty for massive data streams"), and they are drawn for many replicates at
once. Rows of one group get one count together, so that intervals do not pretend that rows which
belong together are independent (cluster bootstrap; Field and Welsh 2007).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

LEVEL = 0.95
Z = 1.959963984540054
"""The normal quantile of LEVEL, both tails."""
_BLOCK = 2_000_000


class Resamples:
    """Row weights of the replicates.

    Args:
        rows: Rows of the data.
        seed: Seed of the draws.
        weights: Weight of each row `[N]`; None weighs every row 1.
        groups: Group of each row `[N]`; None takes each row for itself.
        count: Replicates; None takes as many as the rows allow in a few seconds, 200 to 400.
    """

    def __init__(
        self,
        rows: int,
        seed: int,
        weights: Floats | None = None,
        groups: Codes | None = None,
        count: int | None = None,
    ) -> None:
        self.rows, self.seed = rows, seed
        self.weights = weights
        self.groups = None if groups is None else np.unique(groups, return_inverse=True)[1]
        self.count = count or int(np.clip(3_000_000 // max(1, rows), 200, 400))

    @property
    def plain(self) -> bool:
        """Whether all rows weigh the same and each stands for itself."""
        return self.weights is None and self.groups is None

    @property
    def base(self) -> Floats:
        """The weights of the point estimate `[N]`."""
        return np.ones(self.rows) if self.weights is None else self.weights

    def blocks(self) -> Iterator[Floats]:
        """Weights of some replicates at a time, `[b, N]`; the same ones at each call."""
        random = np.random.default_rng(self.seed)
        size = max(1, _BLOCK // max(1, self.rows))
        units = self.rows if self.groups is None else int(self.groups.max()) + 1
        for start in range(0, self.count, size):
            several = min(size, self.count - start)
            counts = random.poisson(1.0, (several, units)).astype(np.float64)
            if self.groups is not None:
                counts = counts[:, self.groups]
            yield counts if self.weights is None else counts * self.weights

    def sums(self, cells: Codes, size: int) -> Floats:
        """Resampled weight of each cell.

        Args:
            cells: The cell each row lies in `[N]`.
            size: Number of cells.

        Returns:
            `[count, size]`. With plain rows a cell's sum of Poisson(1) counts is one Poisson
            number, which is drawn directly, however many rows there are.
        """
        if self.plain:
            found = np.bincount(cells, minlength=size)
            random = np.random.default_rng(self.seed)
            return random.poisson(found, (self.count, size)).astype(np.float64)
        parts = [np.bincount(cells, row, size) for block in self.blocks() for row in block]
        return np.array(parts, dtype=np.float64)


def mean_and_error(
    values: Floats, weights: Floats | None = None, groups: Codes | None = None
) -> tuple[float, float]:
    """Weighted mean and its standard error, robust to rows of a group that err together.

    Args:
        values: `[N]`, at least one.
        weights: Row weights.
        groups: Group of each row (cluster-robust error; Liang and Zeger 1986).

    Returns:
        The mean and its standard error; infinite for a single row or group.
    """
    count = len(values)
    if weights is None and groups is None:
        mean = float(values.mean())
        return mean, float(values.std(ddof=1)) / count**0.5 if count > 1 else float("inf")
    weights = np.ones(count) if weights is None else weights
    total = weights.sum()
    if total <= 0:
        return float("nan"), float("inf")
    mean = float((weights * values).sum() / total)
    parts = weights * (values - mean) / total
    if groups is not None:
        parts = np.bincount(np.unique(groups, return_inverse=True)[1], weights=parts)
    if len(parts) < 2:
        return mean, float("inf")
    return mean, float(np.sqrt(parts @ parts * len(parts) / (len(parts) - 1)))
