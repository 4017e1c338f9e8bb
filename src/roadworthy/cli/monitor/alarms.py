"""`roadworthy monitor alarms` and `roadworthy monitor export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from roadworthy.cli.advise import LogOption, ModelOption, SinceOption
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import load_project


def alarms(
    to: Annotated[
        str | None,
        typer.Option("--to", help="Write rules for prometheus, cloudwatch, azure or google."),
    ] = None,
    out: Annotated[str, typer.Option("--out", help="Folder for them.")] = "alarms",
    service: Annotated[
        str, typer.Option("--service", help="The Prometheus job, or the service's name.")
    ] = "roadworthy",
    notify: Annotated[
        str, typer.Option("--notify", help="SNS topic, action group, channel, or webhook there.")
    ] = "",
    resource: Annotated[
        str, typer.Option("--resource", help="The machine's id in its cloud.")
    ] = "",
    scrape: Annotated[
        str | None,
        typer.Option(
            "--scrape",
            help="The server's /metrics (or /livez) to look at; else \\[monitor] scrape.",
        ),
    ] = None,
    model: ModelOption = None,
    log: LogOption = None,
    since: SinceOption = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Write the alarms for a place that can ring, or look now and tell ourselves.

    Without --to: looks at counts, logged predictions and labels, ages and the log's disk, at the
    server where --scrape names it, and sends what is new or over by the webhook and the mail server
    of the project file; run it every few minutes.

    Example: `roadworthy monitor alarms --to prometheus --out rules`
    """
    from roadworthy.monitor.alarms import TARGETS, Place, alarm_list
    from roadworthy.monitor.alarms.notices import tell

    wanted = load_project(project, destination).override("monitor", scrape=scrape)
    if to is None:
        from roadworthy.cli.monitor.looking import all_findings

        name, findings = all_findings(wanted, model, log, since)
        notices = tell(findings, name, wanted.monitor)
        if json:
            print_json({"notices": msgspec.to_builtins(notices)})
        else:
            for notice in notices:
                typer.echo(f"{notice.state.replace('_', ' ')}: {notice.key}: {notice.what}")
            typer.echo(f"{len(notices)} notices")
        return
    if to not in TARGETS:
        raise InputError(f"{to!r} is no place for alarms", fix=f"one of {', '.join(TARGETS)}")
    place = Place(_name(model, wanted.project.name), service, notify, resource)
    files = TARGETS[to].render(alarm_list(wanted.monitor), place)
    written = _write(Path(out), files)
    if json:
        print_json({"files": written})
    else:
        typer.echo("\n".join(written))


def export(
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File to write; else standard output.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="prometheus, or embedded (CloudWatch).")
    ] = "prometheus",
    to: Annotated[
        str | None, typer.Option("--to", help="Send them to cloudwatch, azure, google or otlp.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Address; else \\[monitor] push_endpoint.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option("--resource", help="Azure's resource, or Google's project.")
    ] = None,
    model: ModelOption = None,
    log: LogOption = None,
    since: SinceOption = None,
    project: ProjectFile = None,
    destination: Destination = None,
) -> None:
    """Write findings, quality and ages as metrics, or send them.

    Example: `roadworthy monitor export -o /var/lib/node_exporter/roadworthy.prom`
    """
    from roadworthy.cli.monitor.looking import export_samples, push
    from roadworthy.monitor.export import to_embedded, to_prometheus

    forms = {"prometheus": to_prometheus, "embedded": to_embedded}
    if form not in forms:
        raise InputError(f"{form!r} is no format", fix=f"one of {', '.join(forms)}")
    wanted = load_project(project, destination).override(
        "monitor", push_endpoint=endpoint, push_resource=resource
    )
    found = export_samples(wanted, model, log, since)
    if to is not None:
        typer.echo(f"{push(wanted, to, found)} values were sent to {to}")
        return
    content = forms[form](found)
    if output is None:
        typer.echo(content.decode(), nl=False)
    else:
        _write(Path(output).parent, {Path(output).name: content})


def _name(model: str | None, named: str | None) -> str:
    """The model's name, of a reference or of the project."""
    if model is not None and "/" not in model:
        return model.partition(":")[0].partition("@")[0]
    if named is None:
        raise InputError(
            "the model's name is not known", where="[project] name", fix="--model NAME"
        )
    return named


def _write(folder: Path, files: dict[str, bytes]) -> list[str]:
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            draft = folder / f".{name}.draft"
            draft.write_bytes(content)
            draft.replace(folder / name)
            written.append(str(folder / name))
    except OSError as error:
        raise OutsideError(
            f"the files cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return written
