"""Cut the training rows into folds that respect classes, groups and time."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from roadworthy.errors import InputError
from roadworthy.project import TrainSection
from roadworthy.table import Table
from roadworthy.train.record import Nested
from roadworthy.train.scoring import Metric

Index = NDArray[np.int64]
Validation = Literal["auto", "k_fold", "stratified", "group", "time", "repeated"]
Scores = Callable[[pl.DataFrame], NDArray[np.float64]]
"""Typed rows -> probabilities `[N, K]` or predictions `[N]`."""

MAX_GROUP_SHARE = 0.8
"""Share of the rows above which one group leaves too few others to train on."""
_MANY_GROUPS = 3000
"""Groups above which chance alone spreads the classes evenly over the folds."""
_WHERE = "[train] validation"


class Fold(NamedTuple):
    """Row numbers of one fold's training and validation part."""

    train: Index
    valid: Index


def check_validation(table: Table, options: TrainSection) -> None:
    """Refuse, before any work, a validation that the training rows do not allow.

    Args:
        table: The training rows.
        options: `[train]`.

    Raises:
        InputError: Says which key asks for what cannot be, and the remedy.
    """
    if len(table) < 4:
        raise InputError(
            f"{len(table)} training rows are too few to validate on",
            where="[data] holdout",
            fix="hold out less, or add rows",
        )
    policy = _policy(table, options.validation)
    if policy == "stratified" and options.validation == "stratified":
        _check_classes(table, options.folds)
    if policy == "group":
        _check_groups(table)
    if policy == "time":
        _check_times(table, options)


def make_folds(
    table: Table,
    folds: int,
    seed: int,
    *,
    validation: Validation = "auto",
    repeats: int = 3,
    gap: int = 0,
) -> list[Fold]:
    """Folds of a table's rows.

    Args:
        table: The rows; with `auto` its `times`, else its `groups`, else its classes are
            respected.
        folds: How many.
        seed: Seed of the shuffling.
        validation: How to cut: by chance (`k_fold`), by chance with the classes' shares in every
            fold (`stratified`), whole groups (`group`, with the classes' shares as far as they
            allow), past against future (`time`), or as `auto` several times over (`repeated`).
        repeats: How often `repeated` cuts, each time with another shuffling.
        gap: Rows between past and future that are left out of `time`'s training parts.

    Returns:
        The folds. Rows of a class too rare to be in every fold are in every training part; rows
        of one moment are on one side of the border between past and future.

    Raises:
        InputError: As `check_validation`.
    """
    options = TrainSection(folds=folds, validation=validation, repeats=repeats, gap=gap)
    # a search may look at a sample in which a class has become rare: that is no error here
    lenient = "auto" if validation == "stratified" and table.classes else validation
    check_validation(table, msgspec.structs.replace(options, validation=lenient))
    policy = _policy(table, validation)
    folds = min(folds, len(table) // 2)
    if policy == "time":
        assert table.times is not None
        return _by_time(table.times, folds, gap)
    cut = {"group": _by_group, "stratified": _stratified, "k_fold": _by_chance}[policy]
    times = repeats if validation == "repeated" else 1
    return [fold for number in range(times) for fold in cut(table, folds, seed + number)]


def _policy(
    table: Table, validation: Validation
) -> Literal["time", "group", "stratified", "k_fold"]:
    """What `auto` and `repeated` come to, and whether the rest can be."""
    regression = table.task == "regression"
    if validation == "time" and table.times is None:
        raise InputError(
            "validation = 'time' needs a time column", where=_WHERE, fix="name it in [data] time"
        )
    if validation == "group" and table.groups is None:
        raise InputError(
            "validation = 'group' needs a group column", where=_WHERE, fix="name it in [data] group"
        )
    if validation == "stratified" and regression:
        raise InputError(
            "validation = 'stratified' keeps the shares of classes, and a regression has none",
            where=_WHERE,
            fix="say validation = 'k_fold'",
        )
    if validation == "repeated" and table.times is not None:
        raise InputError(
            "validation = 'repeated' shuffles, and past and future can be cut in one way only",
            where=_WHERE,
            fix="say validation = 'time', or leave out [data] time",
        )
    if validation not in ("auto", "repeated"):
        return validation  # type: ignore[return-value]  # the four that are left
    if table.times is not None:
        return "time"
    if table.groups is not None:
        return "group"
    return "k_fold" if regression else "stratified"


def _check_classes(table: Table, folds: int) -> None:
    counts = np.bincount(table.labels.astype(np.int64), minlength=len(table.classes))
    rarest = int(counts.argmin())
    if counts[rarest] < folds:
        raise InputError(
            f"class {table.classes[rarest]!r} has {counts[rarest]} training rows, fewer than "
            f"the {folds} folds that validation = 'stratified' would put it in",
            where="[train] folds",
            fix=f"say folds = {max(2, counts[rarest])}, merge classes, or leave validation out",
        )


def _check_groups(table: Table) -> None:
    assert table.groups is not None
    _, sizes = np.unique(table.groups, return_counts=True)
    if len(sizes) < 2:
        raise InputError(
            "all training rows are of one group: there is nothing to validate on",
            where="[data] group",
            fix="name another column, or leave group out",
        )
    share = sizes.max() / len(table)
    if share > MAX_GROUP_SHARE:
        raise InputError(
            f"one group holds {share:.0%} of the training rows: without it there is too little "
            "to train on",
            where="[data] group",
            fix="name another column, leave group out, or say validation = 'k_fold'",
        )


def _check_times(table: Table, options: TrainSection) -> None:
    assert table.times is not None
    if not _by_time(table.times, min(options.folds, len(table) // 2), options.gap):
        raise InputError(
            "no fold has both a past and a future",
            where="[data] time, [train] gap",
            fix="say a smaller gap, or name a column in which more moments differ",
        )


def _by_chance(table: Table, folds: int, seed: int) -> list[Fold]:
    cut = KFold(folds, shuffle=True, random_state=seed)
    return [Fold(a, b) for a, b in cut.split(np.arange(len(table)))]


def _stratified(table: Table, folds: int, seed: int) -> list[Fold]:
    rows = np.arange(len(table))
    labels = table.labels.astype(np.int64)
    rare = np.bincount(labels)[labels] < folds
    common = rows[~rare]
    if not len(common):
        return _by_chance(table, folds, seed)
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [
        Fold(np.sort(np.concatenate([common[a], rows[rare]])), common[b])
        for a, b in cut.split(common, labels[common])
    ]


def _by_group(table: Table, folds: int, seed: int) -> list[Fold]:
    """Whole groups; of two classes or more their shares too, as far as the groups allow."""
    assert table.groups is not None
    rows, groups = np.arange(len(table)), table.groups
    count = len(np.unique(groups))
    folds = min(folds, count)
    if table.classes and count <= _MANY_GROUPS:
        counts = np.bincount(table.labels.astype(np.int64))
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        if counts.max() >= folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a class rarer than the folds
                parts = [Fold(a, b) for a, b in cut.split(rows, table.labels, groups)]
            if all(len(part.train) and len(part.valid) for part in parts):
                return parts
    plain = GroupKFold(folds, shuffle=True, random_state=seed)
    return [Fold(a, b) for a, b in plain.split(rows, groups=groups)]


def _by_time(times: NDArray[np.float64], folds: int, gap: int) -> list[Fold]:
    """Growing pasts, each against the rows that come next (Hyndman and Athanasopoulos, 5.10)."""
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    ideal = [round(len(times) * part / (folds + 1)) for part in range(1, folds + 1)]
    borders = [int(np.searchsorted(ordered, ordered[place], "left")) for place in ideal]
    borders = [*dict.fromkeys(borders), len(times)]
    return [
        Fold(order[: start - gap], order[start:end])
        for start, end in itertools.pairwise(borders)
        if start - gap > 0 and end > start
    ]


def nested_estimate(
    table: Table,
    fit: Callable[[Table], Scores],
    metric: Metric,
    options: TrainSection,
) -> Nested:
    """Estimate a whole procedure, its choices included, on rows that it never saw.

    An outer loop of folds; in each the procedure (search, calibration, …) runs anew on the
    training part and is scored on the rest (Varma and Simon, 2006; Cawley and Talbot, 2010).

    Args:
        table: The training rows.
        fit: The procedure: rows -> what scores further rows.
        metric: What to score by; rows weigh as in `table.weights`.
        options: `[train]`: folds and how to cut them.

    Raises:
        InputError: As `check_validation`; or the metric is undefined on every fold.
    """
    values: list[float | None] = []
    cut = make_folds(
        table,
        options.folds,
        options.seed,
        validation=options.validation,
        repeats=options.repeats,
        gap=options.gap,
    )
    for fold in cut:
        valid = table.take(fold.valid)
        scores = fit(table.take(fold.train))(valid.frame)
        value = metric(valid.labels, scores, valid.weights)
        values.append(value if np.isfinite(value) else None)
    known = [value for value in values if value is not None]
    if not known:
        raise InputError(
            f"{metric.name} is undefined on every outer fold",
            where="[train] nested",
            fix="choose another [train] metric or fewer folds",
        )
    return Nested(
        metric=metric.name,
        score=float(np.mean(known)),
        spread=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        scores=tuple(values),
    )
