"""The reference of a model whose answers are others: what is counted of answers, made anew."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.counts import Cells
from roadworthy.observe.layout import SERVICE, Layout
from roadworthy.observe.reference import (
    DAYS,
    ROWS_A_DAY,
    Floats,
    Reference,
    number_edges,
    write_cells,
)
from roadworthy.prepare.plan import FeaturePlan


def with_scores(
    reference: Reference,
    contract: Contract,
    plan: FeaturePlan,
    scores: Floats,
    days: NDArray[np.str_],
) -> Reference:
    """The reference of a model that answers otherwise: what is counted of answers made anew.

    Its columns keep their counts and days. Where it has days, answers are counted on the days of
    the rows given, on which no column is.

    Args:
        reference: The reference.
        contract: The columns.
        plan: What the vectors are.
        scores: Its answers now `[N, K]` or `[N, 1]`.
        days: ISO date of each `[N]`.
    """
    old = reference.layout
    edges: tuple[float, ...] = ()
    if not reference.classes:
        edges = number_edges(scores.reshape(-1), wide=False)[0]
    layout = Layout(reference.columns, reference.pairs, reference.classes, edges)
    counter = RowCounter(contract, plan, layout)

    def count(cells: Cells, own: Floats) -> str:
        made = np.zeros(layout.size, dtype=np.int64)
        made[: old.class_start] = cells[: old.class_start]
        made[SERVICE.index("scored")] = 0
        counter.count_scores(own, made)
        return write_cells(made)

    none, nothing = scores[:0], np.zeros(old.size, dtype=np.int64)
    by_day = {day: count(cells, none) for day, cells in reference.day_cells.items()}
    known, rows = np.unique(days, return_counts=True)
    for day in known[rows >= ROWS_A_DAY][-DAYS:].tolist() if by_day else ():
        by_day[day] = count(reference.day_cells.get(day, nothing), scores[days == day])
    return msgspec.structs.replace(
        reference, score_edges=edges, total=count(reference.cells, scores), days=by_day
    )
