"""Join it all: from logged predictions, labels and findings to advice."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from datetime import UTC, datetime

import numpy as np

from roadworthy.bundle import Bundle
from roadworthy.evaluate import Scored, Slice
from roadworthy.evaluate.resample import Floats
from roadworthy.monitor import estimate, logged
from roadworthy.monitor.advice.gains import Gains, measure_gains
from roadworthy.monitor.advice.rules import Action, decide
from roadworthy.monitor.advice.situation import Situation, Swap
from roadworthy.monitor.before import distance, findings_against_older
from roadworthy.monitor.broken_days import broken_since, healed_days
from roadworthy.monitor.broken_labels import broken_labels, missing_class, missing_numbers
from roadworthy.monitor.estimate import ConfidenceEstimator, DirectEstimator, Estimator
from roadworthy.monitor.feedback import Outcomes, label_findings
from roadworthy.monitor.findings import BROKEN_DATA, Finding
from roadworthy.monitor.predictions import Predictions
from roadworthy.monitor.quality import PeriodLength, Quality, holdout_metrics, quality
from roadworthy.monitor.quality import findings as quality_findings
from roadworthy.prepare.columns import encode_columns

_DAY, _WEEK = 86400.0, 7 * 86400.0
_ALL, _SAME = 0.9, 0.2
_CHANGES = 4
"""Beginnings of changes from which rows are laid beside those before, at most."""
_MIN_REFERENCE = 300
_SEEN_ON_ROWS = ("range", "unit_change", "unseen")


def advise(
    bundle: Bundle,
    outcomes: Outcomes,
    *,
    since: datetime | None = None,
    findings: Sequence[Finding] | None = None,
    swap: Swap | None = None,
    before: Bundle | None = None,
    period: PeriodLength = "week",
    delay_days: float | None = None,
) -> tuple[Situation, tuple[Action, ...]]:
    """What to do about a model in production.

    Args:
        bundle: The model in production.
        outcomes: Its logged predictions, with what labels are known; older rows serve as the
            reference of estimates.
        since: From when rows are recent; None takes the newest third of their time.
        findings: Of part one's counts; None looks at the logged rows themselves.
        swap: The last swap of versions.
        before: The version that it replaced, to compare with.
        period: What quality is told by.
        delay_days: Age from which a label is expected.

    Returns:
        What is known, and the ranked actions.
    """
    situation = look(
        bundle, outcomes, since=since, findings=findings, swap=swap, before=before,
        period=period, delay_days=delay_days,
    )  # fmt: skip
    return situation, decide(situation)


def look(
    bundle: Bundle,
    outcomes: Outcomes,
    *,
    since: datetime | None = None,
    findings: Sequence[Finding] | None = None,
    swap: Swap | None = None,
    before: Bundle | None = None,
    period: PeriodLength = "week",
    delay_days: float | None = None,
) -> Situation:
    """Everything that advice is decided on; arguments as `advise`."""
    labels = label_findings(outcomes, delay_days)
    mine = (outcomes.predictions.keys["version"] == bundle.version).to_numpy()
    if mine.any():  # what another version answered says nothing of this one
        outcomes = outcomes.take(mine)
    over, healed = healed_days(outcomes.predictions)
    outcomes = outcomes.take(~over)
    if findings is not None:
        well = {each.subject for each in healed}
        findings = [f for f in findings if f.kind not in BROKEN_DATA or f.subject not in well]
    start = recent_since(outcomes.predictions.times) if since is None else since.timestamp()
    young = outcomes.predictions.times >= start
    recent, older = outcomes.take(young), outcomes.take(~young)
    moment = datetime.fromtimestamp(start, UTC) if math.isfinite(start) else None
    told = _findings(recent.predictions, moment, findings)
    known = {(each.kind, each.subject) for each in told}
    changed = change_point(outcomes)
    drifted = {each.since for each in told if each.kind == "drift"}
    against = _against_before(bundle, outcomes, start, {changed, *drifted} - {None})
    told += [each for each in against if (each.kind, each.subject) not in known]
    reference = holdout_metrics(bundle)
    told += [*labels, *healed]
    measured: Quality | None = None
    if recent.known.any():
        measured = quality(recent, reference=reference, period=period, delay_days=delay_days)
        told += quality_findings(measured)
    made = _estimator(bundle, older)
    expected: dict[str, estimate.Expected] = {}
    gaps: tuple[estimate.ConceptGap, ...] = ()
    if made is not None:
        expected, gaps = made.estimate(recent.predictions), estimate.concept_gap(recent, made)
    values = {name: each.value for name, each in reference.items() if each.value is not None}
    told += estimate.findings(gaps, expected, reference)
    labelled = recent.take(recent.known)
    scored = labelled.scored()
    lacking = missing_class(recent, older) or missing_numbers(recent, older)
    return Situation(
        model=bundle.manifest.name,
        target=bundle.contract.target,
        rows=len(recent),
        labelled=len(labelled),
        findings=tuple(told),
        quality=measured,
        gaps=gaps,
        expected=expected,
        reference=values,
        gains=Gains() if lacking else _gains(bundle, labelled, scored, before),
        importance=_importance(bundle),
        changed=changed,
        swap=swap,
        worst_slice=_worst(measured),
        missing_class=lacking,
    )


def _against_before(
    bundle: Bundle, outcomes: Outcomes, start: float, changes: Set[datetime | None]
) -> list[Finding]:
    """What recent rows show beside those before, or what began later shows beside its week before.

    A break that began among the recent rows is hidden by those of them that were well: asked are
    also the rows since losses changed or a column drifted, and those of the newest day.
    """
    times = outcomes.predictions.times
    if not len(times):
        return []
    later = {each.timestamp() for each in changes if each} | {float(times.max()) // _DAY * _DAY}
    newest = sorted((each for each in later if each > start), reverse=True)[:_CHANGES]
    for begin in (start, *newest):
        young = times >= begin
        before = ~young if begin == start else ~young & (times >= begin - _WEEK)
        moment = datetime.fromtimestamp(begin, UTC) if math.isfinite(begin) else None
        recent, older = outcomes.take(young), outcomes.take(before)
        found = findings_against_older(bundle, recent, older, moment)
        found = found or broken_labels(recent, older, moment)
        if found:
            return found
    return []


def _findings(
    recent: Predictions, moment: datetime | None, counted: Sequence[Finding] | None
) -> list[Finding]:
    """What the counts say, and where rows are logged what they say of numbers.

    Counts know bins: whether numbers that left their range are in another unit or of another world
    is seen on the numbers themselves, so the rows decide that where there are any.
    """
    rows = logged.logged_findings(recent, moment)
    if counted is None:
        return [each if each.kind == "drift" else _since_it_began(each, recent) for each in rows]
    if len(recent) < logged.MIN_ROWS:
        return list(counted)
    kept = [finding for finding in counted if finding.kind not in _SEEN_ON_ROWS]
    known = {finding.subject for finding in kept if finding.kind in BROKEN_DATA}
    young = [
        found
        for each in counted
        if each.kind in _SEEN_ON_ROWS and (found := _on_young_rows(each, recent)) is not None
    ]
    known |= {finding.subject for finding in young}
    broken = [each for each in rows if each.kind != "drift" and each.subject not in known]
    return [*(_since_it_began(each, recent) for each in (*young, *broken)), *kept]


def _on_young_rows(finding: Finding, recent: Predictions) -> Finding | None:
    """What rows since a finding say of it; the finding itself where they are too few to say."""
    if finding.since is None:
        return None
    since = recent.take(recent.times >= finding.since.timestamp())
    if len(since) < logged.MIN_ROWS:
        return finding
    rest = recent.take(recent.times < finding.since.timestamp())
    if _alike(since, rest, finding.subject):
        since = recent  # it began no later than they did, and more rows know better
    told = _break_of(finding.subject, since, finding.since)
    if told is None or told.kind == finding.kind:
        return told
    # few rows look like many things: another break is taken where all of the past is left behind
    far = told.evidence.get("outside", told.evidence.get("share", 0.0))
    return told if isinstance(far, float) and far > _ALL else None


def _alike(rows: Predictions, others: Predictions, name: str) -> bool:
    """Whether a number lies as before, and as many of its cells out of the training range."""
    column = next(each for each in rows.contract.columns if each.name == name)
    low, high = column.minimum, column.maximum
    if column.kind != "number" or low is None or high is None:
        return False
    one, other = (each.inputs[name].drop_nulls().to_numpy() for each in (rows, others))
    if min(len(one), len(other)) < logged.MIN_ROWS:
        return False
    outside, before = (float(((each < low) | (each > high)).mean()) for each in (one, other))
    return before >= outside / 2 and distance(one, other) < _SAME


def _since_it_began(finding: Finding, recent: Predictions) -> Finding:
    """What rows since the first day of a break say of it: some of all may be all of today's."""
    column = next(each for each in recent.contract.columns if each.name == finding.subject)
    began = broken_since(recent, column, finding.kind)
    if began is None:
        return finding
    rows = recent.take(recent.times >= began.timestamp())
    return _break_of(finding.subject, rows, began) or finding


def _break_of(column: str, rows: Predictions, since: datetime) -> Finding | None:
    told = logged.logged_findings(rows, since)
    return next((each for each in told if each.kind != "drift" and each.subject == column), None)


def change_point(outcomes: Outcomes) -> datetime | None:
    """When the mean loss of labelled rows changed, by the largest excursion of its sum.

    The CUSUM statistic of a single change (Page 1955), with the bound of a Brownian bridge at one
    in a thousand (1.95; Kolmogorov's distribution).
    """
    labelled = outcomes.take(outcomes.known)
    scored = labelled.scored()
    if len(scored) < 100:
        return None
    loss = scored.outcome if scored.regression else 1.0 - scored.outcome
    spread = float(loss.std())
    if spread == 0:
        return None
    sums = np.cumsum(loss - loss.mean()) / (spread * math.sqrt(len(loss)))
    place = int(np.abs(sums[:-1]).argmax())
    if abs(sums[place]) < 1.95:
        return None
    return datetime.fromtimestamp(float(labelled.predictions.times[place + 1]), UTC)


def recent_since(times: Floats) -> float:
    """From when rows are recent: the newest third of their time."""
    if not len(times):
        return -math.inf
    return float(times.max() - (times.max() - times.min()) / 3.0)


def _estimator(bundle: Bundle, older: Outcomes) -> Estimator | None:
    """Fitted on older labelled rows, else on the calibration curve that the report keeps."""
    reference = older.take(older.known).scored()
    if len(reference) >= _MIN_REFERENCE:
        if reference.regression:
            return DirectEstimator(reference, bundle.plan)
        return ConfidenceEstimator(reference)
    if bundle.contract.target.task == "regression":
        return None
    curve = bundle.report.get("curves", {}).get("calibration", [])
    bins = [each for each in curve if each["true"]["value"] is not None]
    if len(bins) < 3:
        return None
    claimed = np.array([each["claimed"] for each in bins])
    true = np.array([each["true"]["value"] for each in bins])
    rows = np.array([each["rows"] for each in bins], dtype=np.float64)
    return ConfidenceEstimator.from_bins(bundle.contract.target, claimed, true, rows)


def _gains(bundle: Bundle, labelled: Outcomes, scored: Scored, before: Bundle | None) -> Gains:
    old = None
    if before is not None and before.contract.target.classes == bundle.contract.target.classes:
        known = set(labelled.predictions.inputs.columns)
        if known >= set(before.contract.names):
            matrix = encode_columns(labelled.predictions.inputs, before.plan)
            old = before.engine.run_many(matrix) if len(matrix) else None
    return measure_gains(scored, bundle.plan, old)


def _importance(bundle: Bundle) -> dict[str, float]:
    """Column -> its share of what the model loses without it."""
    drops = {
        each["column"]: max(0.0, each["drop"]["value"] or 0.0)
        for each in bundle.report.get("importance", [])
    }
    total = sum(drops.values())
    return {name: drop / total for name, drop in drops.items()} if total > 0 else {}


def _worst(measured: Quality | None) -> str | None:
    """The subgroup that is worst beyond chance although few of its labels are known."""
    if measured is None:
        return None

    def gap(entry: Slice) -> float:
        found = entry.gaps.get(entry.metric)
        return found.low if found is not None and found.low is not None else -math.inf

    beyond = [entry for entry in measured.slices if gap(entry) > 0]
    if not beyond:
        return None
    worst = max(beyond, key=lambda entry: (gap(entry), entry.column, entry.value))
    return f"{worst.column} = {worst.value}"
