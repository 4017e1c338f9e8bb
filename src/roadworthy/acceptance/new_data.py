"""A bundle on new labelled rows: everything that they allow, and the gates decided on it."""

from __future__ import annotations

import functools
import os
from typing import Any

import msgspec
import polars as pl

from roadworthy.acceptance.evidence import kept_report
from roadworthy.acceptance.references import bundle_scores, resolve
from roadworthy.acceptance.subject import InProcess, Subject, subject_scores
from roadworthy.bundle import Bundle
from roadworthy.errors import InputError
from roadworthy.evaluate import Report
from roadworthy.evaluate.gates import Check, report_checks, threshold
from roadworthy.evaluate.incoming import Incoming, read_incoming
from roadworthy.evaluate.paired import Comparison, compare
from roadworthy.evaluate.report import (
    Rival,
    compare_with,
    dummy_scores,
    gate_columns,
    headline_metric,
    measure,
)
from roadworthy.evaluate.scored import Scored
from roadworthy.evaluate.shift import adversarial_validation, contract_shift
from roadworthy.evaluate.stability import compare_parts
from roadworthy.project import GatesSection, Project
from roadworthy.project.gates import parse_rule


def measure_new_data(
    subject: Subject,
    bundle: Bundle,
    incoming: Incoming,
    project: Project,
    champion: str | os.PathLike[str] | None,
    reference: Any,
) -> tuple[Report | None, list[Check]]:
    """Everything that labelled rows allow, and the gates decided on it."""
    gates, table = project.gates, incoming.table
    predict = functools.partial(_answered, subject, bundle)
    shift = contract_shift(incoming.frame, bundle.contract)
    if reference is not None:
        known = read_incoming(reference, bundle.contract, project).frame
        shift = adversarial_validation(known, incoming.frame, bundle.contract)
    asked = parse_rule(gates.drift)
    checks = []
    if asked is not None:
        checks.append(threshold("drift", str(gates.drift).strip(), asked, shift.drift))
    if table is None:
        return None, checks
    kept = kept_report(bundle)
    metric = headline_metric(kept.search.metric if kept.search else "", table.task)
    scored = Scored(table, predict(table.frame))
    report = measure(scored, predict, project, metric=metric)
    here = report.metrics
    gaps = [
        compare_parts(name, "holdout", "new data", kept.metrics[name], here[name])
        for name in dict.fromkeys([metric, *gates.generalisation_gap])
        if name in kept.metrics and name in here
    ]
    report = msgspec.structs.replace(
        report,
        name=bundle.manifest.name,
        family=kept.family,
        search=kept.search,
        policy="new data",
        shift=shift,
        gaps=tuple(gaps),
        comparison=_compare(scored, incoming, champion, project),
    )
    checks += report_checks(without_behaviour(gates), report)
    for gap in gaps:
        rule = gates.generalisation_gap.get(gap.metric)
        asked = parse_rule(rule)
        if asked is not None:
            name = f"generalisation_gap.{gap.metric}"
            checks.append(threshold(name, str(rule).strip(), asked, gap.drop, report.rows))
    return msgspec.structs.replace(report, checks=tuple(checks)), checks


def _answered(subject: Subject, bundle: Bundle, frame: pl.DataFrame) -> Any:
    """Scores of typed rows; in process without the way through JSON, which parity has proven."""
    if isinstance(subject, InProcess):
        return bundle_scores(bundle, frame)
    return subject_scores(subject, bundle, frame)


def _compare(
    scored: Scored,
    incoming: Incoming,
    champion: str | os.PathLike[str] | None,
    project: Project,
) -> Comparison | None:
    """The champion on the same rows: those that both contracts take."""
    if champion is None:
        if project.gates.no_worse_than != "baseline":
            return None
        dummy = Scored(scored.table, dummy_scores(scored.table), scored.seed)
        return compare(scored, dummy, "baseline")
    other = resolve(champion, project)
    name = f"{other.manifest.name}:{other.manifest.short_version}"
    source = incoming.source._replace(frame=incoming.source.frame[incoming.rows])
    theirs = read_incoming(source, other.contract, project)
    if theirs.table is None:
        raise InputError(
            "the champion's contract takes none of the rows",
            where=name,
            fix="compare with a bundle of the same table",
        )
    answers = bundle_scores(other, theirs.table.frame)
    named = gate_columns(project, scored.table)
    ours = scored.take(theirs.rows)
    return compare_with(ours, Rival(name, other.contract.target, lambda _: answers), named)


def contract_check(incoming: Incoming) -> Check:
    """Whether the new data can be asked at all: absent columns stop it, refused rows are told."""
    absent = [entry.column for entry in incoming.findings if entry.kind == "absent"]
    refused = incoming.read - incoming.frame.height
    if absent:
        shown = ", ".join(map(repr, absent[:5]))
        reason = f"columns are absent: {shown}; they were taken for blank to measure the rest"
        return Check(name="contract", rule="columns", outcome="fail", reason=reason)
    if not incoming.frame.height:
        reason = f"all {incoming.read:,} rows break the contract" if incoming.read else "no rows"
        return Check(name="contract", rule="columns", outcome="fail", reason=reason)
    reason = f"{refused:,} of {incoming.read:,} rows break it and were left out"
    if not refused:
        reason = f"all {incoming.read:,} rows keep it"
    return Check(name="contract", rule="columns", outcome="pass", reason=reason)


def without_behaviour(gates: GatesSection) -> GatesSection:
    """The gates without the one that is decided on all behavioural tests together."""
    return msgspec.structs.replace(gates, behaviour="off")
