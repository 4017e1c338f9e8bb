"""`roadworthy deploy verify`: whether a place does what is expected of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.deploy.options import To, What, deployment_of, watch
from roadworthy.cli.options import Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import Project, load_project

if TYPE_CHECKING:
    from roadworthy.deploy.verifying import Checked


def verify(
    model: What = None,
    to: To = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Rehearse with a throw-away: made, swapped, taken away."),
    ] = False,
    url: Annotated[
        str | None, typer.Option("--url", help="Address that callers use, to ask it.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Public port of the throw-away.")
    ] = 18080,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Check that a deployment is as wanted and answers; exit code 1 when it is not.

    With `--live`, rehearse a deployment's whole life at its place under a name of its own: plan,
    apply, swap, roll back. It is destroyed at the end, whatever happens; in a cloud it costs money
    until then.

    Example: `roadworthy deploy verify --live --to prod`
    """
    from roadworthy.deploy.verifying import rehearse
    from roadworthy.deploy.verifying import verify as look

    def told(checked: Checked) -> None:
        if not (quiet or json):
            mark = "[green]pass[/]" if checked.passed else "[red]fail[/]"
            what = f"{checked.name} ({checked.seconds:g} s)"
            Console(highlight=False, soft_wrap=True).print(
                f"{mark}  [bold]{escape(what)}[/]  {escape(checked.said)}"
            )

    wanted = load_project(project, destination)
    name = deployment_of(wanted, to)
    if live:
        _ask(wanted, name, yes=yes, json=json)
        found = rehearse(wanted, name, model, port=port, told=told, watch=None if quiet else watch)
    else:
        found = look(wanted, name, model, url=url, told=told)
    if json:
        print_json({"verification": found, "passed": found.passed})
    for each in found.left:
        typer.echo(f"something may be left there; take it away with: {each}", err=True)
    if not found.passed:
        raise typer.Exit(1)


def _ask(project: Project, name: str, *, yes: bool, json: bool) -> None:
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise InputError("nobody can be asked whether to rehearse", fix="say -y")
    from roadworthy.deploy.deploying import section_of

    typer.confirm(f"make a throw-away on {section_of(project, name).place}?", abort=True)
