"""The options that the verbs of `roadworthy image` share."""

from __future__ import annotations

from typing import Annotated

import typer

Tag = Annotated[
    str, typer.Option("--tag", help="Name and tag: adult:1, registry.example/team/adult:1.")
]
Reference = Annotated[str, typer.Argument(help="The image's name and tag.")]
Engine = Annotated[
    str | None,
    typer.Option("--engine", help="docker, podman, buildah or none; else \\[image] engine."),
]
Layout = Annotated[
    str, typer.Option("--layout", help="With --engine none: the folder of the OCI layout.")
]
