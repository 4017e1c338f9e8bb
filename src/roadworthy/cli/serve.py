"""`roadworthy serve`: the prediction server."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from roadworthy.cli.options import Destination, ProjectFile, Quiet
from roadworthy.errors import InputError
from roadworthy.project import load_project

if TYPE_CHECKING:
    from roadworthy.serve.orders import Served


_SAGEMAKER = "SAGEMAKER_BIND_TO_PORT"


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles' paths, or name, name:version, name@alias in the registry; "
            "the first is the default."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default 8080.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Default 127.0.0.1.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes; 0: one a core. Default 1.")
    ] = None,
    allow_pickle: Annotated[
        bool | None,
        typer.Option(
            "--allow-pickle", help="A signed bundle without a core may run its joblib or pickle."
        ),
    ] = None,
    new_key: Annotated[
        str | None, typer.Option("--new-key", help="Add an API key of this name, and end.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    quiet: Quiet = False,
) -> None:
    """Serve bundles over HTTP until Ctrl-C or SIGTERM; answers in flight are finished.

    Example: `roadworthy serve bundles/adult/3f2a9c017d55 --port 8080`
    """
    from roadworthy.registry import resolve
    from roadworthy.serve import serve as run

    wanted = load_project(project, destination).override(
        "serve", port=port, host=host, workers=workers, allow_pickle=allow_pickle
    )
    if new_key is not None:
        _print_new_key(wanted.serve.keys, new_key)
        return
    if port is None and (told := os.environ.get("AIP_HTTP_PORT") or os.environ.get(_SAGEMAKER)):
        wanted = wanted.override("serve", port=_number(told), host=host or "0.0.0.0")
    asked = models or _mounted()
    beside = {
        key: str(resolve(model, wanted))
        for key in ("canary", "shadow")
        if (model := getattr(wanted.serve, key)) is not None
    }
    wanted = wanted.override("serve", **beside)
    ready = None if quiet else _print_ready
    if not wanted.serve.follow:
        run([str(resolve(model, wanted)) for model in asked], project=wanted, on_ready=ready)
        return
    from roadworthy.registry.following import followed

    with followed(asked, wanted, wanted.serve.follow_seconds) as paths:
        run([str(path) for path in paths], project=wanted, on_ready=ready)


def _mounted() -> list[str]:
    """The bundle where a cloud's hosting puts it: Azure, SageMaker, KServe; else our image's.

    The image's may be a reference, too: `ROADWORTHY_MODEL=adult@champion` is fetched.
    """
    own = os.environ.get("ROADWORTHY_MODEL")
    for folder in (os.environ.get("AZUREML_MODEL_DIR"), "/opt/ml/model", "/mnt/models", own):
        if folder and Path(folder, "manifest.json").is_file():
            return [folder]
        archives = [str(file) for file in sorted(Path(folder or "/nowhere").glob("*.rwb*"))]
        if len(archives) == 1:
            return archives
    if own and not own.startswith(("/", ".")):
        return [own]
    raise InputError("no bundle is named", fix="roadworthy serve BUNDLE")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"the port {text!r} from the environment is not a number") from None


def _print_new_key(file: str | None, name: str) -> None:
    from roadworthy.serve.guard import add_key

    if file is None:
        raise InputError("there is no key file", where="serve.keys", fix='keys = "keys.json"')
    typer.echo(add_key(Path(file), name))


def _print_ready(address: str, models: Sequence[Served]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for place, served in enumerate(models):
        root = f"{address}/models/{served.model.partition(':')[0]}" if place else address
        body = msgspec.json.encode(served.example).decode()
        console.print(f"\n[bold green]{escape(served.model)} is live[/] at [bold]{address}[/]")
        console.print(f"  try it:  {root}/docs\n  or paste:")
        console.print(
            f"  curl {root}/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}",
            markup=False,
        )
    console.print("  Ctrl-C drains and stops.\n")
