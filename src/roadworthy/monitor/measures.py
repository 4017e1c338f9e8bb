"""What is followed from day to day: a few numbers a column, each with its sampling variance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.observe.counts import Cells
from roadworthy.observe.effect import inside_bins, prediction_bins
from roadworthy.observe.reference import Reference

Floats = NDArray[np.float64]
PREDICTION = "prediction"
_GROUPS = 4
_FARTHEST = 3.0
"""Normal score of what lies beyond the reference's range: one outlier moves no day."""


class Measure(NamedTuple):
    """One number that is followed.

    Attributes:
        subject: The column, or `prediction`.
        name: `shift` (where the numbers lie), `spread` (how wide), `blank` (share of blanks) or the
            share of a level, a class or a group.
    """

    subject: str
    name: str


class Measured(NamedTuple):
    """The measures of days.

    Attributes:
        measures: What is measured, `S` of them.
        values: `[D, S]`; NaN where a day has no rows to tell.
        variances: Their sampling variances `[D, S]`.
    """

    measures: tuple[Measure, ...]
    values: Floats
    variances: Floats


def measure_days(reference: Reference, days: Sequence[Cells]) -> Measured:
    """Measure days.

    Args:
        reference: What ranks and groups go by.
        days: Counts of each day.
    """
    matrix = np.array(days, dtype=np.float64).reshape(len(days), reference.layout.size)
    found = [*_columns(reference, matrix), *_predictions(reference, matrix)]
    measures = tuple(measure for measure, _, _ in found)
    shape = len(days), len(found)
    values = np.array([its for _, its, _ in found]).T.reshape(shape)
    variances = np.array([its for _, _, its in found]).T.reshape(shape)
    return Measured(measures, values, variances)


Series = tuple[Measure, Floats, Floats]


def _columns(reference: Reference, days: Floats) -> Iterator[Series]:
    layout = reference.layout
    for column, block in zip(layout.columns, layout.blocks, strict=True):
        cells = days[:, block.start : block.blank + 1]
        yield _share(Measure(column.name, "blank"), cells[:, -1], cells.sum(axis=1))
        if column.clock or column.shape == "none":
            continue
        filled = cells[:, :-1].sum(axis=1)
        if column.shape == "level":
            names = [*column.levels[: _GROUPS - 1], "other"][: len(column.levels) + 1]
            for place, name in enumerate(names):
                count = cells[:, place]
                if name == "other":
                    count = filled - cells[:, :place].sum(axis=1)
                yield _share(Measure(column.name, name), count, filled)
            continue
        old = inside_bins(column, block, reference.cells)
        first, last = column.inner
        bins = cells[:, :-1]
        new = np.column_stack(
            [bins[:, :first].sum(axis=1), bins[:, first:last], bins[:, last:].sum(axis=1)]
        )
        yield from _ordered(column.name, old, new)


def _predictions(reference: Reference, days: Floats) -> Iterator[Series]:
    layout = reference.layout
    old = prediction_bins(layout, reference.cells)
    integers = days.astype(np.int64)
    new = np.array([prediction_bins(layout, cells) for cells in integers]).reshape(len(days), -1)
    if old.sum():
        yield from _ordered(PREDICTION, old, new)
    if layout.classes:
        classes = np.array([layout.class_counts(cells) for cells in integers], dtype=np.float64)
        classes = classes.reshape(len(days), -1)
        largest = np.argsort(-layout.class_counts(reference.cells), kind="stable")
        for code in largest[: _GROUPS - 1 if layout.classes > 2 else 1]:
            measure = Measure(PREDICTION, f"class {code}")
            yield _share(measure, classes[:, code], classes.sum(axis=1))


def _ordered(name: str, old: Floats, new: Floats) -> Iterator[Series]:
    """Where numbers lie (normal scores, van der Waerden 1952), and how far from the middle."""
    from scipy.special import ndtri

    rows = new.sum(axis=1)
    total = old.sum()
    if not total:
        return
    ranks = (np.cumsum(old) - old / 2) / total
    normal = np.clip(ndtri(ranks), -_FARTHEST, _FARTHEST)
    for label, scores in (("shift", normal), ("spread", np.abs(ranks - 0.5))):
        mean = np.divide(new @ scores, rows, out=np.full(len(new), np.nan), where=rows > 0)
        middle = float(old @ scores / total)
        variance = float(old @ (scores - middle) ** 2 / total)
        yield Measure(name, label), mean, variance / np.maximum(rows, 1.0)


def _share(measure: Measure, count: Floats, rows: Floats) -> Series:
    """A share on the arcsine scale, where its variance does not hang on it (Anscombe 1948)."""
    angle = np.arcsin(np.sqrt((count + 0.375) / (rows + 0.75)))
    values = np.where(rows > 0, angle, np.nan)
    return measure, values, 1.0 / (4.0 * rows + 2.0)
