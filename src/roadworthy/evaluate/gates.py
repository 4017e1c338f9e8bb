"""Gates: thresholds decided on intervals, with three outcomes.

A gate passes when the whole interval keeps it, fails when the whole interval breaks it, and has
not enough evidence in between. A gate over many slices fails when some slice breaks it beyond
chance, corrected for their number (Bonferroni), and has not enough evidence when one does so only
uncorrected: a small slice alone stops nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from roadworthy.contract import Contract, Task
from roadworthy.errors import InputError
from roadworthy.evaluate.behaviour import Behaviour
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.names import check_name
from roadworthy.evaluate.paired import Comparison as Paired
from roadworthy.evaluate.resample import Z
from roadworthy.evaluate.slices import METRICS as SLICE_METRICS
from roadworthy.project.gates import CLASS_METRICS, FAIRNESS, Comparison, GatesSection, parse_rule

if TYPE_CHECKING:
    from roadworthy.evaluate.report import Report

Outcome = Literal["pass", "fail", "undecided"]

_TASK: dict[Task, tuple[str, ...]] = {
    "binary": (
        "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro",
        "precision_weighted", "recall_weighted", "f1_weighted", "roc_auc", "pr_auc", "mcc",
        "log_loss", "brier", "calibration_error",
    ),
    "regression": ("mae", "rmse", "r2", "mape", "median_ae"),
}  # fmt: skip
_TASK["multiclass"] = _TASK["binary"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One gate and how it was decided.

    Attributes:
        name: The gate, as in the project file.
        rule: What it asks for.
        outcome: `pass`, `fail` or `undecided` (not enough evidence).
        found: What was measured, where it is a number.
        reason: Why, in a sentence.
    """

    name: str
    rule: str
    outcome: Outcome
    reason: str
    found: Estimate | None = None


def check_gates(gates: GatesSection, contract: Contract, columns: Iterable[str]) -> None:
    """Refuse gates that the model cannot have: before anything is measured.

    Args:
        gates: `[gates]`.
        contract: The model's contract.
        columns: Columns that slices can be cut by.

    Raises:
        InputError: An unknown class or column, or a metric of another task; with the nearest.
    """
    target, known = contract.target, list(columns)
    sliced = SLICE_METRICS[target.task]
    for name in gates.rules():
        family, _, rest = name.partition(".")
        where = f"[gates] {name}"
        if family in CLASS_METRICS:
            if target.task == "regression":
                raise _unfit(family, target.task, where)
            check_name(rest, target.class_names, "class", where)
        elif family in FAIRNESS:
            if target.task != "binary":
                raise _unfit(family, target.task, where)
            check_name(rest, known, "column", where)
        elif family == "slice":
            column, _, metric = rest.rpartition(".")
            check_name(column, known, "column", where)
            check_name(metric, sliced, f"{target.task} slice metric", where)
        elif family == "slice_gap":
            check_name(rest, sliced, f"{target.task} slice metric", where)
        elif family == "slice_drop":
            wanted = "mae" if target.task == "regression" else "accuracy"
            check_name(rest, (wanted,), f"{target.task} metric of a drop", where)
        else:
            metric = rest if family == "generalisation_gap" else family
            if metric in (*_TASK["binary"], *_TASK["regression"]):
                check_name(metric, _TASK[target.task], f"{target.task} metric", where)
    for column in gates.slices:
        check_name(column, known, "column", "[gates] slices")
    for metric in gates.no_worse_on:
        check_name(metric, _TASK[target.task], f"{target.task} metric", "[gates] no_worse_on")


def _unfit(metric: str, task: Task, where: str) -> InputError:
    fitting = "two classes" if metric in FAIRNESS else "classes"
    return InputError(
        f"{metric!r} needs {fitting}, and this is a {task} task",
        where=where,
        fix=f"choose from {', '.join(_TASK[task])}",
    )


def report_checks(gates: GatesSection, report: Report) -> list[Check]:
    """Decide the gates that a report has the evidence for."""
    checks = []
    for name, rule in gates.rules().items():
        asked = parse_rule(rule)
        family, _, rest = name.partition(".")
        if asked is None:
            continue
        text = str(rule).strip()
        if family == "slice":
            column, _, metric = rest.rpartition(".")
            checks.append(_slice(name, text, asked, report, gates.slice_rows, column, metric))
        elif family == "slice_gap":
            checks.append(_slice_gap(name, text, asked, report, gates, rest))
        elif family in FAIRNESS:
            groups = {entry.column: entry for entry in report.fairness}
            estimate = groups[rest].measures[family] if rest in groups else None
            checks.append(threshold(name, text, asked, estimate, report.rows))
        elif family in CLASS_METRICS:
            of_class = {entry.name: getattr(entry, family) for entry in report.classes}
            checks.append(threshold(name, text, asked, of_class.get(rest), report.rows))
        elif name in report.metrics:
            checks.append(threshold(name, text, asked, report.metrics[name], report.rows))
    if gates.behaviour == "all":
        checks.append(behaviour_check(report.behaviour))
    if report.comparison is not None:
        checks += champion_checks(gates, report.comparison, report.metric)
    return checks


def threshold(
    name: str, rule: str, asked: Comparison, found: Estimate | None, rows: int | None = None
) -> Check:
    """Decide a threshold on an interval; without one, on the number itself.

    Args:
        name: The gate.
        rule: What it asks for, as written.
        asked: The same, parsed.
        found: What was measured.
        rows: Rows it was measured on, to say how many would decide.
    """
    if found is None or found.value is None:
        reason = "it could not be measured on these rows"
        return Check(name=name, rule=rule, outcome="undecided", reason=reason, found=found)
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    held = [asked.holds(low), asked.holds(high)]
    if all(held):
        outcome: Outcome = "pass"
        reason = f"{found} keeps {rule}"
    elif not any(held):
        outcome, reason = "fail", f"{found} breaks {rule}"
    else:
        outcome = "undecided"
        reason = f"the interval {found} holds {asked.limit:g}{_more_rows(found, asked, rows)}"
    return Check(name=name, rule=rule, outcome=outcome, reason=reason, found=found)


def _more_rows(found: Estimate, asked: Comparison, rows: int | None) -> str:
    """How many rows would decide, were the number what it is now: errors fall with their root."""
    if rows is None or found.value is None or found.low is None or found.high is None:
        return ""
    away = abs(found.value - asked.limit)
    width = found.high - found.value if found.value < asked.limit else found.value - found.low
    if away <= 0 or width <= 0 or width / away > 100:
        return ": no number of rows is likely to decide"
    needed = math.ceil(rows * (width / away) ** 2 * 1.1)
    return f": about {needed:,} rows would decide, there are {rows:,}"


def family_check(
    name: str, rule: str, asked: Comparison, found: dict[str, Estimate], skipped: int = 0
) -> Check:
    """Decide a threshold that each of several slices must keep."""
    if not found:
        reason = "no slice has enough rows to be judged"
        return Check(name=name, rule=rule, outcome="undecided", reason=reason)
    corrected = _normal_quantile(1 - 0.025 / len(found))
    broken: list[str] = []
    suspected: list[str] = []
    for label, estimate in found.items():
        if estimate.value is None:
            continue
        near = estimate.high if asked.at_least else estimate.low
        near = estimate.value if near is None else near
        if not asked.holds(near):
            stretched = estimate.value + (near - estimate.value) * corrected / Z
            (suspected if asked.holds(stretched) else broken).append(label)

    def badness(label: str) -> float:
        value = found[label].value
        return math.inf if value is None else value if asked.at_least else -value

    worst = min(broken or suspected or found, key=badness)
    shown = f"{worst}: {found[worst]}"
    others = len(broken or suspected) - 1
    more = f" (and {others} more)" if others > 0 else ""
    few = f"; {skipped} with too few rows left out" if skipped else ""
    if broken:
        outcome: Outcome = "fail"
        reason = f"{shown} breaks {rule}{more}, of {len(found)} slices{few}"
    elif suspected:
        outcome = "undecided"
        reason = f"{shown} breaks {rule}{more}, but among {len(found)} slices that may be chance"
    else:
        outcome, reason = "pass", f"none of {len(found)} slices breaks {rule}; worst {shown}{few}"
    return Check(name=name, rule=rule, outcome=outcome, reason=reason, found=found[worst])


def _slice(
    name: str, rule: str, asked: Comparison, report: Report, least: int, column: str, metric: str
) -> Check:
    levels = [entry for entry in report.slices if entry.column == column]
    kept = {
        f"{entry.column} = {entry.value}": entry.metrics[metric]
        for entry in levels
        if entry.rows >= least and metric in entry.metrics
    }
    return family_check(name, rule, asked, kept, len(levels) - len(kept))


def _slice_gap(
    name: str, rule: str, asked: Comparison, report: Report, gates: GatesSection, metric: str
) -> Check:
    kept, skipped = {}, 0
    for entry in report.slices:
        if metric in entry.gaps:
            if entry.rows >= gates.slice_rows:
                kept[f"{entry.column} = {entry.value}"] = entry.gaps[metric]
            else:
                skipped += 1
    return family_check(name, rule, asked, kept, skipped)


def behaviour_check(tests: Sequence[Behaviour]) -> Check:
    """Whether every behavioural test held."""
    failed = [entry for entry in tests if not entry.passed]
    if not tests:
        reason = "no behavioural test was run"
        return Check(name="behaviour", rule="all", outcome="undecided", reason=reason)
    if failed:
        outcome: Outcome = "fail"
        first = failed[0]
        reason = (
            f"{len(failed)} of {len(tests)} tests failed: "
            f"{', '.join(entry.name for entry in failed[:5])} "
            f"({first.note or f'{first.failures} of {first.rows} rows'})"
        )
    else:
        outcome, reason = "pass", f"all {len(tests)} tests hold"
    return Check(name="behaviour", rule="all", outcome=outcome, reason=reason)


def champion_checks(gates: GatesSection, paired: Paired, headline: str) -> list[Check]:
    """Decide `no_worse_than` and `slice_drop` on a paired comparison.

    Without a margin the gate fails when the model is worse beyond chance (so that an equal one
    passes 39 times of 40), and a better or equal one passes. With a margin it passes when the
    model is proven to be no more than that worse (non-inferiority), fails when it is proven to be
    more, and has not enough evidence in between.
    """
    metrics = gates.no_worse_on or (headline,)
    corrected = _normal_quantile(1 - 0.025 / len(metrics)) / Z
    checks = [_no_worse(metric, paired, gates.margin, corrected) for metric in metrics]
    for metric, rule in gates.slice_drop.items():
        asked = parse_rule(rule)
        if asked is not None:
            drops = {name: _negated(gain) for name, gain in paired.slices.items()}
            checks.append(family_check(f"slice_drop.{metric}", str(rule), asked, drops))
    return checks


def _no_worse(metric: str, paired: Paired, margin: float, corrected: float) -> Check:
    gain = paired.metrics[metric]
    name = f"no_worse_than.{metric}"
    rule = f"{paired.champion}" + (f", margin {margin:g}" if margin else "")
    if gain.value is None or gain.low is None or gain.high is None:
        reason = "it could not be compared on these rows"
        return Check(name=name, rule=rule, outcome="undecided", reason=reason)
    low = gain.value - (gain.value - gain.low) * corrected
    high = gain.value + (gain.high - gain.value) * corrected
    told = (
        f"{_shown(paired.challenger[metric])} against {_shown(paired.baseline[metric])} on the "
        f"same {paired.rows:,} rows: better by {gain}"
    )
    if high < -margin:
        outcome: Outcome = "fail"
        reason = f"worse beyond chance{' and margin' if margin else ''}: {told}"
    elif margin and low < -margin:
        outcome, reason = "undecided", f"it may be worse by more than {margin:g}: {told}"
    else:
        outcome, reason = "pass", f"not worse{' than the margin' if margin else ''}: {told}"
    return Check(name=name, rule=rule, outcome=outcome, reason=reason, found=gain)


def overall(checks: Iterable[Check], undecided: str) -> Outcome:
    """What the checks say together; not enough evidence counts as `[gates] undecided` says."""
    outcomes = {check.outcome for check in checks}
    if "fail" in outcomes or ("undecided" in outcomes and undecided == "fail"):
        return "fail"
    return "pass"


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _negated(gain: Estimate) -> Estimate:
    if gain.value is None or gain.low is None or gain.high is None:
        return Estimate(None if gain.value is None else -gain.value)
    return Estimate(-gain.value, -gain.high, -gain.low)


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)
