"""`roadworthy deploy plan|status|logs|export`: look, and change nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.deploy.options import To, What, deployment_of, print_plan
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def plan(
    model: What = None,
    to: To = None,
    commands: Annotated[
        bool, typer.Option("--commands", help="Also show command lines that do the same by hand.")
    ] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Show what apply would do now; nothing is changed.

    Example: `roadworthy deploy plan adult@champion --to prod`
    """
    from roadworthy.deploy.deploying import plan as make

    wanted = load_project(project, destination)
    found = make(wanted, deployment_of(wanted, to), model)
    if json:
        print_json({"plan": found, "changes": len(found.changes)})
    else:
        print_plan(found, commands=commands)


def status(
    to: To = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Say what is serving there, what is kept, and what failed; exit code 1 when nothing answers.

    Example: `roadworthy deploy status --to prod`
    """
    from roadworthy.deploy.deploying import status as look

    wanted = load_project(project, destination)
    found = look(wanted, deployment_of(wanted, to))
    if json:
        print_json({"status": found})
    else:
        console = Console(highlight=False, soft_wrap=True)
        state = "ready" if found.ready else "not ready"
        serving = found.serving or "nothing"
        console.print(f"[bold]{escape(found.deployment)}[/] on {escape(found.place)}: {state}")
        console.print(f"  serving {escape(serving)}; kept: {', '.join(found.releases) or 'none'}")
        for name, value in found.details.items():
            if value:
                console.print(f"  {escape(name)}: {escape(str(value))}")
    if not found.ready:
        raise typer.Exit(1)


def logs(
    to: To = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="And those to come.")] = False,
    project: ProjectFile = None,
    destination: Destination = None,
) -> None:
    """Print the last lines of the servers' log there.

    Example: `roadworthy deploy logs --to prod --follow`
    """
    from roadworthy.deploy.deploying import logs as read

    wanted = load_project(project, destination)
    for line in read(wanted, deployment_of(wanted, to), lines, follow=follow):
        typer.echo(line)


def export(
    model: What = None,
    to: To = None,
    form: Annotated[str, typer.Option("--format", help="cloud-init or terraform.")] = "cloud-init",
    release_url: Annotated[
        str,
        typer.Option("--release-url", help="https:// address under which a new host finds files."),
    ] = "",
    out: Annotated[str, typer.Option("--out", help="Folder to write.")] = "deploy",
    python: Annotated[str, typer.Option("--python", help="The host's Python.")] = "3.11",
    machine: Annotated[str, typer.Option("--machine", help="x86_64 or aarch64.")] = "x86_64",
    glibc: Annotated[str, typer.Option("--glibc", help="The host's C library.")] = "2.36",
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Write cloud-init user data for a new host, or manifests and a Helm chart for Kubernetes.

    With `--format terraform`, write what a cloud's target makes as JSON for Terraform or OpenTofu.

    Example: `roadworthy deploy export adult@champion --to prod --release-url https://store.example`
    """
    from roadworthy.deploy.deploying import export as write
    from roadworthy.deploy.deploying import export_terraform

    wanted = load_project(project, destination)
    if form == "terraform":
        file = export_terraform(wanted, deployment_of(wanted, to), model, out)
        if json:
            print_json({"file": str(file)})
        else:
            typer.echo(f"{file} written")
        return
    if form != "cloud-init":
        raise InputError(f"--format {form!r} is not known", fix="say cloud-init or terraform")
    facts = {"python": python, "machine": machine, "glibc": glibc}
    found = write(wanted, deployment_of(wanted, to), model, release_url, out, facts)
    if json:
        print_json(found)
    elif "user_data" not in found:
        typer.echo(f"{len(found['files'])} files written to {found['folder']}")
    else:
        typer.echo(f"{found['user_data']} written ({found['bytes']:,} bytes)")
        typer.echo(f"upload the {len(found['files'])} files of {found['folder']} to {release_url}")
