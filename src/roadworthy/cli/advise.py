"""`roadworthy advise`: what to do next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import Project, load_project

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle
    from roadworthy.monitor.advice import Action, Situation, Swap
    from roadworthy.monitor.feedback import Outcomes
    from roadworthy.monitor.findings import Finding
    from roadworthy.monitor.overview import Release

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Bundle in production; else the newest of \\[package] directory."),
]
LogOption = Annotated[
    str | None, typer.Option("--log", help="Prediction log; else \\[serve] log_folder.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="First day of what is recent; else the last third.")
]


class Looked(NamedTuple):
    """A model in production, and what is known of it."""

    bundle: Bundle
    outcomes: Outcomes
    situation: Situation
    actions: tuple[Action, ...]


def advise(
    model: ModelOption = None,
    log: LogOption = None,
    since: SinceOption = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Say what to do next, ranked, with the evidence, the expected gain and the command.

    Example: `roadworthy advise --model loans@champion`
    """
    looked = look_at(load_project(project, destination), model, log, since)
    if json:
        print_json(document(looked))
        return
    console = Console(highlight=False, soft_wrap=True)
    for place, action in enumerate(looked.actions, 1):
        console.print(f"[bold]{place}. {escape(action.what)}[/]  [dim](rule {action.rule})[/]")
        if action.gain is not None:
            console.print(f"   expected gain: {escape(str(action.gain))} {action.metric}")
        for line in action.evidence:
            console.print(f"   - {escape(line)}")
        if action.command:
            console.print(f"   [cyan]{escape(action.command)}[/]")


def document(looked: Looked) -> dict[str, Any]:
    """Advice as plain data."""
    situation = looked.situation
    return {
        "model": situation.model,
        "version": looked.bundle.version,
        "rows": situation.rows,
        "labelled": situation.labelled,
        "actions": msgspec.to_builtins(list(looked.actions)),
        "findings": msgspec.to_builtins(list(situation.findings), enc_hook=float),
        "quality": msgspec.to_builtins(situation.quality),
        "estimated": msgspec.to_builtins(dict(situation.expected)),
        "concept_gaps": msgspec.to_builtins(list(situation.gaps)),
    }


def look_at(
    wanted: Project,
    model: str | None,
    log: str | None,
    since: str | None,
    *,
    opened: Bundle | None = None,
    counted: tuple[Finding, ...] | None = None,
) -> Looked:
    """Everything that is known of a model in production.

    Args:
        wanted: The project.
        model: Which; None takes the newest bundle.
        log: Its prediction log; None takes the project's.
        since: First day of what is recent.
        opened: The bundle, where it is open already.
        counted: What the counts say, where it is known already.
    """
    from roadworthy.monitor.advice import advise as decide

    bundle, outcomes = load_outcomes(wanted, model, log, opened)
    swap, before = _last_swap(wanted, bundle)
    situation, actions = decide(
        bundle,
        outcomes,
        since=None if since is None else parse_day(since),
        findings=_counted(bundle, wanted) if counted is None else counted,
        swap=swap,
        before=before,
        period=wanted.monitor.period,
        delay_days=wanted.monitor.label_delay_days,
    )
    return Looked(bundle, outcomes, situation, actions)


def load_outcomes(
    wanted: Project, model: str | None, log: str | None, opened: Bundle | None = None
) -> tuple[Bundle, Outcomes]:
    """A model in production with its logged predictions and their labels."""
    from roadworthy.acceptance import resolve
    from roadworthy.monitor.feedback import join as join_labels
    from roadworthy.monitor.feedback import open_labels
    from roadworthy.monitor.predictions import read_predictions

    bundle = opened if opened is not None else resolve(model, wanted)
    folder = log or wanted.serve.log_folder
    if folder is None:
        raise InputError(
            "there is no prediction log",
            where="[serve] log_folder",
            fix="set it and serve again, or name one with --log",
        )
    predictions = read_predictions(folder, bundle.contract, model=bundle.manifest.name)
    with open_labels(wanted) as store:
        if wanted.serve.feedback_folder is not None:
            store.collect(Path(wanted.serve.feedback_folder))
        return bundle, join_labels(predictions, store.frame())


def _counted(bundle: Bundle, wanted: Project) -> tuple[Finding, ...] | None:
    """What the counts say, where served models are counted; None where they are not."""
    from roadworthy.monitor.inspection import inspect

    counts = wanted.monitor.counts
    if counts is None or not Path(counts).is_dir() or bundle.reference is None:
        return None
    return inspect(bundle, wanted.monitor).findings


def parse_day(text: str) -> datetime:
    """A moment in ISO 8601, UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no day", where="--since", fix="write 2026-01-31") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _last_swap(wanted: Project, bundle: Bundle) -> tuple[Swap | None, Bundle | None]:
    """The promotion that brought this version, and the version before, as the registry knows."""
    from roadworthy.bundle import Bundle as Open
    from roadworthy.monitor.advice import Swap
    from roadworthy.registry.fetching import fetch
    from roadworthy.registry.opening import open_registry
    from roadworthy.registry.references import Reference

    name = bundle.manifest.name
    entries = releases(wanted, name)
    if len(entries) < 2 or entries[-1].version != bundle.version:
        return None, None
    before = entries[-2].version
    with open_registry(wanted, create=False) as registry:
        path = fetch(registry, registry.find(Reference(name, before)))
    at = entries[-1].at
    return Swap(bundle.version, before, at), Open(path, trusted_keys=wanted.registry.trusted_keys)


def releases(wanted: Project, model: str) -> list[Release]:
    """When which version became the champion, as the registry knows; none without a registry."""
    from roadworthy.monitor.overview import Release
    from roadworthy.registry.opening import open_registry
    from roadworthy.registry.references import CHAMPION

    try:
        with open_registry(wanted, create=False) as registry:
            history = registry.history(model)
    except InputError:
        return []  # nothing is registered: there is nothing to roll back to
    return [
        Release(parse_day(entry.at), entry.version, entry.action)
        for entry in history
        if entry.action in ("promote", "rollback") and entry.place == CHAMPION
    ]
