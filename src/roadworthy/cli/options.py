"""The options that verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

ProjectFile = Annotated[
    str | None,
    typer.Option(
        "--project", help="Project file; without it roadworthy.toml of this folder, if any."
    ),
]
Destination = Annotated[
    str | None,
    typer.Option("-d", "--destination", help="Overlay roadworthy.NAME.toml on the project file."),
]
Model = Annotated[
    str, typer.Argument(help="A bundle's path, or name, name:version, name@alias in the registry.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; logs go to standard error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
