"""`roadworthy serve`: the prediction server."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, ProjectFile, Quiet
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.serve.orders import Served


def serve(
    model: Annotated[str, typer.Argument(help="Folder of a bundle.")],
    port: Annotated[int | None, typer.Option("--port", help="Default 8080.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Default 127.0.0.1.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes. Default 1.")] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
) -> None:
    """Serve a bundle over HTTP until Ctrl-C or SIGTERM; answers in flight are finished.

    Example: `roadworthy serve bundles/adult/3f2a9c017d55 --port 8080`
    """
    from roadworthy.serve import serve as run

    wanted = load_project(project, destination).override(
        "serve", port=port, host=host, workers=workers
    )
    run(model, project=wanted, on_ready=None if quiet else _print_ready)


def _print_ready(address: str, models: Sequence[Served]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for served in models:
        body = msgspec.json.encode(served.example).decode()
        console.print(f"\n[bold green]{escape(served.model)} is live[/] at [bold]{address}[/]")
        console.print(f"  try it:  {address}/docs\n  or paste:")
        console.print(
            f"  curl {address}/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}",
            markup=False,
        )
    console.print("  Ctrl-C drains and stops.\n")
