"""`roadworthy image build`: the image of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.image.options import Engine, Layout, Tag
from roadworthy.cli.options import Destination, Json, Model, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.project import load_project


def build(
    model: Model,
    tag: Tag,
    engine: Engine = None,
    base: Annotated[
        str | None, typer.Option("--base", help="The base image; else \\[image] base.")
    ] = None,
    layout: Layout = "image",
    replace: Annotated[
        bool, typer.Option("--replace", help="Take a tag or a layout that is another's.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option("--write-only", help="Write the Dockerfile and all it needs to this folder."),
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Build a small, hardened container image that serves a model.

    Example: `roadworthy image build adult@champion --tag registry.example/team/adult:1`
    """
    from roadworthy.bundle import Bundle
    from roadworthy.image import build as make
    from roadworthy.image import find_engine, write_only
    from roadworthy.registry import resolve

    wanted = load_project(project, destination).override("image", base=base, engine=engine)
    bundle = Bundle(resolve(model, wanted), trusted_keys=wanted.registry.trusted_keys)
    if only is not None:
        context = write_only(bundle, wanted, Path(only))
        if json:
            print_json({"folder": str(context.folder), "labels": context.labels})
        else:
            typer.echo(f"{context.folder} holds the Dockerfile: docker build -t {tag} {only}")
        return
    found = find_engine(wanted.image.engine, Path(layout))
    image = make(bundle, tag, wanted, found, replace=replace)
    if json:
        print_json({**image._asdict(), "engine": found.name})
        return
    typer.echo(f"{image.reference} is built by {found.name}: {image.id}")
    typer.echo(f"  {image.size / 1e6:.0f} MB uncompressed, model {bundle.manifest.name}:"
               f"{bundle.manifest.short_version}")  # fmt: skip
    if found.name != "none":
        typer.echo(f"  test it:  roadworthy image test {model} --tag {image.reference}")
