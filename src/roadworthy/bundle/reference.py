"""The reference of a bundle: its training table in counts, from the table and the engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.engine import Engine
from roadworthy.contract import Contract
from roadworthy.observe.reference import Reference, learn_reference
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.rows import BLANK, UNSEEN, Note
from roadworthy.table.whole import Whole
from roadworthy.train import TrainedModel

_MAX_ROWS = 1_000_000


def make_reference(model: TrainedModel, engine: Engine) -> Reference:
    """Learn the reference of a model; answers are those to rows that it was not trained on.

    Args:
        model: The model with its table.
        engine: What will be served.
    """
    table, contract = model.table, model.contract
    held = np.empty(0, np.int64) if table.split is None else np.sort(table.split.holdout)
    if len(table) > _MAX_ROWS:
        kept = np.arange(0, len(table), -(-len(table) // _MAX_ROWS))
        held = np.flatnonzero(np.isin(kept, held))
        table = table.take(kept)
    if not len(held):  # nothing was held out, as of a model that was fitted elsewhere
        held = np.arange(len(table))
    matrix = encode_columns(table.frame, model.plan)
    scores = engine.run_many(matrix[held]).reshape(len(held), -1)
    return learn_reference(
        contract,
        model.plan,
        matrix,
        noticed_in(table.frame, contract),
        times=table.times,
        scored=held,
        scores=scores if len(held) else None,
        whole=None if table.whole is None else _all_rows(model, table.whole),
    )


def _all_rows(
    model: TrainedModel, whole: Whole
) -> Iterator[tuple[NDArray[np.float64], dict[Note, NDArray[np.int64]]]]:
    """Vectors and noticed cells of a file of which the table is a sample, part by part."""
    for frame in whole.typed(model.contract):
        yield encode_columns(frame, model.plan), noticed_in(frame, model.contract)


def noticed_in(frame: pl.DataFrame, contract: Contract) -> dict[Note, NDArray[np.int64]]:
    """Blank and unseen cells of typed rows, by code and column, with the numbers of the rows."""
    noticed: dict[Note, NDArray[np.int64]] = {}
    for place, column in enumerate(contract.columns):
        cells = frame[column.name]
        noticed[BLANK, place] = np.flatnonzero(cells.is_null().to_numpy())
        if column.kind == "category":
            unseen = ~(cells.is_in(list(column.categories)) | cells.is_null())
            noticed[UNSEEN, place] = np.flatnonzero(unseen.to_numpy())
    return noticed
