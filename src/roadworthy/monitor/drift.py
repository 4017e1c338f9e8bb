"""Drift of columns and predictions, judged by days where days are known, else by rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.monitor.against import TRAINING, in_words, lagged
from roadworthy.monitor.days import LEARN_DAYS, DayVerdict, judge_days
from roadworthy.monitor.findings import Finding, Kind, Severity
from roadworthy.monitor.history import HOURS, History, moment, reference_days
from roadworthy.monitor.measures import PREDICTION, Measured, measure_days
from roadworthy.monitor.rows import LEVEL, RowShift, broken_pairs, compare_rows
from roadworthy.observe.counts import Cells
from roadworthy.observe.effect import effects, prediction_bins, stability_index
from roadworthy.observe.reference import Reference

_SMALL, _LARGE = 0.02, 0.25
"""Population stability index below which drift is only to know, and from which it is large."""
_MIN_ROWS = 50
_PAIRS = 5
_UNCALIBRATED = (
    "judged by rows, for there are not yet enough days: rows of one day hang together, so this may "
    "be a usual day"
)
_FIX = (
    "look whether it matters: the column's weight in the model, the predictions, the estimated "
    "quality; retrain with newer data only when it does"
)


class Judged(NamedTuple):
    """Days and what is told of them.

    Attributes:
        days: Days since 1970 `[D]`: the reference's first, then those of serving.
        first: Position of the first day that is judged.
        measured: Their measures.
        verdict: What is told.
    """

    days: NDArray[np.int64]
    first: int
    measured: Measured
    verdict: DayVerdict


def judge(
    history: History, *, learn_days: int, false_alarms: float, against: str = TRAINING
) -> Judged | None:
    """Judge the days of serving; None as long as there are too few of any.

    Args:
        history: What was counted.
        learn_days: First days of serving that are the usual where the bundle has no days.
        false_alarms: How likely a usual day alarms.
        against: What days are compared with, as `[monitor] against`.
    """
    usual = reference_days(history.reference)
    served = {day: cells for day, cells in history.complete_days().items() if day not in usual}
    served = {day: cells for day, cells in served.items() if cells[0] >= _MIN_ROWS}
    learn = len(usual) if len(usual) >= LEARN_DAYS else max(learn_days, len(usual))
    if len(usual) + len(served) <= max(learn, LEARN_DAYS):
        return None
    days = np.array([*sorted(usual), *sorted(served)], dtype=np.int64)
    cells = [*(usual[day] for day in sorted(usual)), *(served[day] for day in sorted(served))]
    measured = lagged(days, measure_days(history.reference, cells), against)
    verdict = judge_days(days, measured, learn=learn, false_alarms=false_alarms)
    return Judged(days, learn, measured, verdict)


def drift(
    history: History,
    judged: Judged | None,
    explained: set[str],
    classes: Sequence[str] = (),
    against: str = TRAINING,
) -> list[Finding]:
    """What drifts now.

    Args:
        history: What was counted.
        judged: Its days; None takes the newest day's rows, and says so.
        explained: Columns whose data are broken: their drift is no news.
        classes: Names of the classes.
        against: What the history's reference is, as `[monitor] against`.
    """
    newest = _newest(history)
    if newest is None:
        return []
    day, cells = newest
    found = (
        _by_rows(history, day, cells, in_words(against))
        if judged is None
        else _by_days(history, judged, cells, classes, in_words(against))
    )
    told = [finding for finding in found if finding.subject not in explained]
    return told + _correlations(history, day, cells, explained, in_words(against))


def _newest(history: History) -> tuple[int, Cells] | None:
    """The last day that is over, else the present one."""
    days = history.complete_days() or history.days
    last = max(days, default=None)
    if last is None or days[last][0] < _MIN_ROWS:
        return None
    return last, days[last]


def _by_days(
    history: History, judged: Judged, cells: Cells, classes: Sequence[str], before: str
) -> list[Finding]:
    verdict = judged.verdict
    alarms: dict[str, list[int]] = {}
    for place in np.flatnonzero(verdict.alarms[-1]):
        alarms.setdefault(judged.measured.measures[place].subject, []).append(int(place))
    sizes = _sizes(history.reference, cells)
    found = []
    for subject, places in alarms.items():
        surest = max(places, key=lambda place: abs(float(verdict.scores[-1, place])))
        score = float(verdict.scores[-1, surest])
        name = judged.measured.measures[surest].name
        if subject == PREDICTION and name.startswith("class ") and classes:
            name = f"class {classes[int(name.removeprefix('class '))]!r}"
        since = int(judged.days[min(int(verdict.since[-1, place]) for place in places)])
        evidence: dict[str, float | int | str] = {
            "measure": name,
            "deviation": score,
            "p_value": float(verdict.p_values[-1, surest]),
            "rows": int(cells[0]),
            "days": int(judged.first),
            **sizes.get(subject, {}),
        }
        found.append(_finding(subject, name, score > 0, evidence, since, before, calibrated=True))
    return found


def _by_rows(history: History, day: int, cells: Cells, before: str) -> list[Finding]:
    sizes = _sizes(history.reference, cells)
    told: dict[str, RowShift] = {}
    for shift in compare_rows(history.reference, cells):
        if shift.p_value < LEVEL:
            told.setdefault(shift.subject, shift)
    found = []
    for subject, shift in told.items():
        evidence: dict[str, float | int | str] = {
            "measure": shift.name,
            "size": shift.size,
            "p_value": shift.p_value,
            "rows": int(cells[0]),
            **sizes.get(subject, {}),
        }
        up = sizes.get(subject, {}).get("shift", 0.0) > 0
        found.append(_finding(subject, shift.name, up, evidence, day, before, calibrated=False))
    return found


def _sizes(reference: Reference, cells: Cells) -> Mapping[str, Mapping[str, float]]:
    found = {
        name: {"psi": each.psi, "shift": each.shift, "blank": each.blank}
        for name, each in effects(reference, cells).items()
    }
    layout = reference.layout
    old, new = (prediction_bins(layout, its) for its in (reference.cells, cells))
    return {**found, PREDICTION: {"psi": stability_index(old, new)}}


def _finding(
    subject: str,
    measure: str,
    up: bool,
    evidence: dict[str, float | int | str],
    since: int,
    before: str,
    *,
    calibrated: bool,
) -> Finding:
    psi = float(evidence.get("psi", 0.0))
    severity: Severity = "info" if psi < _SMALL or not calibrated else "warning"
    kind: Kind = "drift"
    if subject == PREDICTION:
        kind, severity = "prediction_drift", "warning" if calibrated else "info"
    elif measure == "blank":
        kind = "blank_rate"
    size = "small" if psi < _SMALL else "large" if psi >= _LARGE else "moderate"
    often = f"{'more' if up else 'less'} often than usual"
    name = "the predictions" if subject == PREDICTION else f"the values of {subject!r}"
    words = {
        "shift": f"{name} lie {'higher' if up else 'lower'} than usual",
        "spread": f"{name} spread {'further' if up else 'less far'} than usual",
        "blank": f"{subject!r} is blank {often}",
        "shape": f"{name} are distributed otherwise than {before}",
    }
    other = f"level {measure!r} of {subject!r} comes {often}"
    if subject == PREDICTION:
        other = f"{measure} is answered {often}"
    what = words.get(measure, other)
    what += f" (a {size} difference, PSI {psi:.3f})"
    if not calibrated:
        what += f"; {_UNCALIBRATED}"
    return Finding(kind, severity, subject, what, evidence, moment(since * HOURS), _FIX)


def _correlations(
    history: History, day: int, cells: Cells, explained: set[str], before: str
) -> list[Finding]:
    found = []
    for pair in broken_pairs(history.reference, cells):
        if {pair.first, pair.second} & explained:
            continue
        found.append(
            Finding(
                "correlation",
                "warning",
                pair.first,
                f"{pair.first!r} and {pair.second!r} do not hang together as {before} "
                f"(Cramér's V {pair.before:.2f}, now {pair.now:.2f})",
                {
                    "other": pair.second, "before": pair.before, "now": pair.now,
                    "difference": pair.difference, "p_value": pair.p_value, "rows": int(cells[0]),
                },
                moment(day * HOURS),
                "check how the two are joined: rows that are shifted against each other, a wrong "
                "key; if both are right, the world changed: retrain",
            )
        )  # fmt: skip
    return found[:_PAIRS]
