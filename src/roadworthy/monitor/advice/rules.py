"""The rules, in the order in which they are asked. docs/monitoring.md says the same in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from roadworthy.evaluate import Estimate
from roadworthy.monitor.advice.gains import Gain
from roadworthy.monitor.advice.situation import Situation
from roadworthy.monitor.estimate.gap import drifted

ActionKind = Literal[
    "fix_source", "roll_back", "move_threshold", "recalibrate", "retrain", "collect_labels",
    "nothing",
]  # fmt: skip
_ENOUGH = 300
"""Labelled rows from which retraining and thresholds are decided."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do.

    Attributes:
        kind: What.
        subject: The column, version, threshold or slice that it is about.
        what: The action in one sentence.
        rule: The rule that gave it, as the docs number them.
        evidence: Why, in sentences.
        gain: What it is expected to gain; None where that cannot be known.
        metric: What the gain is told in.
        command: What to run; empty where it is done elsewhere.
        since: First day of the labelled rows that alone are to be learned from; empty: the old
            table as well, or all labelled rows of the window.
    """

    kind: ActionKind
    subject: str
    what: str
    rule: int
    evidence: tuple[str, ...]
    gain: Estimate | None = None
    metric: str = ""
    command: str = ""
    since: str = ""


Rule = Callable[[Situation], Iterator[Action]]


def decide(situation: Situation) -> tuple[Action, ...]:
    """Ranked actions, the first one first; never empty.

    Deterministic: the same situation gives the same actions.
    """
    found = [action for rule in _RULES for action in rule(situation)]
    broken = any(action.kind == "fix_source" for action in found)
    if broken:  # what is learned from broken data is wrong, and so is what is measured on them
        found = [action for action in found if action.kind in ("fix_source", "roll_back")]
    seen: set[tuple[str, str]] = set()
    ranked = []
    for action in found:
        if (action.kind, action.subject) not in seen:
            seen.add((action.kind, action.subject))
            ranked.append(action)
    return tuple(ranked) or (_nothing(situation),)


_OF_ALL_ROWS: dict[str, str] = {
    "duplicates": "stop what sends rows again that were answered",
    "time_gap": "find out why no rows came for a time",
}
_NEW_LABELS = (
    "put labels right that the model does not know; if it is a class that is new, train with it"
)


def _rule_1_broken_data(situation: Situation) -> Iterator[Action]:
    """Data are broken: fix the column at its source."""
    columns = {
        each.subject
        for each in situation.broken
        if each.kind not in _OF_ALL_ROWS and each.subject != "label"
    }
    for finding in situation.broken:
        share = situation.importance.get(finding.subject)
        evidence = [finding.what]
        if share is not None:
            evidence.append(f"it carries {share:.0%} of the model's importance")
        lost = _lost(situation) if finding.subject in columns else None
        if lost is not None and len(columns) > 1:
            evidence.append(f"the gain is that of putting all {len(columns)} columns right")
        fix = f"fix {finding.subject!r} at its source: {finding.kind.replace('_', ' ')}"
        if finding.subject == "label" and finding.kind == "unseen":
            fix = _NEW_LABELS
        yield Action(
            kind="fix_source",
            subject=finding.subject,
            what=_OF_ALL_ROWS.get(finding.kind, fix),
            rule=1,
            evidence=tuple(evidence),
            gain=lost,
            metric="" if lost is None else _metric(situation),
            command="roadworthy monitor report",
        )


def _rule_2_bad_release(situation: Situation) -> Iterator[Action]:
    """The version before is better on the same rows: roll back."""
    gain, swap = situation.gains.roll_back, situation.swap
    if gain is None or swap is None or not gain.sure or (gain.value.value or 0.0) <= 0:
        return
    yield Action(
        kind="roll_back",
        subject=swap.before[:12],
        what=f"roll back to {swap.before[:12]}, which {swap.version[:12]} replaced",
        rule=2,
        evidence=(
            f"on the same {gain.rows:,} labelled rows {swap.before[:12]} is better by "
            f"{gain.value} {gain.metric}",
            f"it was replaced at {swap.at.isoformat(timespec='minutes')}",
        ),
        gain=gain.value,
        metric=gain.metric,
        command=f"roadworthy models rollback {situation.model}",
    )


def _rule_3_retrain(situation: Situation) -> Iterator[Action]:
    """Labels say that there is something to learn that recalibration cannot: retrain."""
    gain, beyond = situation.gains.retrain, situation.gains.beyond
    if gain is None or beyond is None or gain.rows < _ENOUGH:
        return
    if not (gain.sure and beyond.sure and _worth(situation, gain)):
        return
    gap = drifted(situation.gaps)
    since = _day(situation.changed)
    evidence = [
        f"on {gain.rows:,} rows that it had not seen, a model that learned from recent labels "
        f"is better by {gain.value} {gain.metric}"
    ]
    if gap is not None:
        evidence.append(
            f"labels lose {gap.realised:.3g} where the inputs explain {gap.estimated:.3g} "
            f"(p = {gap.p_value:.1g}): the relation has changed"
        )
    evidence += [f"{f.subject}: {f.what}" for f in situation.findings if f.kind == "drift"][:3]
    command = f"roadworthy retrain --model {situation.model}"
    alone = since if since and gap is not None else ""
    yield Action(
        kind="retrain",
        subject=since or "all",
        what=f"retrain with data since {since}" if since else "retrain with what is labelled",
        rule=3,
        evidence=tuple(evidence),
        gain=gain.value,
        metric=gain.metric,
        command=f"{command} --since {alone}" if alone else command,
        since=alone,
    )


def _rule_4_threshold(situation: Situation) -> Iterator[Action]:
    """Probabilities are off and their order is right: move the threshold, or recalibrate."""
    recalibrate, threshold = situation.gains.recalibrate, situation.gains.threshold
    if recalibrate is None or recalibrate.rows < _ENOUGH or not recalibrate.sure:
        return
    if not situation.target.classes and not recalibrate.worthwhile:
        return  # a few large errors are smaller and the usual ones are not
    off = situation.quality is not None and situation.quality.calibration
    if not situation.has("calibration", "quality_drop", "concept_drift") and not (off and off.off):
        return
    evidence = [
        f"recalibrated probabilities lose {recalibrate.loss} less on {recalibrate.rows:,} rows"
    ]
    if off:
        evidence.append(f"they are off by {off.error:.1%} beyond chance (gap {off.gap:+.1%})")
    moved = threshold is not None and threshold.setting is not None
    if threshold is not None and moved and threshold.worthwhile:
        setting = f"{threshold.setting:g}"
        yield Action(
            kind="move_threshold",
            subject=setting,
            what=f"move the threshold to {setting}",
            rule=4,
            evidence=tuple(evidence),
            gain=threshold.value,
            metric=threshold.metric,
            command=f"roadworthy retrain --model {situation.model} --threshold {setting}",
        )
    since = _day(situation.changed) or ""
    command = f"roadworthy retrain --model {situation.model} --recalibrate"
    yield Action(
        kind="recalibrate",
        subject="probabilities" if situation.target.classes else "predictions",
        what="recalibrate: their order is right, their size is not",
        rule=4,
        evidence=tuple(evidence),
        gain=recalibrate.value,
        metric=recalibrate.metric,
        command=f"{command} --since {since}" if since else command,
        since=since,
    )


def _rule_5_labels(situation: Situation) -> Iterator[Action]:
    """Something may be wrong, and labels are too few to say what: collect labels."""
    if situation.missing_class is not None:
        yield _labels_of_all(situation, situation.missing_class)
        return
    few = situation.labelled < _ENOUGH
    doubt = situation.has(
        "estimated_drop", "quality_drop", "concept_drift", "calibration", "drift",
        "prediction_drift", "unseen", "range", "correlation", "joint_drift",
    )  # fmt: skip
    if few and doubt:
        where = situation.worst_slice or _moved(situation) or "recent predictions"
        yield Action(
            kind="collect_labels",
            subject=where,
            what=f"collect labels for {where}",
            rule=5,
            evidence=(
                f"{situation.labelled:,} of {situation.rows:,} recent predictions have a label; "
                f"{_ENOUGH} are needed to decide",
                *(f"{f.subject}: {f.what}" for f in situation.findings[:3]),
            ),
            command="roadworthy feedback FILE",
        )
    elif situation.has("unseen"):
        yield from _unseen_levels(situation)


def _labels_of_all(situation: Situation, missing: str) -> Action:
    """Labels of one class or range stay away: they say nothing of how often it comes."""
    said = repr(missing) if situation.target.classes else missing
    return Action(
        kind="collect_labels",
        subject=missing,
        what=f"find out why no label is {said}, and collect those too",
        rule=5,
        evidence=(
            f"none of {situation.labelled:,} recent labels is {said}, which was usual before",
            "what is learned from, or measured on, the other labels alone is wrong",
        ),
        command="roadworthy feedback FILE",
    )


def _unseen_levels(situation: Situation) -> Iterator[Action]:
    for finding in situation.findings:
        if finding.kind == "unseen" and finding.severity != "info" and finding.subject != "label":
            yield Action(
                kind="collect_labels",
                subject=finding.subject,
                what=f"collect labels for the new levels of {finding.subject!r}",
                rule=5,
                evidence=(finding.what, "no gain of retraining could be shown yet"),
                command="roadworthy feedback FILE",
            )


def _nothing(situation: Situation) -> Action:
    """Rule 6: nothing asks for an action."""
    evidence = [f"{situation.labelled:,} of {situation.rows:,} recent predictions have a label"]
    if situation.quality is not None:
        measured = situation.quality.metrics
        evidence += [f"{name} {measured[name]}" for name in ("accuracy", "mae") if name in measured]
    drift = [finding.subject for finding in situation.findings if finding.kind == "drift"]
    if drift:
        evidence.append(
            f"{', '.join(sorted(drift)[:5])} moved; quality did not, beyond what no action mends"
        )
    return Action(kind="nothing", subject="", what="do nothing", rule=6, evidence=tuple(evidence))


_RULES: tuple[Rule, ...] = (
    _rule_1_broken_data,
    _rule_2_bad_release,
    _rule_3_retrain,
    _rule_4_threshold,
    _rule_5_labels,
)


def _worth(situation: Situation, gain: Gain) -> bool:
    """Whether a gain is large enough for the work of a release."""
    fell = situation.has("quality_drop", "concept_drift", "estimated_drop")
    if situation.target.classes and fell:
        return True  # of rare classes accuracy tells little
    measured = situation.quality.metrics.get(gain.metric) if situation.quality else None
    if gain.value.low is None or measured is None:
        return False
    # an error in the target's unit grows with what is predicted, and learning does not mend that
    return gain.value.low > (0.01 if gain.metric == "accuracy" else 0.03 * (measured.value or 0.0))


def _lost(situation: Situation) -> Estimate | None:
    """What quality lost against the holdout: what a repair would win back."""
    if situation.quality is None:
        return None
    for gap in situation.quality.drops:
        if gap.metric in ("accuracy", "mae") and gap.drop.value is not None:
            return gap.drop
    return None


def _metric(situation: Situation) -> str:
    return "accuracy" if situation.target.classes else "mae"


def _moved(situation: Situation) -> str | None:
    """The most important column that drifts."""
    drift = [f.subject for f in situation.findings if f.kind in ("drift", "unseen")]
    if not drift:
        return None
    return max(sorted(drift), key=lambda name: situation.importance.get(name, 0.0))


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else moment.date().isoformat()
