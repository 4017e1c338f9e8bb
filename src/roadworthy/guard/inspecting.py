"""Run the checks, match acknowledgements, and stop the job where a finding is serious."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from roadworthy.errors import FindingsError
from roadworthy.guard.checks import CHECKS, Case, Check, Finding, quoted
from roadworthy.project import GuardSection, Project, parse_duration
from roadworthy.project.guard import CheckName
from roadworthy.table import Table

_ORDER = {"serious": 0, "warning": 1, "note": 2}
_SHARE = 0.08
"""Share of the budget that the guard may take."""
_CELLS_PER_SECOND = 100_000
"""Cells of the rows a model is fitted on that a second pays for."""
_MODEL_ROWS = (500, 8_000)
_MODEL_COLUMNS = 20
_COLUMNS_PER_SECOND = 60
"""The same of columns, where they are many and rows few."""
_ROWS = (2_000, 20_000)


def inspect(
    table: Table,
    options: GuardSection | None = None,
    *,
    budget: str | float = 60.0,
    seed: int = 0,
    folds: int = 5,
) -> tuple[Finding, ...]:
    """Look for faults of a table before a model is trained on it.

    Args:
        table: The table, with its split.
        options: Which checks to run and what is acknowledged; None takes every default.
        budget: Wall time of the whole job; it sets how many rows are looked at.
        seed: Seed of samples and models; the same seed and budget give the same findings.
        folds: Folds that the search will cut the training rows into.

    Returns:
        The findings, serious ones first. Nothing is raised for what is found: see `check`.
    """
    options = options or GuardSection()
    case = _case(table, parse_duration(budget), seed, folds)
    found: list[Finding] = []
    with np.errstate(all="ignore"):  # numbers near the end of float64; scores stay bounded
        for check in _chosen(options):
            found += _run(check, case)
    found = [
        msgspec.structs.replace(finding, acknowledged=_acknowledged(finding, options))
        for finding in found
    ]
    found += _unmatched(found, options)
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def check(
    table: Table, project: Project | None = None, *, budget: str | float | None = None
) -> tuple[Finding, ...]:
    """Inspect a table and stop where a serious finding is not acknowledged.

    Args:
        table: The table, with its split.
        project: The project; None takes every default.
        budget: Wall time of the whole job; None takes `[train] budget`.

    Returns:
        The findings, serious ones first.

    Raises:
        FindingsError: There are serious findings that the project does not acknowledge; all are
            listed.
    """
    options = project or Project()
    train = options.train
    findings = inspect(
        table,
        options.guard,
        budget=train.budget if budget is None else budget,
        seed=train.seed,
        folds=train.folds,
    )
    stopping = [f for f in findings if f.severity == "serious" and not f.acknowledged]
    if stopping:
        raise _error(stopping, options)
    return findings


def _case(table: Table, seconds: float, seed: int, folds: int) -> Case:
    width = sum(profile.used for profile in table.profiles) + 5
    cells = _SHARE * seconds * _CELLS_PER_SECOND
    models = max(1, len(table.classes) - 1) ** 0.5
    return Case(
        table=table,
        seed=seed,
        folds=folds,
        row_limit=int(np.clip(10 * cells / width, *_ROWS)),
        model_limit=int(np.clip(cells / width / models, *_MODEL_ROWS)),
        column_limit=int(max(_MODEL_COLUMNS, _SHARE * seconds * _COLUMNS_PER_SECOND / models)),
    )


def _chosen(options: GuardSection) -> tuple[Check, ...]:
    if options.checks == "off":
        return ()
    if options.checks == "all":
        return tuple(CHECKS.values())
    return tuple(check for name, check in CHECKS.items() if name in options.checks)


def _run(check: Check, case: Case) -> list[Finding]:
    try:
        return list(check.find(case))
    except Exception as error:  # a check that fails must not cost the user the model
        return [
            Finding(
                check=check.name,
                severity="note",
                what=f"the check could not be run on this table ({type(error).__name__})",
                evidence={"failed": str(error)},
                fix="the job goes on without it; please report the table's shape and this message",
            )
        ]


def _acknowledged(finding: Finding, options: GuardSection) -> bool:
    return any(entry.strip() in finding.names for entry in options.acknowledge)


def _unmatched(found: Iterable[Finding], options: GuardSection) -> Iterator[Finding]:
    known = sorted({name for finding in found for name in finding.names})
    checks = typing.get_args(CheckName)
    for entry in options.acknowledge:
        if entry.strip() in known:
            continue
        near = difflib.get_close_matches(entry, [*known, *checks], n=1)
        yield Finding(
            check="guard",
            severity="note",
            what=f"[guard] acknowledge has {entry!r}, and nothing of that name was found",
            evidence={"acknowledge": entry},
            fix=f"did you mean {near[0]!r}?" if near else "take it out of [guard] acknowledge",
        )


def _error(stopping: list[Finding], project: Project) -> FindingsError:
    count = len(stopping)
    listed = "\n".join(f"  {finding.names[0]}: {finding.what}" for finding in stopping)
    names = [*project.guard.acknowledge, *(finding.names[0] for finding in stopping)]
    fixes = "\n".join(f"  {finding.names[0]}: {finding.fix}" for finding in stopping)
    return FindingsError(
        f"{count} serious finding{'s stop' if count > 1 else ' stops'} the job:\n{listed}",
        [msgspec.to_builtins(finding) for finding in stopping],
        fix=f"in roadworthy.toml\n{fixes}\n"
        f"  to go on all the same: [guard] acknowledge = [{', '.join(map(quoted, names))}]",
    )
