"""Labels that are broken on their way: what is learned from them is wrong, and inputs show nothing.

Recent labels are laid beside older ones and beside what the model answered. A world that changes
does not exchange two outcomes whole, multiply all of them by a hundred or stop at a limit; a code
list, a unit, a default or a job that sends only some labels does.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.findings import Finding, Kind

_MIN_ROWS = 200
_ERRORS = 3.0
_UNIT = math.log(3.0)
_FILLER, _RARE = 0.1, 0.01
_USUAL, _NEVER = 0.05, 0.005
_FEWER = 0.75
_TINY = 1e-9
_HELP = "look at how labels are made and joined, and put them right there before learning from them"


def broken_labels(
    recent: Outcomes, older: Outcomes, since: datetime | None = None
) -> list[Finding]:
    """What recent labels show to be broken in themselves.

    Args:
        recent: Recent rows.
        older: Those before.
        since: From when the recent ones are, for messages.
    """
    now, then = (part.take(part.known) for part in (recent, older))
    if min(len(now), len(then)) < _MIN_ROWS:
        return []
    if now.target.classes:
        told = _exchanged(now, then)
    else:
        told = _in_another_unit(now, then) or _filled(now, then)
    if told is None:
        return []
    return [Finding(told[0], "serious", "label", told[1], {"rows": len(now)}, since, _HELP)]


def missing_class(recent: Outcomes, older: Outcomes) -> str | None:
    """A class of which no label arrives any more, although it was usual among older labels.

    Whether the world or the way of the labels changed, such labels cannot say: what is learned
    from them is that there is no other class.
    """
    names = recent.target.class_names
    now, then = recent.labels[recent.known], older.labels[older.known]
    if not names or min(len(now), len(then)) < _MIN_ROWS:
        return None
    usual = [float((then == code).mean()) for code in range(len(names))]
    gone = [
        (share, names[code])
        for code, share in enumerate(usual)
        if share > _USUAL and not (now == code).any()
    ]
    return max(gone)[1] if gone else None


def missing_numbers(recent: Outcomes, older: Outcomes) -> str | None:
    """A range of numbers of which no label arrives, although such were usual, and are predicted.

    Where the world changed instead, rows that are predicted there have labels as others have.
    """
    now, then = recent.labels[recent.known], older.labels[older.known]
    if recent.target.classes or min(len(now), len(then)) < _MIN_ROWS:
        return None
    for sign, side in ((1.0, "above"), (-1.0, "below")):
        limit = float(np.quantile(sign * now, 1.0 - _NEVER))
        usual = float((sign * then > limit).mean())
        if usual < _USUAL:
            continue
        score = sign * recent.predictions.scores
        there = score > np.quantile(score, 1.0 - usual)
        labelled, others = (float(recent.known[part].mean()) for part in (there, ~there))
        if labelled < _FEWER * others:
            return f"{side} {sign * limit:.4g}"
    return None


_Told = tuple[Kind, str] | None


def _exchanged(now: Outcomes, then: Outcomes) -> _Told:
    """Classes whose labels changed places: with them put back answers are as good as before."""
    from scipy.optimize import linear_sum_assignment

    losses, before = (-np.log(np.clip(each.predictions.scores, _TINY, 1.0)) for each in (now, then))
    codes, rows = now.labels.astype(np.int64), np.arange(len(now))
    classes = np.arange(losses.shape[1])
    cost = np.stack([losses[codes == code].sum(axis=0) for code in classes])
    cost[classes, classes] -= _TINY  # a class that does not come stays where it is
    back = linear_sum_assignment(cost)[1]
    moved = np.flatnonzero((back != classes) & (cost.max(axis=1) > 0))
    was = before[np.arange(len(then)), then.labels.astype(np.int64)]
    present, mended = losses[rows, codes], losses[rows, back[codes]]
    if not len(moved) or not _beyond(present - mended) or not _as_good(mended, was):
        return None
    names = now.target.class_names
    said = ", ".join(f"{names[code]!r} for {names[back[code]]!r}" for code in moved.tolist())
    return (
        "renamed_category",
        f"labels changed places ({said[:120]}); put back, answers are as good as before",
    )


def _in_another_unit(now: Outcomes, then: Outcomes) -> _Told:
    """Numbers that are all some times as large: divided, answers are as good as before."""
    factor = _size(now) / max(_size(then), _TINY)
    if factor <= 0 or abs(math.log(factor)) < _UNIT:
        return None
    if _as_good(_squares(now), _squares(then)) or not _as_good(
        _squares(now, factor), _squares(then)
    ):
        return None
    return (
        "unit_change",
        f"labels are {factor:.4g} times as large beside the answers as before, and divided by that "
        "answers are as good as they were: another unit",
    )


def _filled(now: Outcomes, then: Outcomes) -> _Told:
    """One value that stands in for many: it hardly came before, and the others are as they were."""
    values, counts = np.unique(now.labels, return_counts=True)
    value, share = float(values[counts.argmax()]), float(counts.max() / len(now))
    others = now.take(now.labels != value)
    if share < _FILLER or float((then.labels == value).mean()) > _RARE or len(others) < _MIN_ROWS:
        return None
    if not _as_good(_squares(others), _squares(then)):
        return None
    return (
        "stuck",
        f"{share:.0%} of the labels are {value:g}, which hardly came before, and the others are as "
        "they were: a value that is filled in",
    )


def _size(outcomes: Outcomes) -> float:
    """How large labels are beside the answers."""
    labels, answers = (
        float(np.median(np.abs(each))) for each in (outcomes.labels, outcomes.predictions.scores)
    )
    return labels / max(answers, _TINY)


def _squares(outcomes: Outcomes, factor: float = 1.0) -> Floats:
    found: Floats = (outcomes.labels / factor - outcomes.predictions.scores) ** 2
    return found


def _as_good(losses: Floats, before: Floats) -> bool:
    """Whether losses are no worse than they were, but for chance."""
    noise = float(np.hypot(*(each.std() / np.sqrt(len(each)) for each in (losses, before))))
    return float(losses.mean() - before.mean()) <= _ERRORS * noise


def _beyond(won: Floats) -> bool:
    """Whether rows win beyond chance."""
    return float(won.mean()) > _ERRORS * float(won.std() / np.sqrt(len(won)))
