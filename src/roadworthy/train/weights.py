"""How much each row weighs in a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import InputError
from roadworthy.project import TrainSection
from roadworthy.table import Table
from roadworthy.train.scoring import class_code

_WHERE = "[train] class_weight"


def check_weights(table: Table, options: TrainSection) -> None:
    """Refuse class weights that do not fit the task.

    Raises:
        InputError: The task is a regression, or there is no class of that name.
    """
    if options.class_weight == "none":
        return
    if not table.classes:
        raise InputError(
            "a regression has no classes to weigh", where=_WHERE, fix="leave class_weight out"
        )
    if isinstance(options.class_weight, dict):
        for name in options.class_weight:
            class_code(table.classes, name, _WHERE)


def row_weights(table: Table, options: TrainSection) -> NDArray[np.float64] | None:
    """The weights to fit with: the rows' own times those of their classes.

    `balanced` gives every class the same total weight, as scikit-learn's does, counting the rows
    with their own weights. Scores are weighted by `table.weights` alone.

    Args:
        table: The rows to fit on.
        options: `[train]`.

    Returns:
        `[N]` with mean 1, so that penalties mean the same with any unit of weight; None where
        every row weighs the same.

    Raises:
        InputError: As `check_weights`; or all rows weigh nothing.
    """
    check_weights(table, options)
    if table.weights is None and options.class_weight == "none":
        return None
    weights = np.ones(len(table)) if table.weights is None else table.weights
    if options.class_weight != "none":
        codes = table.labels.astype(np.int64)
        weights = weights * _of_classes(table, options, codes, weights)[codes]
    if not weights.any():
        raise InputError(
            "every training row weighs 0",
            where="[data] weight",
            fix="hold out less, or look at the weights",
        )
    scaled: NDArray[np.float64] = weights / weights.mean()
    return scaled


def _of_classes(
    table: Table,
    options: TrainSection,
    codes: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    if isinstance(options.class_weight, dict):
        given = np.ones(len(table.classes))
        for name, weight in options.class_weight.items():
            given[class_code(table.classes, name, _WHERE)] = weight
        return given
    totals = np.bincount(codes, weights=weights, minlength=len(table.classes))
    present = totals > 0
    return np.where(present, totals.sum() / present.sum() / np.where(present, totals, 1.0), 0.0)
