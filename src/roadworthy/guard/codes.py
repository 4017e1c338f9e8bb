"""Columns as small integers, and how well one column alone tells the target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_BINS = 128
ROWS_A_BIN = 6
_PRIOR = 1.0  # rows' worth of the overall mean that every bin starts with
_CONFIDENT = 1.645  # one-sided 95 %
_MIN_CLASS = 5  # rows of a class below which nothing is said of it


class Coded(NamedTuple):
    """A column in bins.

    Attributes:
        codes: Bin of each row `[N]`; 0 is the bin of blanks.
        bins: How many bins there are, that of blanks included.
    """

    codes: Integers
    bins: int


class Alone(NamedTuple):
    """How well one column alone tells the target on rows that were not looked at.

    Attributes:
        score: Normalised Gini (2 AUC - 1), a mean over classes by their rows; R² for numbers.
        low: Lower end of its one-sided 95 % interval.
        rows: Rows it was measured on.
    """

    score: float
    low: float
    rows: int


NOTHING = Alone(0.0, 0.0, 0)


def code_column(series: pl.Series) -> Coded:
    """Put a column into bins: its levels, or the quantiles of its numbers.

    Args:
        series: A typed column.
    """
    if series.dtype == pl.String or series.dtype == pl.Boolean:
        return _levels(series)
    values = series.cast(pl.Int64) if series.dtype.is_temporal() else series
    values = values.cast(pl.Float64)
    most = int(np.clip(len(values) // ROWS_A_BIN, 4, MAX_BINS))
    blank = values.is_null().to_numpy()
    numbers = values.fill_null(0.0).to_numpy()
    known = np.sort(numbers[~blank])
    if np.count_nonzero(np.diff(known)) < most:
        return _levels(values)
    places = (np.arange(1, most) * (len(known) - 1) / most).astype(np.int64)
    edges = np.unique(known[places])
    codes = np.searchsorted(edges, numbers, side="left") + 1
    codes[blank] = 0
    return Coded(codes.astype(np.int64), len(edges) + 2)


def _levels(series: pl.Series) -> Coded:
    codes = series.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return Coded(codes, int(codes.max(initial=0)) + 1)


def class_scores(
    coded: Coded, labels: Integers, classes: int, folds: Integers, *, known: bool = False
) -> Alone:
    """Score a column for a classification: each bin answers the class shares of other folds.

    Args:
        coded: The column.
        labels: Class of each row `[N]`.
        classes: How many classes.
        folds: Fold of each row `[N]`.
        known: Leave out rows in which the column is blank.
    """
    parts = int(folds.max(initial=0)) + 1
    place = (folds * coded.bins + coded.codes) * classes + labels
    counts = np.bincount(place, minlength=parts * coded.bins * classes)
    cells = counts.reshape(parts, coded.bins, classes).astype(np.float64)
    if known:
        cells[:, 0] = 0.0
    sizes = cells.sum(axis=(0, 1))
    rows = sizes.sum()
    enough = np.flatnonzero((sizes >= _MIN_CLASS) & (rows - sizes >= _MIN_CLASS))
    if not len(enough):
        return NOTHING
    if classes == 2:
        enough = enough[-1:]
    others = cells.sum(axis=0) - cells  # what the other folds saw in the same bin
    seen = others.sum(axis=2)
    areas, lows = [], []
    for code in enough:
        answers = (others[:, :, code] + _PRIOR * sizes[code] / rows) / (seen + _PRIOR)
        hits = cells[:, :, code]
        area = _area(answers.ravel(), hits.ravel(), (cells.sum(axis=2) - hits).ravel())
        areas.append(area)
        lows.append(_wilson_low(area, min(sizes[code], rows - sizes[code])))
    weights = sizes[enough]
    score = 2 * float(np.average(areas, weights=weights)) - 1
    low = 2 * float(np.average(lows, weights=weights)) - 1
    return Alone(max(0.0, score), max(0.0, low), int(rows))


def number_scores(coded: Coded, values: Floats, folds: Integers, *, known: bool = False) -> Alone:
    """Score a column for a regression: each bin answers the mean of other folds.

    Args:
        coded: The column.
        values: The target `[N]`, of moderate size (see `tame`).
        folds: Fold of each row `[N]`.
        known: Leave out rows in which the column is blank.
    """
    parts = int(folds.max(initial=0)) + 1
    place = folds * coded.bins + coded.codes
    shape, size = (parts, coded.bins), parts * coded.bins
    counts = np.bincount(place, minlength=size).reshape(shape).astype(np.float64)
    sums = np.bincount(place, values, minlength=size).reshape(shape)
    squares = np.bincount(place, values**2, minlength=size).reshape(shape)
    if known:
        counts[:, 0] = sums[:, 0] = squares[:, 0] = 0.0
    rows = counts.sum()
    if rows < 2 * _MIN_CLASS:
        return NOTHING
    mean = sums.sum() / rows
    spread = squares.sum() - rows * mean**2
    if spread <= 1e-9 * max(1.0, squares.sum()):
        return NOTHING
    answers = (sums.sum(axis=0) - sums + _PRIOR * mean) / (counts.sum(axis=0) - counts + _PRIOR)
    missed = (squares - 2 * answers * sums + answers**2 * counts).sum()
    score = float(np.clip(1 - missed / spread, 0.0, 1.0))
    return Alone(score, squared_correlation_low(score, rows), int(rows))


def squared_correlation_low(score: float, rows: float) -> float:
    """Lower end of an R²'s one-sided 95 % interval (Fisher's z of its root)."""
    if rows <= 4 or score <= 0:
        return 0.0
    z = np.arctanh(min(np.sqrt(score), 1 - 1e-12)) - _CONFIDENT / np.sqrt(rows - 3)
    return float(np.tanh(max(0.0, z)) ** 2)


def rank_correlation(left: Floats, right: Floats) -> float:
    """Spearman's rank correlation; 0 where one side is constant."""
    first, second = (pl.Series(side).rank("average").to_numpy() for side in (left, right))
    if min(first.std(), second.std()) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def tame(values: Floats) -> Floats:
    """A target without units and without its most extreme 0.5 % a side: one row decides nothing."""
    top = float(np.abs(values).max(initial=0.0))
    scaled = values / top if top > 0 else values
    low, high = np.quantile(scaled, [0.005, 0.995]) if len(scaled) else (0.0, 0.0)
    cut = np.clip(scaled, low, high) if low < high else scaled
    spread = float(cut.std())
    return (cut - cut.mean()) / spread if spread > 0 else np.zeros_like(cut)


def _area(answers: Floats, hits: Floats, misses: Floats) -> float:
    """Area under the ROC curve of answers that stand for so many rows, ties counted by half."""
    filled = (hits + misses) > 0
    values, place = np.unique(answers[filled], return_inverse=True)
    positive = np.bincount(place, hits[filled], minlength=len(values))
    negative = np.bincount(place, misses[filled], minlength=len(values))
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def _wilson_low(share: float, rows: float) -> float:
    """Lower end of Wilson's one-sided 95 % interval; an area is no surer than its rarer class."""
    square = _CONFIDENT**2
    root = np.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    return float((share + square / (2 * rows) - _CONFIDENT * root) / (1 + square / rows))
