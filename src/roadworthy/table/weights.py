"""Read the column of row weights."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.errors import InputError


def read_weights(cells: pl.Series, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The row weights of a table.

    Args:
        cells: The column, typed.
        rows: Row of each cell in what the user gave, counted from 0.

    Returns:
        Weights `[N]`, 0 or more, some above 0.

    Raises:
        InputError: The column holds no numbers, a blank, a number below 0 or nothing above 0.
    """
    where, fix = f"[data] weight, column {cells.name!r}", "give every row a weight of 0 or more"
    if cells.dtype.is_temporal():
        raise InputError("the weights are dates, not numbers", where=where, fix=fix)
    weights = cells.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        fault = "below 0" if weights[bad[0]] < 0 else "blank or no finite number"
        more = f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""
        place = f"{where}, row {rows[bad[0]] + 1:,} below the header"
        raise InputError(f"a weight is {fault}{more}", where=place, fix=fix)
    if not weights.any():
        raise InputError("every weight is 0", where=where, fix=fix)
    return weights
