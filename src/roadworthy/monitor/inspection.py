"""An inspection: what the counts of one served version say, all findings in one list."""

from __future__ import annotations

import time
from dataclasses import dataclass

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError
from roadworthy.monitor.against import TRAINING, compared, in_words
from roadworthy.monitor.data_quality import broken_data
from roadworthy.monitor.drift import Judged, drift, judge
from roadworthy.monitor.findings import SEVERITIES, Finding
from roadworthy.monitor.history import History, moment, read_history
from roadworthy.monitor.traffic import unusual_traffic
from roadworthy.observe.store import WindowStore
from roadworthy.project.monitor import MonitorSection


@dataclass(frozen=True)
class Inspection:
    """What was found out about one version.

    Attributes:
        model: The model's name.
        version: The version.
        classes: Names of its classes; empty for regression.
        history: What was counted, beside what it is compared with.
        judged: Its days; None where there are too few.
        findings: What was noticed, the most serious first.
        against: What the history's reference is: `training`, or other days.
    """

    model: str
    version: str
    classes: tuple[str, ...]
    history: History
    judged: Judged | None
    findings: tuple[Finding, ...]
    against: str = TRAINING


def inspect(
    bundle: Bundle,
    options: MonitorSection,
    *,
    store: WindowStore | None = None,
    since: int | None = None,
    now: float | None = None,
) -> Inspection:
    """Inspect what was counted of a bundle.

    Args:
        bundle: The bundle that was served.
        options: `[monitor]`.
        store: The windows; None takes `[monitor] counts`.
        since: The first hour (since 1970) to look at; None looks at everything.
        now: Seconds since 1970; None takes the clock.

    Raises:
        InputError: There is no store, or the bundle has no reference.
    """
    if store is None:
        if options.counts is None:
            raise InputError(
                "it is not said where served models are counted",
                where="[monitor] counts",
                fix='counts = "counts" in the project file before serving, or --store FOLDER',
            )
        store = WindowStore(options.counts)
    reference = bundle.reference
    if reference is None:
        raise InputError(
            "the bundle has no reference.json to compare with",
            where=str(bundle.path),
            fix="package the model again with this Roadworthy",
        )
    name, version = bundle.manifest.name, bundle.version
    present = time.time() if now is None else now
    history = read_history(store, reference, name, version, now=present, since=since)
    return inspect_history(history, options, name, version, bundle.contract.target.class_names)


def inspect_history(
    history: History,
    options: MonitorSection,
    model: str,
    version: str,
    classes: tuple[str, ...] = (),
) -> Inspection:
    """Inspect counts that were read; arguments and result as `inspect`."""
    broken = broken_data(history)
    explained = {finding.subject for finding in broken}
    beside, against = compared(history, options.against), options.against
    if beside is None:
        beside, against = history, TRAINING
    judged = judge(
        beside, learn_days=options.learn_days, false_alarms=options.false_alarms, against=against
    )
    moved = drift(beside, judged, explained, classes, against)
    found = [*broken, *moved, *unusual_traffic(history)]
    if against != options.against and history.rows:
        found.append(_not_compared(options.against))
    if history.damaged:
        found.append(
            Finding(
                "store",
                "warning",
                "service",
                f"{history.damaged} windows cannot be used: they are damaged, of another bundle, "
                "or from the future",
                {"windows": history.damaged},
                moment(history.now),
                "look at the clocks and disks of the hosts that count",
            )
        )
    order = {severity: place for place, severity in enumerate(reversed(SEVERITIES))}
    found.sort(
        key=lambda finding: (order[finding.severity], -float(finding.evidence.get("psi", 0)))
    )
    return Inspection(model, version, classes, beside, judged, tuple(found), against)


def health(inspection: Inspection) -> tuple[str, str]:
    """The state in one word (`pass`, `undecided`, `fail`) and one sentence."""
    found = inspection.findings
    serious, warnings = (
        sum(one.severity == kind for one in found) for kind in ("serious", "warning")
    )
    if not inspection.history.rows:
        return "undecided", "nothing was counted yet"
    if serious:
        return "fail", f"{serious} serious, {warnings} to look at"
    if warnings:
        return "undecided", f"{warnings} to look at, nothing serious"
    return "pass", "nothing unusual"


def _not_compared(against: str) -> Finding:
    return Finding(
        "store",
        "info",
        "service",
        f"too little was counted {in_words(against)} to compare with: the training table is taken",
        {"against": against},
        None,
        "wait, or name other days with --against",
    )
