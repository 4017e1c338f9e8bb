"""`roadworthy image compose`: the service on a laptop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.image.options import Reference
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.project import load_project


def compose(
    image: Reference,
    to: Annotated[str, typer.Option("--to", help="The folder to write to.")] = ".",
    name: Annotated[
        str | None, typer.Option("--name", help="The set-up's name; else the image's.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port on this machine.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over files that were changed.")
    ] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Write compose.yaml: the service and, with a profile, Prometheus and Grafana beside it.

    Example: `roadworthy image compose adult:1 --to laptop`
    """
    from roadworthy.image.compose import compose_files, write_compose

    wanted = load_project(project, destination).override("serve", port=port)
    shown = name or image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    paths = write_compose(compose_files(image, wanted, shown), Path(to), replace=replace)
    if json:
        print_json({"files": [str(path) for path in paths]})
        return
    typer.echo(f"{paths[0]} is written\n  docker compose -f {paths[0]} up -d")
    typer.echo(f"  docker compose -f {paths[0]} --profile monitoring up -d")
