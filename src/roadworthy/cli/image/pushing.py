"""`roadworthy image push`: to a registry, signed and written down."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.files import write_file
from roadworthy.cli.image.options import Engine, Layout, Reference
from roadworthy.cli.options import Destination, Json, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def push(
    image: Reference,
    engine: Engine = None,
    layout: Layout = "image",
    key: Annotated[
        str | None,
        typer.Option("--key", help="Signs the image; else \\[registry] signing_key."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="Write the digest into the ledger.")
    ] = True,
    sbom: Annotated[
        str | None, typer.Option("--sbom", help="File for the bill of materials, as CycloneDX.")
    ] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Push an image with its bill of materials and signature; print its digest.

    Credentials are those of the engine's own `login`: Docker's config.json and its helpers.

    Example: `roadworthy image push registry.example/team/adult:1 --key release.key`
    """
    from roadworthy.bundle.keys import open_signer
    from roadworthy.image import find_engine
    from roadworthy.image.pushing import bill_of
    from roadworthy.image.pushing import push as send
    from roadworthy.registry.opening import open_registry

    wanted = load_project(project, destination).override("image", engine=engine)
    named = key or wanted.registry.signing_key
    signer = open_signer(named) if named else None
    found = find_engine(wanted.image.engine, Path(layout))
    if found.name == "none" and not Path(layout, "oci-layout").is_file():
        raise InputError("there is no OCI layout", where=layout, fix="--layout FOLDER")
    with open_registry(wanted) if record else nullcontext() as ledger:
        pushed = send(image, found, signer=signer, ledger=ledger)
    if sbom is not None:
        write_file(Path(sbom), bill_of(pushed).decode())
    if json:
        print_json(pushed)
        return
    typer.echo(f"{pushed.reference} is pushed\n  digest    {pushed.digest}")
    typer.echo(f"  sbom      {pushed.sbom}")
    typer.echo(f"  signature {pushed.signer or 'none: --key KEY signs'}")
    if record and pushed.recorded is None:
        typer.echo(f"  ledger    not written: {pushed.model} is not registered in this version")
    elif record:
        typer.echo(f"  ledger    entry {pushed.recorded}")
