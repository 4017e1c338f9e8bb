"""Join it all: test a bundle, in process or behind an address, on what it holds or on new data."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import polars as pl

from roadworthy.acceptance.answers import check_expected, check_golden, check_writing
from roadworthy.acceptance.costs import cost_checks, measure_costs
from roadworthy.acceptance.evidence import keep_evidence, kept_report
from roadworthy.acceptance.new_data import contract_check, measure_new_data, without_behaviour
from roadworthy.acceptance.references import resolve
from roadworthy.acceptance.subject import InProcess, OverHttp, Subject, subject_scores
from roadworthy.bundle import Bundle
from roadworthy.errors import CheckFailed, RowsError
from roadworthy.evaluate import Report
from roadworthy.evaluate import test as measure_model
from roadworthy.evaluate.behaviour import Behaviour, check_behaviour, check_rules
from roadworthy.evaluate.gates import (
    Check,
    behaviour_check,
    check_gates,
    overall,
    report_checks,
)
from roadworthy.evaluate.incoming import Incoming, read_incoming
from roadworthy.evaluate.report import (
    sliceable,
)
from roadworthy.evaluate.verdict import Verdict
from roadworthy.project import GatesSection, Project
from roadworthy.project.gates import COSTS
from roadworthy.table import Table
from roadworthy.table.conform import conform

if TYPE_CHECKING:
    from roadworthy.train import TrainedModel

EXPECTED = "tests/expected.csv"
"""The user's own expected predictions, tested when the file is there."""
_NEW_DATA = ("drift", "generalisation_gap", "slice_drop")


@overload
def test(model: TrainedModel, data: Table, project: Project | None = None) -> Report: ...


@overload
def test(
    model: Bundle | str | os.PathLike[str],
    data: Any = None,
    project: Project | None = None,
    *,
    champion: str | os.PathLike[str] | None = None,
    url: str | None = None,
    expected: str | os.PathLike[str] | None = None,
    reference: Any = None,
) -> Verdict: ...


def test(model: Any, data: Any = None, project: Project | None = None, **options: Any) -> Any:
    """Measure a model on its holdout, or test a bundle, on what it holds or on new data.

    Args:
        model: A trained model, or a bundle or its folder.
        data: For a model its holdout, `table.holdout`; for a bundle new labelled data (a file or
            a data frame), or nothing.
        project: `[gates]` and `[behaviour]`; None takes every default.
        options: For a bundle, those of `accept`: `champion`, `url`, `expected`, `reference`.

    Returns:
        For a model the Report; for a bundle the Verdict, whose `report` holds the measurements.

    Raises:
        InputError: The data cannot be read, or a gate names what the model has not.
    """
    if isinstance(model, str | os.PathLike):
        model = resolve(model, project)
    if isinstance(model, Bundle):
        return accept(model, data, project, **options)
    return measure_model(model, data, project, **options)


test.__test__ = False  # type: ignore[attr-defined]  # pytest: a verb of the product, not a test


def accept(
    bundle: Bundle,
    data: Any = None,
    project: Project | None = None,
    *,
    champion: str | os.PathLike[str] | None = None,
    url: str | None = None,
    expected: str | os.PathLike[str] | None = None,
    reference: Any = None,
    token: str | None = None,
) -> Verdict:
    """Test a bundle.

    Without data: golden rows, expected predictions, behaviour, costs, and the gates on the report
    that the bundle holds. With new labelled data: those gates on the new rows, drift, the gap to
    the holdout, and the champion on the same rows.

    Args:
        bundle: The bundle.
        data: New labelled data, a file or a data frame.
        project: `[gates]`, `[behaviour]`, and `[data]` for groups and times.
        champion: Folder of the bundle in production; None takes `[gates] no_worse_than`.
        url: Address of a server that serves the bundle, to ask it in place of this process.
        expected: File of rows with expected predictions; None takes `[gates] expected`, or
            `tests/expected.csv` when it is there.
        reference: Rows like the training table's, to tell new data from.
        token: What opens that server; None takes `ROADWORTHY_TOKEN` of the environment, if any.

    Returns:
        The verdict.

    Raises:
        InputError: Data that cannot be read, or a gate that names what the model has not.
        OutsideError: The server cannot be reached.
    """
    wanted, contract = project or Project(), bundle.contract
    gates = wanted.gates
    check_rules(contract, wanted.behaviour)
    subject: Subject = InProcess(bundle) if url is None else OverHttp(url, token, bundle)
    incoming = None if data is None else read_incoming(data, contract, wanted)
    kept = kept_report(bundle)
    check_gates(gates, contract, _columns(bundle, kept, incoming))
    rival = champion or gates.champion
    tests = [check_golden(subject, bundle)] if gates.golden == "all" else []
    file = expected or gates.expected or (EXPECTED if Path(EXPECTED).exists() else None)
    if file is not None:
        tests.append(check_expected(subject, bundle, file, gates.expected_tolerance))
    checks = [_version_check(subject, bundle)] if url is not None else []
    checks += [_all_check(entry) for entry in tests]
    tests += check_writing(subject, bundle)
    report: Report | None = kept
    if incoming is None:
        behaviour = _golden_behaviour(subject, bundle, wanted)
        checks += report_checks(without_behaviour(gates), kept)
    else:
        report, found = measure_new_data(subject, bundle, incoming, wanted, rival, reference)
        checks = [*checks, contract_check(incoming), *found]
        behaviour = report.behaviour if report is not None else ()
    tests += behaviour
    costs = measure_costs(subject, bundle)
    checks += cost_checks(gates, costs)
    if gates.behaviour == "all":
        named = [entry for entry in tests if entry.name not in ("golden", "expected")]
        checks.append(behaviour_check(named))
    checks += _unanswered(gates, checks, new_data=incoming is not None, champion=rival is not None)
    return Verdict(
        name=bundle.manifest.name,
        version=bundle.version,
        outcome="pass" if overall(checks, gates.undecided) == "pass" else "fail",
        undecided=gates.undecided,
        asked=subject.place,
        data="the holdout, as kept in the bundle" if incoming is None else _source(data),
        checks=tuple(checks),
        tests=tuple(tests),
        findings=() if incoming is None else incoming.findings,
        rows_read=0 if incoming is None else incoming.read,
        costs=costs,
        report=report,
    )


def gate_bundle(bundle: Bundle, project: Project) -> Verdict:
    """Test a bundle that is about to be made, when the project has gates.

    Raises:
        CheckFailed: A gate stops it; the message lists every one that does.
    """
    verdict = accept(bundle, None, project)
    stopping = verdict.stopping()
    if stopping:
        evidence = keep_evidence(verdict, Path(project.package.directory))
        listed = "; ".join(f"{c.name} {c.rule}: {c.reason}" for c in stopping)
        raise CheckFailed(
            f"{len(stopping)} of {len(verdict.checks)} gates stop the release: {listed}",
            where=str(evidence),
            fix="look at the report there; change the model, or a gate in [gates]",
        )
    return verdict


def _columns(bundle: Bundle, kept: Report, incoming: Incoming | None) -> list[str]:
    """What gates may slice by."""
    if incoming is not None and incoming.table is not None:
        return sliceable(incoming.table)
    named = [p.name for p in kept.columns if p.kind not in ("text", "identifier")]
    return named or list(bundle.contract.names)


def _source(data: Any) -> str:
    return os.fspath(data) if isinstance(data, (str, os.PathLike)) else "a data frame"


def _all_check(entry: Behaviour) -> Check:
    if entry.passed:
        reason = f"all {entry.rows} rows are answered as expected"
        return Check(name=entry.name, rule="all", outcome="pass", reason=reason)
    first = entry.examples[0] if entry.examples else None
    shown = f"; first: {first.before} was expected, {first.after} was answered" if first else ""
    reason = entry.note or f"{entry.failures} of {entry.rows} rows are answered otherwise{shown}"
    return Check(name=entry.name, rule="all", outcome="fail", reason=reason)


def _version_check(subject: Subject, bundle: Bundle) -> Check:
    rule = bundle.manifest.short_version
    with contextlib.suppress(RowsError):  # whoever refuses a typical row serves another model
        subject.answers([bundle.contract.example()])
    found = subject.version()
    if found == bundle.version:
        reason = "the server serves this bundle"
        return Check(name="version", rule=rule, outcome="pass", reason=reason)
    reason = f"the server answers as version {str(found)[:12]}, not as this bundle"
    return Check(name="version", rule=rule, outcome="fail", reason=reason)


def _golden_behaviour(subject: Subject, bundle: Bundle, project: Project) -> tuple[Behaviour, ...]:
    """The behavioural tests on the golden rows, which are all the rows that a bundle holds."""
    rows = [entry.row for entry in bundle.golden]
    if not rows:
        return ()
    frame = conform(pl.DataFrame(rows, infer_schema_length=None, strict=False), bundle.contract)
    return check_behaviour(
        frame,
        bundle.contract,
        lambda changed: subject_scores(subject, bundle, changed),
        project.behaviour,
        seed=0,
    )


def _unanswered(
    gates: GatesSection, checks: Sequence[Check], *, new_data: bool, champion: bool
) -> list[Check]:
    """Gates that nothing was said of: they lack rows with labels, or a champion."""
    done = {check.name for check in checks}
    found = []
    for name, rule in gates.rules().items():
        family = name.split(".")[0]
        if name in done or family in COSTS or (family in _NEW_DATA and not new_data):
            continue
        reason = "nothing was measured that decides it: it needs rows with labels"
        if family == "slice_drop":
            if not champion:
                continue
            reason = "it needs a champion"
        found.append(Check(name=name, rule=str(rule).strip(), outcome="undecided", reason=reason))
    compared = any(name.startswith("no_worse_than") for name in done)
    if gates.no_worse_than is not None and not compared:
        if new_data and (champion or gates.no_worse_than == "baseline"):
            outcome: Literal["pass", "undecided"] = "undecided"
            reason = "no rows with labels to compare on"
        elif gates.no_worse_than == "champion" and not champion:
            outcome, reason = "pass", "no champion is named (--champion): none to be worse than"
        else:
            outcome, reason = "pass", "compared when there are new rows with labels (--data)"
        found.append(
            Check(name="no_worse_than", rule=gates.no_worse_than, outcome=outcome, reason=reason)
        )
    return found
