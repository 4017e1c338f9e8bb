"""`roadworthy serve`: the prediction server."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, Model, ProjectFile, Quiet
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle


def serve(
    model: Model,
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
    from roadworthy.bundle import Bundle
    from roadworthy.registry import resolve
    from roadworthy.serve import serve as run

    wanted = load_project(project, destination).override(
        "serve", port=port, host=host, workers=workers
    )
    trusted = wanted.registry.trusted_keys
    bundle = Bundle(resolve(model, wanted), absent=wanted.serve.absent, trusted_keys=trusted)

    def ready(address: str) -> None:
        if not quiet:
            _print_ready(bundle, address)

    run(bundle, project=wanted, on_ready=ready)


def _print_ready(bundle: Bundle, address: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    name = f"{bundle.manifest.name}:{bundle.manifest.short_version}"
    body = msgspec.json.encode(bundle.contract.example()).decode()
    console.print(f"\n[bold green]{escape(name)} is live[/] at [bold]{address}[/]")
    console.print(f"  try it:  {address}/docs\n  or paste:")
    console.print(
        f"  curl {address}/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        markup=False,
    )
    console.print("  Ctrl-C drains and stops.\n")
