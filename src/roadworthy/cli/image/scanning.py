"""`roadworthy image scan`: known vulnerabilities."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roadworthy.cli.image.options import Reference
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.project import load_project

_SHOWN = 40


def scan(
    image: Reference,
    layout: Annotated[
        bool, typer.Option("--layout", help="IMAGE is the folder of an OCI layout.")
    ] = False,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="low, medium, high, critical or never: exit code 1."),
    ] = None,
    skip: Annotated[
        bool,
        typer.Option("--skip-without-scanner", help="Say so and go on when no scanner is here."),
    ] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """List known vulnerabilities with Trivy or Grype; exit code 3 when neither is here.

    Example: `roadworthy image scan adult:1 --fail-on high`
    """
    from roadworthy.image.scanning import scan as look
    from roadworthy.image.scanning import scanner

    wanted = load_project(project, destination).override("image", fail_on=fail_on)
    limit = wanted.image.fail_on
    if skip and scanner() is None:
        _say_unscanned(image, limit, json)
        return
    found = look(image, layout=layout)
    stopping = [] if limit == "never" else found.at_least(limit)
    if json:
        print_json({"scan": found, "fail_on": limit, "stopping": len(stopping)})
    else:
        console = Console(highlight=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in ("severity", "package", "version", "mended in", "id"):
            table.add_column(header)
        for each in found.found[:_SHOWN]:
            cells = (each.severity, each.package, each.version, each.fixed or "-", each.id)
            table.add_row(*map(escape, cells))
        if found.found:
            console.print(table)
        more = len(found.found) - _SHOWN
        console.print(f"{found.scanner} knows {len(found.found)} vulnerabilities of "
                      f"{escape(image)}" + (f", {more} not shown" if more > 0 else ""))  # fmt: skip
        if stopping:
            console.print(f"[red]{len(stopping)} are {limit} or worse[/]")
    if stopping:
        raise typer.Exit(1)


def _say_unscanned(image: str, limit: str, json: bool) -> None:
    if json:
        print_json({"scan": None, "fail_on": limit, "stopping": 0})
        return
    typer.echo(
        f"NOT SCANNED: nobody looked for known vulnerabilities of {image}, for neither Trivy nor "
        "Grype is here",
        err=True,
    )
