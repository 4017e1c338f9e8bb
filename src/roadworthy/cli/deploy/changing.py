"""`roadworthy deploy apply|rollback|destroy`: change what is there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from roadworthy.cli.deploy.options import To, What, deployment_of, print_plan, watch
from roadworthy.cli.options import Destination, Json, ProjectFile, Quiet
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def apply(
    model: What = None,
    to: To = None,
    ask: Annotated[
        str | None,
        typer.Option(
            "--ask",
            help="Address that callers use: afterwards ask it golden rows and gates, and go back "
            "to the release before if it fails.",
        ),
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a place serve a model, without losing a request; what is there already is left alone.

    The new release starts beside the old one, must become ready, and is asked its golden rows and
    held to the gates there before callers get it. Exit code 1 when it fails; callers then still get
    the old one. After any failure, run the same again: it goes on where it ended.

    Example: `roadworthy deploy apply adult@champion --to prod`
    """
    from roadworthy.deploy import asking, deploying

    wanted = load_project(project, destination)
    name, told = deployment_of(wanted, to), None if quiet else watch
    if ask is None:
        done = deploying.apply(wanted, name, model, watch=told)
    else:
        done = asking.apply_and_ask(wanted, name, model, ask, watch=told)
    if json:
        print_json({"plan": done, "changes": len(done.changes)})
    else:
        _say(f"{done.model}:{done.version[:12]} serves", len(done.changes))


def rollback(
    release: Annotated[
        str | None, typer.Argument(help="First characters of a release; else the one before.")
    ] = None,
    to: To = None,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a release that is kept there serve again.

    Example: `roadworthy deploy rollback --to prod`
    """
    from roadworthy.deploy.deploying import rollback as run

    wanted = load_project(project, destination)
    done = run(wanted, deployment_of(wanted, to), release, watch=None if quiet else watch)
    if json:
        print_json({"plan": done, "changes": len(done.changes)})
    else:
        _say(f"release {done.release} serves", len(done.changes))


def destroy(
    to: To = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Take away everything there that carries the deployment's mark, and nothing else.

    Example: `roadworthy deploy destroy --to staging`
    """
    from roadworthy.deploy.deploying import destroy as run
    from roadworthy.deploy.deploying import plan_destroy

    wanted = load_project(project, destination)
    name = deployment_of(wanted, to)
    if not yes:
        if json or not sys.stdin.isatty():
            raise InputError("nobody can be asked whether to destroy it", fix="say -y")
        planned = plan_destroy(wanted, name)
        print_plan(planned)
        if planned.changes:
            typer.confirm(f"destroy {name}?", abort=True)
    done = run(wanted, name, watch=None if quiet else watch)
    if json:
        print_json({"plan": done, "changes": len(done.changes)})
    else:
        _say(f"{name} is gone from {done.place}", len(done.changes))


def _say(what: str, changes: int) -> None:
    typer.echo(f"{what}: {changes} steps" if changes else f"{what}: there was nothing to do")
