"""Realised quality: what labels say of predictions, by period, version and slice.

A prediction counts only when it is old enough for its label (`Quality.delay_days`): fresh periods,
of which only the quickest labels are known, would look better or worse than they are.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle import Bundle
from roadworthy.evaluate import Estimate, Scored, Slice
from roadworthy.evaluate.metrics import calibration_bins, mean_interval
from roadworthy.evaluate.resample import Floats
from roadworthy.evaluate.slices import measures, slice_report
from roadworthy.evaluate.stability import Gap, compare_parts
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.findings import Finding

PeriodLength = Literal["day", "week", "month"]
_DAY = 86400.0
_MIN_ROWS = 30
_UNKNOWN = 0.05
"""Share of labels that no typing error explains."""
_P_VALUE = 0.001
_MATTERS = {"accuracy": 0.01, "log_loss": 0.05, "mae": 0.05}
"""Drops below which nobody acts: points of accuracy; shares of the loss or error itself."""
_CALIBRATION = 0.02


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Quality over one period, or of one version.

    Attributes:
        start: First moment, ISO 8601 in UTC.
        end: The moment after the last.
        version: The version; empty for all.
        rows: Predictions.
        labelled: Those whose label is known.
        mature: Whether all of them are old enough for their labels.
        metrics: Metric -> estimate with its interval; `calibration_gap` is the mean probability of
            the positive class less its share, of more than two classes that of the most probable
            one less how often it came true; `bias` the mean prediction less the mean truth.
    """

    start: str
    end: str
    version: str = ""
    rows: int
    labelled: int
    mature: bool
    metrics: dict[str, Estimate]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far probabilities can be believed.

    Attributes:
        error: Mean distance of claimed and true share over bins of equal rows, above what chance
            alone makes of a perfect model.
        p_value: That the probabilities are right (Hosmer and Lemeshow 1980, on claimed shares).
        gap: Mean claimed less true share.
    """

    error: float
    p_value: float
    gap: float

    @property
    def off(self) -> bool:
        """Whether they are off beyond chance, and by enough to matter."""
        return self.p_value < _P_VALUE and self.error > _CALIBRATION


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What labels say.

    Attributes:
        rows: Predictions.
        labelled: Those whose label is known.
        delay_days: Age from which a label is expected.
        metrics: Metric -> estimate over all labelled rows that are old enough.
        periods: Over time, oldest first.
        versions: Of each version, by first prediction.
        slices: Of subgroups, over the newest mature half of the labelled rows.
        calibration: Of the newest mature period; None for a regression or few rows.
        drops: The newest mature period against the holdout.
        unknown_ids: Labels that belong to no prediction.
        unknown_values: Labels that are no class or number of the target -> rows.
    """

    rows: int
    labelled: int
    delay_days: float
    metrics: dict[str, Estimate]
    periods: tuple[Period, ...]
    versions: tuple[Period, ...]
    slices: tuple[Slice, ...]
    calibration: Calibration | None
    drops: tuple[Gap, ...]
    unknown_ids: int
    unknown_values: dict[str, int]


def quality(
    outcomes: Outcomes,
    *,
    reference: Mapping[str, Estimate] | None = None,
    period: PeriodLength = "week",
    slices: Sequence[str] = (),
    delay_days: float | None = None,
    now: float | None = None,
) -> Quality:
    """Measure realised quality.

    Args:
        outcomes: Predictions with their labels.
        reference: The metrics of the holdout, to compare with.
        period: What to tell it by.
        slices: Columns to cut by; empty takes every category of few levels.
        delay_days: Age from which a label is expected; None: as labels came so far.
        now: Seconds since 1970; None takes the time of the newest prediction or label, and where
            that is still to come the clock's: one host whose clock is ahead makes nothing older.
    """
    times = outcomes.predictions.times
    delay = outcomes.delay() if delay_days is None else delay_days * _DAY
    known_times = outcomes.label_times[outcomes.known]
    newest = max([*times.max(initial=0.0, keepdims=True), known_times.max(initial=0.0)])
    moment = min(float(newest), time.time()) if now is None else now
    mature = times <= moment - delay
    counted = mature & outcomes.known
    scored = outcomes.take(counted).scored()
    periods = _periods(outcomes, period, mature)
    recent = _recent(outcomes, periods, counted)
    return Quality(
        rows=len(outcomes),
        labelled=int(outcomes.known.sum()),
        delay_days=delay / _DAY,
        metrics=_measure(scored),
        periods=tuple(periods),
        versions=tuple(_versions(outcomes, mature)),
        slices=_slices(outcomes, counted, slices),
        calibration=calibration(recent),
        drops=_drops(recent, reference or {}),
        unknown_ids=outcomes.unknown_ids,
        unknown_values=outcomes.unknown_values,
    )


def holdout_metrics(bundle: Bundle) -> dict[str, Estimate]:
    """The metrics of the holdout, as the bundle's report keeps them."""
    try:
        return msgspec.convert(bundle.report["metrics"], dict[str, Estimate])
    except (KeyError, msgspec.ValidationError):
        return {}


def _measure(scored: Scored) -> dict[str, Estimate]:
    if not len(scored):
        return {}
    found = measures(scored, np.ones(len(scored), dtype=bool))
    if not scored.regression and "calibration_gap" not in found:
        right = scored.scores.argmax(axis=1) == scored.codes
        found["calibration_gap"] = mean_interval(scored.scores.max(axis=1) - right)
    return found


def _period_starts(times: Floats, period: PeriodLength) -> list[datetime]:
    """The edges of the periods that hold the times, one more than there are periods."""
    if not len(times):
        return []
    first = datetime.fromtimestamp(float(times.min()), UTC)
    last = datetime.fromtimestamp(float(times.max()), UTC)
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "week":
        start -= timedelta(days=start.weekday())
    elif period == "month":
        start = start.replace(day=1)
    edges = [start]
    while edges[-1] <= last and len(edges) < 5000:
        edges.append(_next(edges[-1], period))
    return edges


def _next(start: datetime, period: PeriodLength) -> datetime:
    if period == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if period == "week" else 1)


def _periods(outcomes: Outcomes, period: PeriodLength, mature: NDArray[np.bool_]) -> list[Period]:
    times = outcomes.predictions.times
    edges = _period_starts(times, period)
    found = []
    for start, end in itertools.pairwise(edges):
        inside = (times >= start.timestamp()) & (times < end.timestamp())
        if inside.any():
            found.append(_period(outcomes, inside, mature, start, end))
    return found


def _versions(outcomes: Outcomes, mature: NDArray[np.bool_]) -> list[Period]:
    names, times = outcomes.predictions.keys["version"], outcomes.predictions.times
    found = []
    for name in names.unique(maintain_order=True):
        inside = (names == name).to_numpy()
        start, end = (
            datetime.fromtimestamp(t, UTC) for t in (times[inside].min(), times[inside].max())
        )
        entry = _period(outcomes, inside, mature, start, end)
        found.append(msgspec.structs.replace(entry, version=str(name)))
    return found


def _period(
    outcomes: Outcomes,
    inside: NDArray[np.bool_],
    mature: NDArray[np.bool_],
    start: datetime,
    end: datetime,
) -> Period:
    counted = inside & outcomes.known & mature
    scored = outcomes.take(counted).scored()
    return Period(
        start=start.isoformat(timespec="seconds"),
        end=end.isoformat(timespec="seconds"),
        rows=int(inside.sum()),
        labelled=int((inside & outcomes.known).sum()),
        mature=bool(mature[inside].all()),
        metrics=_measure(scored),
    )


def _recent(outcomes: Outcomes, periods: Sequence[Period], counted: NDArray[np.bool_]) -> Scored:
    """The labelled rows of the newest mature period that has enough of them."""
    times = outcomes.predictions.times
    for entry in reversed(periods):
        start = datetime.fromisoformat(entry.start).timestamp()
        inside = counted & (times >= start)
        if inside.sum() >= _MIN_ROWS * 3:
            return outcomes.take(inside).scored()
    return outcomes.take(counted).scored()


def _slices(
    outcomes: Outcomes, counted: NDArray[np.bool_], named: Sequence[str]
) -> tuple[Slice, ...]:
    rows = np.flatnonzero(counted)
    half = np.zeros(len(counted), dtype=bool)
    half[rows[len(rows) // 2 :]] = True
    scored = outcomes.take(half).scored()
    present = [name for name in named if name in scored.table.frame.columns]
    return slice_report(scored, present) if len(scored) >= 2 * _MIN_ROWS else ()


def calibration(scored: Scored) -> Calibration | None:
    """Whether claimed probabilities come true; None for a regression or few rows."""
    if scored.regression or len(scored) < 3 * _MIN_ROWS:
        return None
    from scipy.special import chdtrc  # the chi-squared distribution

    bins, surplus = calibration_bins(scored.codes, scored.scores)
    claimed = scored.scores[:, 1] if scored.scores.shape[1] == 2 else scored.scores.max(axis=1)
    noise = claimed * (1.0 - claimed)
    distance = statistic = 0.0
    used = np.unique(bins)
    for code in used:
        inside = bins == code
        excess, variance = float(surplus[inside].sum()), float(noise[inside].sum())
        statistic += excess**2 / max(variance, 1e-12)
        by_chance = math.sqrt(2.0 / math.pi * variance)
        distance += max(0.0, abs(excess) - by_chance) / len(scored)
    return Calibration(
        error=distance, p_value=float(chdtrc(len(used), statistic)), gap=float(surplus.mean())
    )


def _drops(recent: Scored, reference: Mapping[str, Estimate]) -> tuple[Gap, ...]:
    here = _measure(recent)
    names = ("mae",) if recent.regression else ("accuracy", "log_loss", "roc_auc")
    return tuple(
        compare_parts(name, "holdout", "production", reference[name], here[name])
        for name in names
        if name in reference and name in here
    )


def findings(found: Quality) -> list[Finding]:
    """What is worth telling of realised quality, the worst first."""
    since = _since(found)
    told = [entry for gap in found.drops if (entry := _drop_finding(gap, since)) is not None]
    probabilities = found.calibration
    if probabilities is not None and probabilities.off:
        told.append(_calibration_finding(probabilities, since))
    if found.unknown_values:
        shown = ", ".join(sorted(found.unknown_values)[:5])
        rows = sum(found.unknown_values.values())
        share = rows / (rows + found.labelled)
        grave = rows >= _MIN_ROWS and share >= _UNKNOWN
        told.append(
            Finding(
                kind="unseen",
                severity="serious" if grave else "warning",
                subject="label",
                what=f"{share:.1%} of labels are none that the model knows: {shown}",
                evidence={"rows": rows, "share": share},
                fix="correct the labels at their source; a new class needs a new model",
            )
        )
    return told


def _since(found: Quality) -> datetime | None:
    mature = [entry for entry in found.periods if entry.mature and entry.labelled]
    return datetime.fromisoformat(mature[-1].start) if mature else None


def _drop_finding(gap: Gap, since: datetime | None) -> Finding | None:
    drop, before, after = gap.drop.value, gap.on_first.value, gap.on_second.value
    if drop is None or before is None or after is None or gap.metric not in _MATTERS:
        return None
    if gap.p_value is None or gap.p_value > _P_VALUE:
        return None
    least = _MATTERS[gap.metric] * (1.0 if gap.metric == "accuracy" else abs(before))
    if drop < least:
        return None
    evidence: dict[str, Any] = {
        "metric": gap.metric, "holdout": before, "production": after, "drop": drop,
        "low": gap.drop.low, "high": gap.drop.high, "p_value": gap.p_value,
    }  # fmt: skip
    return Finding(
        kind="quality_drop",
        severity="serious" if drop >= 3 * least else "warning",
        subject="prediction",
        what=f"{gap.metric} is {after:.3g} in production; on the holdout it was {before:.3g}",
        evidence=evidence,
        since=since,
        fix="roadworthy advise",
    )


def _calibration_finding(found: Calibration, since: datetime | None) -> Finding:
    return Finding(
        kind="calibration",
        severity="warning",
        subject="prediction",
        what=f"probabilities are off by {found.error:.1%} beyond chance",
        evidence={"error": found.error, "p_value": found.p_value, "gap": found.gap},
        since=since,
        fix="roadworthy advise",
    )
