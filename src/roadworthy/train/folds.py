"""Cut the training rows into folds that respect classes, groups and time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from roadworthy.errors import InputError
from roadworthy.table import Table

Index = NDArray[np.int64]


class Fold(NamedTuple):
    """Row numbers of one fold's training and validation part."""

    train: Index
    valid: Index


def make_folds(table: Table, folds: int, seed: int) -> list[Fold]:
    """Folds of a table's rows.

    Args:
        table: The rows; its `groups` and `times` are respected when there are any.
        folds: How many.
        seed: Seed of the shuffling.

    Returns:
        The folds. Rows of a class too rare to be in every fold are in every training part.

    Raises:
        InputError: There are fewer groups than two.
    """
    rows = np.arange(len(table))
    if len(rows) < 4:
        raise InputError(
            f"{len(rows)} training rows are too few to validate on",
            where="[data] holdout",
            fix="hold out less, or add rows",
        )
    folds = min(folds, len(rows) // 2)
    if table.times is not None:
        order = np.argsort(table.times, kind="stable")
        return [Fold(order[a], order[b]) for a, b in TimeSeriesSplit(folds).split(rows)]
    if table.groups is not None:
        groups = len(np.unique(table.groups))
        if groups < 2:
            raise InputError(
                "all training rows are of one group: there is nothing to validate on",
                where="[data] group",
            )
        cut = GroupKFold(min(folds, groups), shuffle=True, random_state=seed)
        return [Fold(a, b) for a, b in cut.split(rows, groups=table.groups)]
    if table.task == "regression":
        return [Fold(a, b) for a, b in KFold(folds, shuffle=True, random_state=seed).split(rows)]
    labels = table.labels.astype(np.int64)
    rare = np.bincount(labels)[labels] < folds
    common = rows[~rare]
    if not len(common):
        common, rare = rows, np.zeros(len(rows), dtype=bool)
        plain = KFold(folds, shuffle=True, random_state=seed)
        return [Fold(a, b) for a, b in plain.split(rows)]
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [
        Fold(np.sort(np.concatenate([common[a], rows[rare]])), common[b])
        for a, b in cut.split(common, labels[common])
    ]
