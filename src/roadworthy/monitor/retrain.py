"""Retrain: a challenger from old and newly labelled rows, gated against the champion.

The newest labelled rows are set aside: neither the challenger's search nor its fit sees them, and
champion and challenger are compared on them. What becomes of a challenger that passes is
`[monitor] retrain_promote`; one that does not pass is registered with its verdict and goes nowhere.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl

from roadworthy.acceptance import accept
from roadworthy.acceptance.evidence import keep_evidence
from roadworthy.bundle import Bundle
from roadworthy.bundle.adjust import with_threshold
from roadworthy.bundle.write import package
from roadworthy.contract import ClassValue, Contract, class_name
from roadworthy.errors import InputError
from roadworthy.evaluate import test
from roadworthy.evaluate.verdict import Verdict
from roadworthy.monitor.broken_days import healed_days
from roadworthy.monitor.feedback import Outcomes
from roadworthy.progress import Progress
from roadworthy.project import ColumnOptions, Project, parse_duration
from roadworthy.registry.opening import open_registry
from roadworthy.registry.references import Reference
from roadworthy.registry.registering import register
from roadworthy.table import read_table
from roadworthy.train import train

_DAY = 86400.0
_MIN_TEST, _MIN_NEW = 50, 100
_CANARY_PERCENT = 10
Promotion = Literal["no", "shadow", "canary", "yes"]


class TooFewLabelsError(InputError):
    """There are too few labelled rows yet to learn from, or to compare on."""


class Parts(NamedTuple):
    """Labelled rows: what the challenger learns from, and what it is compared on.

    Attributes:
        learn: Columns of the contract and the target.
        test: The newest rows, of the same columns.
        redacted: Columns that the log does not hold.
        left_out: Why rows are left out that have a label.
    """

    learn: pl.DataFrame
    test: pl.DataFrame
    redacted: tuple[str, ...]
    left_out: tuple[str, ...]


class Retrained(NamedTuple):
    """What came of retraining.

    Attributes:
        challenger: The new bundle.
        verdict: The gates, on the newest window, against the champion.
        learned: Rows that it was made of, its holdout included.
        new: Those of them that came from production.
        tested: Rows of the newest window.
        registered: `name:version` in the registry.
        promoted: Whether it took the champion's place.
        proposal: What to do next, a line each.
        left_out: Why labelled rows were left out: columns that were broken for some days.
    """

    challenger: Bundle
    verdict: Verdict
    learned: int
    new: int
    tested: int
    registered: str
    promoted: bool
    proposal: tuple[str, ...]
    left_out: tuple[str, ...]


def retrain(
    champion: Bundle,
    outcomes: Outcomes,
    project: Project,
    *,
    since: datetime | None = None,
    old: bool = True,
    budget: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Retrained:
    """Make a challenger and let it earn its way.

    Args:
        champion: The model in production.
        outcomes: Its logged predictions with what labels are known.
        project: `[data] path` for the old table, `[train]`, `[gates]`, `[monitor]`, `[registry]`.
        since: Use only labelled rows from then on; None takes `[monitor] retrain_window_days`.
        old: Whether to add the old table.
        budget: For the search; None takes `[train] budget`.
        report: Called with the progress.

    Raises:
        InputError: Too few labelled rows, or columns that the log does not hold.
    """
    options = project.monitor
    parts = split_rows(outcomes, since, options.retrain_window_days, options.retrain_test_share)
    check_logged(parts)
    contract = champion.contract
    frame = parts.learn
    if old and project.data.path is not None:
        frame = pl.concat([_old_rows(project, contract), frame], how="vertical_relaxed")
    wanted = _as_before(project, champion)
    seconds = parse_duration(budget or project.train.budget)
    table = read_table(frame, contract.target.name, project=wanted, name=champion.manifest.name)
    model = train(table, seconds, project=wanted, report=report)
    challenger = package(
        model,
        test(model, table.holdout, wanted),
        formats=project.package.formats,
        directory=project.package.directory,
        signing_key=project.registry.signing_key,
    )
    gated = project
    if project.gates.no_worse_than is None:
        gated = project.override("gates", no_worse_than="champion")
    verdict = accept(challenger, parts.test, gated, champion=champion.path)
    registered, promoted = register_challenger(challenger, champion, verdict, project)
    return Retrained(
        challenger=challenger,
        verdict=verdict,
        learned=frame.height,
        new=parts.learn.height,
        tested=parts.test.height,
        registered=registered,
        promoted=promoted,
        proposal=proposal(registered, verdict, promoted, options.retrain_promote, project),
        left_out=parts.left_out,
    )


def move_threshold(
    champion: Bundle, outcomes: Outcomes, threshold: float, project: Project
) -> Retrained:
    """Make a challenger of the champion with another threshold, and let it earn its way.

    Args:
        champion: The model in production, of two classes.
        outcomes: Its logged predictions with what labels are known.
        threshold: Probability of the positive class from which it is answered.
        project: As for `retrain`.

    Raises:
        InputError: The threshold cannot be set, or too few rows are labelled.
    """
    options = project.monitor
    window = options.retrain_window_days
    parts = split_rows(outcomes, None, window, options.retrain_test_share)
    gated = project
    if project.gates.no_worse_than is None:
        gated = project.override("gates", no_worse_than="champion", no_worse_on=("accuracy",))
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        draft = with_threshold(champion, threshold, None, directory=folder)
        verdict = accept(draft, parts.test, gated, champion=champion.path)
    challenger = with_threshold(
        champion,
        threshold,
        verdict.report,
        directory=project.package.directory,
        signing_key=project.registry.signing_key,
    )
    registered, promoted = register_challenger(challenger, champion, verdict, project)
    return Retrained(
        challenger=challenger,
        verdict=verdict,
        learned=0,
        new=0,
        tested=parts.test.height,
        registered=registered,
        promoted=promoted,
        proposal=proposal(registered, verdict, promoted, options.retrain_promote, project),
        left_out=parts.left_out,
    )


def split_rows(
    outcomes: Outcomes, since: datetime | None, window_days: float | None, test_share: float
) -> Parts:
    """The labelled rows of a window, the newest of them apart.

    Raises:
        TooFewLabelsError: There are too few.
    """
    recent, told = recent_rows(outcomes, since, window_days)
    chosen = recent.take(recent.known)
    tested = round(len(chosen) * test_share)
    if tested < _MIN_TEST or len(chosen) - tested < _MIN_NEW:
        raise TooFewLabelsError(
            f"{len(chosen):,} labelled rows are too few: {_MIN_NEW} to learn from and {_MIN_TEST} "
            "to compare on are needed",
            where="[monitor] labels",
            fix="collect labels: roadworthy feedback FILE",
        )
    inputs, contract = chosen.predictions.inputs, chosen.predictions.contract
    redacted = [
        column.name
        for column in contract.columns
        if inputs[column.name].null_count() == inputs.height and column.blank_share < 1
    ]
    rows = inputs.with_columns(_target(chosen.labels, contract))
    learned = rows.height - tested
    return Parts(rows[:learned], rows[learned:], tuple(redacted), told)


def recent_rows(
    outcomes: Outcomes, since: datetime | None, window_days: float | None
) -> tuple[Outcomes, tuple[str, ...]]:
    """The rows of a window, labelled or not, and why others in it are left out."""
    times = outcomes.predictions.times
    start = -math.inf
    if since is not None:
        start = since.timestamp()
    elif window_days is not None and len(times):
        start = float(times.max()) - window_days * _DAY
    over, healed = healed_days(outcomes.predictions)
    return outcomes.take((times >= start) & ~over), tuple(each.what for each in healed)


def check_logged(parts: Parts) -> None:
    """Raise InputError where the log does not hold columns that are to be learned from."""
    if parts.redacted:
        raise InputError(
            f"the log does not hold {', '.join(map(repr, parts.redacted[:5]))}",
            where="[serve] log_redact",
            fix="retrain from a full table with `roadworthy train`",
        )


def _target(labels: np.ndarray, contract: Contract) -> pl.Series:
    target = contract.target
    if target.task == "regression":
        return pl.Series(target.name, labels)
    return _classes(labels.astype(np.int64), target.classes, target.name)


def _classes(codes: np.ndarray, classes: tuple[ClassValue, ...], name: str) -> pl.Series:
    """Classes of the type that the table had: texts, integers or booleans."""
    kinds = {type(value) for value in classes}
    if len(kinds) == 1:
        return pl.Series(name, list(classes)).gather(codes)
    return pl.Series(name, [class_name(value) for value in classes]).gather(codes)


def _old_rows(project: Project, contract: Contract) -> pl.DataFrame:
    """The rows of the old table, as the logged ones are."""
    table = read_table(project.data.path, contract.target.name, project=_kinds(project, contract))
    missing = [name for name in contract.names if name not in table.frame.columns]
    if missing:
        raise InputError(
            f"the old table has no column {missing[0]!r}",
            where=str(project.data.path),
            fix="correct [data] path, or leave the old table out",
        )
    if table.task == "regression":
        target = pl.Series(contract.target.name, table.labels)
    else:
        target = _classes(table.labels.astype(np.int64), table.classes, contract.target.name)
    return table.frame.select(contract.names).with_columns(target)


def _kinds(project: Project, contract: Contract) -> Project:
    """The project, with every column taken for what the champion takes it for."""
    said = dict(project.data.columns)
    for column in contract.columns:
        known = said.get(column.name, ColumnOptions())
        said[column.name] = msgspec.structs.replace(known, kind=column.kind)
    data = msgspec.structs.replace(project.data, columns=said)
    return msgspec.structs.replace(project, data=data)


def _as_before(project: Project, champion: Bundle) -> Project:
    """The project for rows in the order of their time, without columns that logs do not hold."""
    named = _kinds(project, champion.contract).override("project", name=champion.manifest.name)
    known = {*champion.contract.names, champion.contract.target.name}
    data = named.data
    columns = {name: options for name, options in data.columns.items() if name in known}
    changes = {
        key: None
        for key in ("group", "time", "weight")
        if getattr(data, key) is not None and getattr(data, key) not in known
    }
    split = "random" if changes or data.split == "auto" else data.split
    data = msgspec.structs.replace(data, columns=columns, drop=(), split=split, **changes)
    return msgspec.structs.replace(named, data=data)


def register_challenger(
    challenger: Bundle,
    champion: Bundle,
    verdict: Verdict,
    project: Project,
    *,
    kind: str = "retrained",
) -> tuple[str, bool]:
    """Register with what it follows and what the gates said; promote if that is asked for."""
    name = challenger.manifest.name
    with open_registry(project) as registry:
        known = {version.version for version in registry.versions(name)}
        parent = Reference(name, champion.version) if champion.version in known else None
        version, _ = register(
            registry,
            challenger.path,
            tags={"origin": "retrain", "kind": kind, "champion": champion.version[:12]},
            parent=parent,
            verdict=verdict.outcome,
        )
        wanted = project.monitor.retrain_promote == "yes" and verdict.outcome == "pass"
        if wanted:
            registry.promote(Reference(name, version.version), verdict=verdict.outcome)
    if verdict.outcome != "pass":
        keep_evidence(verdict, Path(project.package.directory))
    return version.short, wanted


def proposal(
    registered: str, verdict: Verdict, promoted: bool, wanted: Promotion, project: Project
) -> tuple[str, ...]:
    """What to do next with a challenger, a line each."""
    name = registered.partition(":")[0]
    if verdict.outcome != "pass":
        stopping = ", ".join(f"{check.name} ({check.outcome})" for check in verdict.stopping())
        return (f"keep the champion: {stopping}",)
    if promoted:
        return (f"{registered} is {name}@champion now", f"roadworthy models rollback {name}")
    promote = f"roadworthy models promote {registered}"
    if wanted == "shadow":
        return (f'[serve] shadow = "{registered}"', "compare at GET /shadow, then:", promote)
    if wanted == "canary":
        share = project.serve.canary_percent or _CANARY_PERCENT
        return (f'[serve] canary = "{registered}", canary_percent = {share:g}', "then:", promote)
    return (promote,)
