"""Effect sizes: how far counts lie from the reference, whatever the number of rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.observe.counts import Cells
from roadworthy.observe.layout import Block, ColumnBins, Layout
from roadworthy.observe.reference import Reference

Floats = NDArray[np.float64]


class Effect(NamedTuple):
    """How far a column lies from the reference.

    Attributes:
        psi: Population stability index over the bins of cells that are not blank, what chance
            alone gives taken off.
        shift: How much further up or down in the reference's order: the probability that a new
            number is above an old one, minus a half.
        blank: Share of blanks.
        unseen: Share of levels that training never saw.
        outside: Share of numbers beyond the reference's range.
        rows: Cells that were counted.
    """

    psi: float
    shift: float
    blank: float
    unseen: float
    outside: float
    rows: int


def effects(reference: Reference, cells: Cells) -> dict[str, Effect]:
    """The effect of each column, by name."""
    layout = reference.layout
    return {
        column.name: effect(column, block, reference.cells, cells)
        for column, block in zip(layout.columns, layout.blocks, strict=True)
    }


def effect(column: ColumnBins, block: Block, before: Cells, now: Cells) -> Effect:
    """The effect of one column."""
    rows = int(now[block.start : block.blank + 1].sum())
    if not rows:
        return Effect(0.0, 0.0, 0.0, 0.0, 0.0, 0)
    old, new = inside_bins(column, block, before), inside_bins(column, block, now)
    filled = int(new.sum())
    first, last = column.inner
    bins = now[block.filled]
    outside = int(bins[:first].sum() + bins[last:].sum()) if last else 0
    return Effect(
        psi=stability_index(old, new),
        shift=mean_rank(old, new) if column.shape != "level" else 0.0,
        blank=int(now[block.blank]) / rows,
        unseen=int(now[block.unseen]) / rows,
        outside=outside / filled if filled else 0.0,
        rows=rows,
    )


def inside_bins(column: ColumnBins, block: Block, cells: Cells) -> Floats:
    """The bins of a column, those beyond the range joined to one on either side."""
    bins = cells[block.filled].astype(np.float64)
    first, last = column.inner
    if not last:
        return bins
    return np.concatenate([[bins[:first].sum()], bins[first:last], [bins[last:].sum()]])


def stability_index(old: Floats, new: Floats) -> float:
    """Population stability index of counts `[B]`, corrected for what chance alone gives.

    Half a row is added to each bin, so that an empty one does not make it infinite.
    """
    before, now = old.sum(), new.sum()
    used = (old + new) > 0
    bins = int(used.sum())
    if bins < 2 or not before or not now:
        return 0.0
    p = (old[used] + 0.5) / (before + 0.5 * bins)
    q = (new[used] + 0.5) / (now + 0.5 * bins)
    raw = float(((q - p) * np.log(q / p)).sum())
    return max(0.0, raw - (bins - 1) * float(1.0 / before + 1.0 / now))


def mean_rank(old: Floats, new: Floats) -> float:
    """Mean rank of new counts among old ones, from -0.5 (all below) to 0.5 (all above)."""
    before, now = old.sum(), new.sum()
    if not before or not now:
        return 0.0
    ranks = (np.cumsum(old) - old / 2) / before - 0.5
    return float(new @ ranks / now)


def prediction_bins(layout: Layout, cells: Cells) -> Floats:
    """Answers on one ordered scale.

    It is the probability of the second of two classes, of several classes that of the answered
    one, or the number predicted.
    """
    table: Floats = layout.score_table(cells).astype(np.float64)
    if layout.classes == 2:
        # edges are even on the scale of log-odds, so that 1 - p falls in the mirrored bin
        table = np.stack([table[0][::-1], table[1]])
    found: Floats = table.sum(axis=0)
    return found
