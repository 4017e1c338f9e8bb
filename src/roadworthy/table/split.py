"""Split a table into a training part and a holdout that no choice ever looks at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import InputError

MAX_HOLDOUT = 50_000
"""Rows above which a larger holdout no longer narrows an interval that anyone acts on."""

Index = NDArray[np.int64]


class Split(NamedTuple):
    """Row numbers of the two parts, in ascending order, and how they were chosen."""

    train: Index
    holdout: Index
    policy: str


def split_rows(
    rows: int,
    share: float,
    seed: int,
    *,
    strata: Index | None = None,
    groups: Index | None = None,
    times: NDArray[np.float64] | None = None,
) -> Split:
    """Choose the holdout.

    Args:
        rows: Rows of the table.
        share: Share of rows to hold out, 0 to 1.
        seed: Seed of the random choice.
        strata: Class code of each row: the holdout keeps the classes' shares, and every class
            keeps at least one row for training.
        groups: Group code of each row: a group lies in one part only.
        times: A number of each row that grows with time: the holdout is the newest part, and
            rows of the same moment stay together.

    Returns:
        The split.

    Raises:
        InputError: The groups or moments cannot be split.
    """
    wanted = max(1, min(round(rows * share), MAX_HOLDOUT, rows - 1))
    if times is not None:
        return _by_time(times, wanted)
    random = np.random.default_rng(seed)
    if groups is not None:
        return _by_group(groups, wanted, random)
    order = random.permutation(rows)
    if strata is None:
        chosen, policy = order[:wanted], "random"
    else:
        chosen, policy = _stratified(strata[order], order, wanted), "stratified by class"
    return _make(rows, chosen, policy)


def _make(rows: int, chosen: Index, policy: str) -> Split:
    held = np.zeros(rows, dtype=bool)
    held[chosen] = True
    return Split(np.flatnonzero(~held), np.flatnonzero(held), policy)


def _stratified(codes: Index, order: Index, wanted: int) -> Index:
    """Rows of every class by its share, the remainder to the largest fractions."""
    classes, counts = np.unique(codes, return_counts=True)
    exact = counts * (wanted / len(codes))
    take = np.minimum(np.floor(exact).astype(int), counts - 1)
    for place in np.argsort(take - exact, kind="stable"):
        if take.sum() < wanted and take[place] < counts[place] - 1:
            take[place] += 1
    chosen = [order[codes == code][:some] for code, some in zip(classes, take, strict=True)]
    return np.concatenate(chosen)


def _by_group(groups: Index, wanted: int, random: np.random.Generator) -> Split:
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < 2:
        raise InputError(
            "all rows are of one group, so no group can be held out",
            where="[data] group",
            fix="name another column or leave group out",
        )
    order = random.permutation(len(names))
    taken = max(1, int(np.searchsorted(np.cumsum(sizes[order]), wanted, side="right")))
    held = names[order[: min(taken, len(names) - 1)]]
    return _make(len(groups), np.flatnonzero(np.isin(groups, held)), "whole groups held out")


def _by_time(times: NDArray[np.float64], wanted: int) -> Split:
    if np.isnan(times).any():
        raise InputError(
            "the time column has blanks, so the rows cannot be ordered",
            where="[data] time",
            fix="drop the rows without a time, or name another column",
        )
    border = np.sort(times, kind="stable")[len(times) - wanted]
    held = np.flatnonzero(times >= border)
    if len(held) == len(times):
        held = np.flatnonzero(times > border)
    if not 0 < len(held) < len(times):
        raise InputError(
            "all rows are of one moment, so none is newer than the others",
            where="[data] time",
            fix="name another column or leave time out",
        )
    return _make(len(times), held, "the newest rows held out")
