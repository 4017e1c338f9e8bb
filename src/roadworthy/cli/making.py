"""From a table to a bundle: what `launch` and `train` have in common."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from roadworthy.cli.output import Board
from roadworthy.errors import InputError
from roadworthy.project import Project, parse_duration
from roadworthy.project.data import shown

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle
    from roadworthy.evaluate import Report
    from roadworthy.guard import Finding
    from roadworthy.table import Table
    from roadworthy.train import TrainedModel


class Made(NamedTuple):
    """Everything that came of a table.

    Attributes:
        table: The table.
        findings: What the guard found.
        model: The trained model.
        report: Its report.
        bundle: The bundle.
        taken: Seconds from the start.
    """

    table: Table
    findings: tuple[Finding, ...]
    model: TrainedModel
    report: Report
    bundle: Bundle
    taken: float


def make(
    source: str | None,
    wanted: Project,
    *,
    verb: str,
    champion: str | None,
    quiet: bool,
    gated: bool = True,
) -> Made:
    """Read, guard, train, test and package a table.

    Args:
        source: The table; None takes `[data] path`.
        wanted: The project.
        verb: The verb that asks, for messages.
        champion: A bundle to compare with; None takes `[gates] champion`.
        quiet: Show no progress.
        gated: Whether a failed gate stops packaging.
    """
    started = time.monotonic()
    source = source or wanted.data.path
    if source is None:
        raise InputError("no table is named", fix=f"roadworthy {verb} DATA --target COLUMN")
    seconds = parse_duration(wanted.train.budget)
    if wanted.registry.signing_key:
        from roadworthy.bundle.keys import open_signer

        open_signer(wanted.registry.signing_key)  # a wrong key is said before the work, not after
    with Board(seconds, quiet=quiet).live() as board:
        board.begin("read", shown(source))
        # seconds of imports, while we read
        loading = threading.Thread(target=_load_training, daemon=True)
        loading.start()
        from roadworthy.table import read_table

        table = read_table(source, project=wanted, name=wanted.project.name)
        loading.join()
        from roadworthy.acceptance import gate_bundle, rival
        from roadworthy.bundle.write import package
        from roadworthy.evaluate import test
        from roadworthy.guard import check
        from roadworthy.train import train

        board.begin("guard", f"{len(table.profiles)} columns")
        findings = check(table, wanted, budget=seconds)
        named = champion or wanted.gates.champion
        against = None if named is None else rival(named, wanted)
        model = train(table, seconds, project=wanted, report=board, started=started)
        board.begin("test", f"{len(table.holdout):,} rows held out")
        report = test(model, table.holdout, wanted, rival=against)
        board.begin("package", "export, parity, write")
        bundle = package(
            model,
            report,
            formats=wanted.package.formats,
            trusted_types=wanted.package.trusted_types,
            directory=wanted.package.directory,
            signing_key=wanted.registry.signing_key,
            gate=functools.partial(gate_bundle, project=wanted)
            if gated and wanted.gates.any
            else None,
        )
    return Made(table, findings, model, report, bundle, time.monotonic() - started)


def _load_training() -> None:
    with contextlib.suppress(Exception):  # what is missing is told where the import stands
        importlib.import_module("roadworthy.acceptance.accepting")
