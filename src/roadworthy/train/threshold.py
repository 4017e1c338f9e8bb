"""Choose the probability from which the positive class is answered."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Target
from roadworthy.errors import InputError
from roadworthy.project import DecisionOptions
from roadworthy.table import Table
from roadworthy.train.record import ThresholdChoice
from roadworthy.train.scoring import Floats, Index, class_code

Hits = NDArray[np.bool_]

DEFAULT = 0.5
_WHERE = "[train.decision]"
_REPLICATES = 200
_MOST_ROWS = 50_000
_DIGITS = 9
_FEW = 10
"""Answered rows below which a precision is luck."""


class _Aim(NamedTuple):
    """What a threshold must serve.

    Attributes:
        measure: What it is measured by.
        floor: Least recall or precision; 0 without a floor.
        false_positive: Cost of one.
        false_negative: Cost of one.
    """

    measure: str
    floor: float = 0.0
    false_positive: float = 1.0
    false_negative: float = 1.0


class _Cuts(NamedTuple):
    """Rows sorted by falling probability, and after which of them a threshold can fall.

    Attributes:
        order: Rows `[N]`.
        hits: Whether each sorted row is positive `[N]`.
        ends: Rows answered as positive, at each cut `[C]`, growing from 0.
        thresholds: The threshold of each cut `[C]`, falling.
    """

    order: Index
    hits: Floats
    ends: Index
    thresholds: Floats


class _Counts(NamedTuple):
    """Weighted counts at each cut `[C]`; `claims` counts rows."""

    true_positive: Floats
    false_positive: Floats
    false_negative: Floats
    true_negative: Floats
    claims: Floats


def check_decision(table: Table, options: DecisionOptions) -> None:
    """Refuse, before any work, a decision that the task does not have.

    Raises:
        InputError: The task does not have two classes, or the positive one is none of them.
    """
    fixed = options.threshold != "auto"
    if not (fixed or options.aims or options.positive is not None):
        return
    if table.task != "binary":
        key = ("threshold", *options.aims, "positive")[0 if fixed else 1]
        raise InputError(
            f"{key} decides between two classes, and this is a {table.task} task",
            where=_WHERE,
            fix=f"leave out {key}",
        )
    if options.positive is not None:
        class_code(table.classes, options.positive)


def decided_target(
    target: Target, options: DecisionOptions, choice: ThresholdChoice | None
) -> Target:
    """The target with the positive class and threshold that are to be served."""
    if options.positive is not None:
        code = class_code(target.classes, options.positive)
        target = msgspec.structs.replace(target, positive=target.classes[code])
    return msgspec.structs.replace(target, threshold=choice.threshold if choice else None)


def choose_threshold(
    scores: Floats,
    y: Floats,
    target: Target,
    options: DecisionOptions,
    *,
    weights: Floats | None = None,
    seed: int = 0,
) -> ThresholdChoice | None:
    """Choose a threshold on out-of-fold scores.

    A threshold lies midway between two probabilities that occurred, so that no last bit decides.
    What one gains over 0.5 is told from rows that the choice did not see: in each of 200
    bootstrap replicates it is chosen anew on the rows drawn and measured on the others.

    Args:
        scores: Out-of-fold probabilities `[N, 2]`, calibrated as they will be served.
        y: Class positions `[N]`.
        target: The contract's target.
        options: `[train.decision]`.
        weights: Row weights.
        seed: Seed of the bootstrap.

    Returns:
        The choice; None where no aim is stated: the more probable class is answered.

    Raises:
        InputError: No threshold reaches the floor; says what can be reached.
    """
    code = 1
    if options.positive is not None:
        code = class_code(target.classes, options.positive)
    positive = target.class_names[code]
    if options.threshold != "auto":
        return ThresholdChoice(positive=positive, threshold=float(options.threshold))
    aim = _aim(options)
    if aim is None:
        return None
    weights = np.ones(len(y)) if weights is None else weights
    shares, hits = scores[:, code], y == code
    if not (weights * hits).any() or not (weights * ~hits).any():
        raise InputError(
            "the out-of-fold rows are all of one class: no threshold can be chosen on them",
            where=_WHERE,
            fix="leave out the aim, or validate on folds that hold both classes",
        )
    cuts = _cuts(shares, hits)
    counts = _counts(cuts, weights)
    place = _best(aim, counts, cuts.thresholds)
    if place is None:
        raise _unreachable(aim, counts, positive)
    default = _values(aim, _counts_at(shares, hits, weights, DEFAULT))
    return ThresholdChoice(
        positive=positive,
        threshold=float(cuts.thresholds[place]),
        measure=aim.measure,
        value=float(_values(aim, counts)[place]),
        default=float(default[0]),
        precision=float(_precision(counts)[place]),
        recall=float(_recall(counts)[place]),
        **_effect(_bootstrap(aim, shares, hits, weights, seed)),
    )


def _effect(replicates: Floats) -> dict[str, float]:
    if not len(replicates):
        return {}
    (low, gain_low), (high, gain_high) = np.quantile(replicates, [0.025, 0.975], axis=0)
    gain = replicates[:, 1].mean()
    values = {"low": low, "high": high, "gain": gain, "gain_low": gain_low, "gain_high": gain_high}
    return {name: float(value) for name, value in values.items()}


def _aim(options: DecisionOptions) -> _Aim | None:
    if options.cost is not None:
        return _Aim("cost", 0.0, options.cost.false_positive, options.cost.false_negative)
    if options.recall_floor is not None:
        return _Aim("recall", options.recall_floor)
    if options.precision_floor is not None:
        return _Aim("precision", options.precision_floor)
    return _Aim(options.maximise) if options.maximise is not None else None


def _cuts(positive: Floats, hits: Hits) -> _Cuts:
    positive = positive.round(_DIGITS)
    order = np.argsort(-positive, kind="stable")
    ordered = positive[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    above = np.append(1.0, ordered[last])  # the cut before any row lies between 1 and the largest
    below = np.append(ordered[last[:-1] + 1], 0.0)
    below = np.append(ordered[0], below)
    thresholds = (above + below) / 2
    thresholds[-1] = 0.0
    ends = np.append(0, last + 1)
    if ordered[0] >= 1.0:  # a probability of 1 reaches every threshold
        ends, thresholds = ends[1:], thresholds[1:]
    return _Cuts(order, hits[order].astype(np.float64), ends, thresholds)


def _counts(cuts: _Cuts, weights: Floats) -> _Counts:
    ordered = weights[cuts.order]
    hits = np.append(0.0, np.cumsum(ordered * cuts.hits))
    alarms = np.append(0.0, np.cumsum(ordered * (1.0 - cuts.hits)))
    claims = np.append(0.0, np.cumsum(ordered > 0))
    true_positive, false_positive = hits[cuts.ends], alarms[cuts.ends]
    return _Counts(
        true_positive,
        false_positive,
        hits[-1] - true_positive,
        alarms[-1] - false_positive,
        claims[cuts.ends],
    )


def _counts_at(positive: Floats, hits: Hits, weights: Floats, threshold: float) -> _Counts:
    """The counts of one threshold `[1]`."""
    reached = positive >= threshold
    cells = [reached & hits, reached & ~hits, ~reached & hits, ~reached & ~hits]
    hit, alarm, missed, right = (np.array([weights[cell].sum()]) for cell in cells)
    return _Counts(hit, alarm, missed, right, np.array([float(reached.sum())]))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _precision(counts: _Counts) -> Floats:
    return _ratio(counts.true_positive, counts.true_positive + counts.false_positive)


def _recall(counts: _Counts) -> Floats:
    return _ratio(counts.true_positive, counts.true_positive + counts.false_negative)


def _values(aim: _Aim, counts: _Counts) -> Floats:
    """The aim's measure at each cut `[C]`."""
    hit, alarm, missed, right = counts[:4]
    total = hit + alarm + missed + right
    if aim.measure == "cost":
        return _ratio(aim.false_positive * alarm + aim.false_negative * missed, total)
    if aim.measure == "f1":
        return _ratio(2 * hit, 2 * hit + alarm + missed)
    if aim.measure == "accuracy":
        return _ratio(hit + right, total)
    if aim.measure == "balanced_accuracy":
        halves: Floats = (_recall(counts) + _ratio(right, right + alarm)) / 2
        return halves
    return _recall(counts) if aim.measure == "recall" else _precision(counts)


def _best(aim: _Aim, counts: _Counts, thresholds: Floats) -> int | None:
    """The cut that serves the aim best, of equal ones that nearest to 0.5; None if none does."""
    values = _values(aim, counts)
    if aim.measure == "cost":
        values = -values
    elif aim.measure in ("recall", "precision"):
        reached = values >= aim.floor - 1e-12
        if aim.measure == "precision":
            reached &= _enough(counts)
        if not reached.any():
            return None
        other = _precision(counts) if aim.measure == "recall" else _recall(counts)
        values = np.where(reached, other, -math.inf)
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return int(best[np.abs(thresholds[best] - DEFAULT).argmin()])


def _enough(counts: _Counts) -> Hits:
    """Whether so many rows are answered as positive that their precision is no luck."""
    enough: Hits = counts.claims >= min(_FEW, counts.claims[-1])
    return enough


def _unreachable(aim: _Aim, counts: _Counts, positive: str) -> InputError:
    precision = np.where(_enough(counts), _precision(counts), 0.0)
    best = int(precision.argmax())
    recall = _recall(counts)[best]
    return InputError(
        f"no threshold gives class {positive!r} a precision of {aim.floor:g}: the best is "
        f"{precision[best]:.3g}, at a recall of {recall:.3g}",
        where=f"{_WHERE} precision_floor",
        fix=f"say precision_floor = {math.floor(precision[best] * 100) / 100:g} or less, or find "
        "columns that tell more",
    )


def _bootstrap(aim: _Aim, positive: Floats, hits: Hits, weights: Floats, seed: int) -> Floats:
    """Threshold and gain over 0.5 on the rows not drawn, `[replicates, 2]`."""
    random = np.random.default_rng(seed)
    if len(positive) > _MOST_ROWS:
        kept = random.permutation(len(positive))[:_MOST_ROWS]
        positive, hits, weights = positive[kept], hits[kept], weights[kept]
    cuts = _cuts(positive, hits)
    found = []
    rows = len(positive)
    for _ in range(_REPLICATES):
        drawn = np.bincount(random.integers(0, rows, rows), minlength=rows)
        place = _best(aim, _counts(cuts, weights * drawn), cuts.thresholds)
        if place is None:
            continue
        threshold = cuts.thresholds[place]
        rest = drawn == 0
        part = positive[rest], hits[rest], weights[rest]
        if not part[1].any() or part[1].all():
            continue
        new, old = (_values(aim, _counts_at(*part, cut))[0] for cut in (threshold, DEFAULT))
        found.append((threshold, old - new if aim.measure == "cost" else new - old))
    return np.array(found).reshape(-1, 2)
