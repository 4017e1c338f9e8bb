"""`roadworthy monitor report`: what the counts of a served model say."""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.advise import LogOption
from roadworthy.cli.files import write_file
from roadworthy.cli.options import AnyModel, Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import Project, load_project, parse_duration

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle
    from roadworthy.monitor.advice import Situation
    from roadworthy.monitor.findings import Finding
    from roadworthy.monitor.inspection import Inspection
    from roadworthy.monitor.overview import Overview

Store = Annotated[
    str | None, typer.Option("--store", help="Folder of the counts; else \\[monitor] counts.")
]
Against = Annotated[
    str | None,
    typer.Option("--against", help="Compare with training, last-week, weekday or DATE..DATE."),
]
_COLOURS = {"serious": "bold red", "warning": "yellow", "info": "dim"}


def report(
    model: AnyModel = None,
    store: Store = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Look from here on: 7d, 24h, or a date. Default: everything."),
    ] = None,
    against: Against = None,
    log: LogOption = None,
    html: Annotated[
        str | None, typer.Option("--html", help="Also write a page that opens offline.")
    ] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="Exit with 1 on this: never, serious or warning.")
    ] = "never",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Say what drifts, what is broken, and since when.

    Example: `roadworthy monitor report churn@production --html monitoring.html`
    """
    from roadworthy.cli.monitor.looking import overview

    if fail_on not in ("never", "serious", "warning"):
        raise InputError(
            f"{fail_on!r} is no severity", where="--fail-on", fix="never, serious or warning"
        )
    wanted = load_project(project, destination).override("monitor", counts=store, against=against)
    bundle = open_model(model, wanted)
    known = overview(bundle, wanted, look(bundle, wanted, since), log)
    inspection = known.inspection
    if html is not None:
        from roadworthy.monitor.page import render_overview

        write_file(Path(html), render_overview(known))
    if json:
        print_json(content(known))
    else:
        _print(known, html)
    failing = {"never": (), "serious": ("serious",), "warning": ("serious", "warning")}[fail_on]
    if any(finding.severity in failing for finding in inspection.findings):
        raise typer.Exit(1)


def open_model(model: str | None, project: Project) -> Bundle:
    """The bundle that is looked at; the newest of the project when none is named."""
    from roadworthy.acceptance import resolve

    return resolve(model, project)


def look(bundle: Bundle, project: Project, since: str | None) -> Inspection:
    """Inspect what was counted of a model."""
    from roadworthy.monitor.inspection import inspect

    if project.monitor.counts is not None and not Path(project.monitor.counts).is_dir():
        raise InputError(
            "there are no counts here",
            where=project.monitor.counts,
            fix="serve with [monitor] counts set to this folder, or name another with --store",
        )
    return inspect(bundle, project.monitor, since=first_hour(since))


def first_hour(since: str | None) -> int | None:
    """The hour since 1970 that a duration or a date names.

    Raises:
        InputError: It is neither.
    """
    if since is None:
        return None
    if (days := re.fullmatch(r"(\d{1,5})d", since.strip())) is not None:
        return int((time.time() - 86400 * int(days[1])) // 3600)
    try:
        moment = datetime.datetime.fromisoformat(since)
    except ValueError:
        return int((time.time() - parse_duration(since, "--since")) // 3600)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() // 3600)


def content(known: Overview) -> dict[str, Any]:
    """An overview for machines."""
    inspection, situation = known.inspection, known.situation
    history, judged, coverage = inspection.history, inspection.judged, known.coverage
    return {
        "model": inspection.model,
        "version": inspection.version,
        "rows": history.rows,
        "days": len(history.days),
        "logged": None if coverage is None else msgspec.to_builtins(coverage._asdict()),
        "against": inspection.against,
        "judged_by": "days" if judged is not None else "rows",
        "findings": msgspec.to_builtins(list(inspection.findings), enc_hook=float),
        "labelled": None if situation is None else situation.labelled,
        "quality": None if situation is None else msgspec.to_builtins(situation.quality),
        "estimated": {} if situation is None else msgspec.to_builtins(dict(situation.expected)),
        "actions": msgspec.to_builtins(list(known.actions)),
        "alarms": [key for key, _ in known.alarms],
    }


def told(finding: Finding) -> str:
    """A finding in two lines."""
    since = "" if finding.since is None else f"  since {finding.since:%Y-%m-%d %H:%M} UTC\n"
    colour = _COLOURS[finding.severity]
    return (
        f"[{colour}]{finding.severity}[/] {escape(finding.what)}\n{since}"
        f"  what to do: {escape(finding.fix)}"
    )


def _print(known: Overview, html: str | None) -> None:
    inspection = known.inspection
    from roadworthy.monitor.inspection import health

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    history = inspection.history
    name = f"{inspection.model}:{inspection.version[:12]}"
    days = "1 day" if len(history.days) == 1 else f"{len(history.days)} days"
    console.print(
        f"[bold]{escape(name)}[/]: {history.rows:,} rows on {days}; {health(inspection)[1]}"
    )
    for finding in inspection.findings:
        console.print(told(finding))
    if known.situation is not None:
        console.print(quality_line(known.situation))
    for action in known.actions[:1]:
        console.print(f"[bold]what to do first: {escape(action.what)}[/]")
    if html is not None:
        console.print(f"page: {escape(html)}")


def quality_line(situation: Situation) -> str:
    """Where quality stands, in a line."""
    metric = "accuracy" if situation.target.classes else "mae"
    parts = [f"{situation.labelled:,} of {situation.rows:,} recent predictions have a label"]
    if situation.quality is not None and metric in situation.quality.metrics:
        found = situation.quality.metrics[metric]
        if found.value is not None:
            parts.append(f"{metric} by labels {found.value:.3g}")
    if metric in situation.expected:
        guess = situation.expected[metric]
        parts.append(f"estimated {guess.value:.3g} ({guess.low:.3g} to {guess.high:.3g})")
    if metric in situation.reference:
        parts.append(f"on the holdout {situation.reference[metric]:.3g}")
    return "; ".join(parts)
