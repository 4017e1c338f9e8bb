"""Rows that are alike, and how many of them chance explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.guard.codes import Coded

Hashes = NDArray[np.uint64]


def hash_rows(frame: pl.DataFrame, columns: Sequence[str]) -> Hashes:
    """A 64-bit hash of each row's cells in the given columns; -0.0 and 0.0 are alike.

    Args:
        frame: Typed columns.
        columns: The columns that count.
    """
    cells = frame.select(columns)
    plain = [series + 0.0 if series.dtype.is_float() else series for series in cells]
    return pl.DataFrame(plain).hash_rows(seed=0).to_numpy()


def with_labels(hashes: Hashes, labels: NDArray[np.float64]) -> Hashes:
    """Hashes in which the target counts as well."""
    return pl.DataFrame({"row": hashes, "label": labels + 0.0}).hash_rows(seed=1).to_numpy()


def expected_twins(codes: Sequence[Coded], rows: int) -> float:
    """Share of rows that have a twin by chance among so many rows.

    Two rows agree in a column with the chance that its level shares give, and in all columns
    with at most the product of these when columns were independent. They are not: half of their
    joint entropy is taken off, which is generous to tables of few levels.

    Args:
        codes: The columns in bins.
        rows: Rows among which a twin may be.
    """
    logarithm = 0.0
    for coded in codes:
        shares = np.bincount(coded.codes, minlength=coded.bins) / max(1, len(coded.codes))
        logarithm += float(np.log((shares**2).sum()))
    return float(-np.expm1(-rows * np.exp(logarithm / 2)))
