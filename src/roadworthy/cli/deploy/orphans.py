"""`roadworthy deploy orphans`: what was left behind at a place, and its removal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.deploy.options import To, deployment_of, watch
from roadworthy.cli.options import Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def orphans(
    to: To = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="Name of one to take away; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """List what carries Roadworthy's mark at a place and belongs to no deployment that is known.

    Known are the deployments of the project's file and those that the registry has on record.
    Those of people with another registry are listed too: nothing is removed but by its name.

    Example: `roadworthy deploy orphans --to prod --remove old-trial`
    """
    from roadworthy.deploy.deploying import orphans as find
    from roadworthy.deploy.deploying import remove_orphan

    wanted = load_project(project, destination)
    name = deployment_of(wanted, to)
    asked = list(dict.fromkeys(remove or ()))
    if asked and not yes:
        if json or not sys.stdin.isatty():
            raise InputError("nobody can be asked whether to remove it", fix="say -y")
        typer.confirm(f"remove {', '.join(asked)}?", abort=True)
    for each in asked:
        remove_orphan(wanted, name, each, watch=None if quiet else watch)
    found = find(wanted, name)
    if json:
        print_json({"orphans": found, "removed": asked})
        return
    console = Console(highlight=False, soft_wrap=True)
    place = escape(wanted.deploy[name].place)
    for each in asked:
        console.print(f"{escape(each)} is gone from {place}")
    for orphan in found:
        of = f", model {escape(orphan.model)}" if orphan.model else ""
        console.print(f"[bold]{escape(orphan.deployment)}[/] on {place}{of}")
        for part in orphan.parts:
            console.print(f"  {escape(part)}")
    if not found:
        console.print(f"no orphans on {place}")
