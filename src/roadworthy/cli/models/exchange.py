"""`roadworthy models export|import`: out of a registry and into another one, or into Git."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from roadworthy.cli.models.versions import register
from roadworthy.cli.options import Destination, Json, Model, ProjectFile
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import load_project


def export(
    model: Model,
    to: Annotated[
        str | None,
        typer.Option("--to", help="NAME.rwb, NAME.rwb.sealed, or a new folder."),
    ] = None,
    recipients: Annotated[
        list[str] | None,
        typer.Option("--recipient", help="X25519 public key, service key, or passphrase."),
    ] = None,
    git: Annotated[
        str | None, typer.Option("--git", help="Write a tree to commit into this folder.")
    ] = None,
    form: Annotated[
        Literal["bundle", "mlflow"],
        typer.Option("--format", help="bundle, or mlflow: a folder that MLflow serves."),
    ] = "bundle",
    digests: Annotated[
        bool, typer.Option("--digests", help="With --git: large files as digests, not LFS.")
    ] = False,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Write a bundle as one file, sealed for its recipients if any, as a Git or MLflow tree.

    The passphrase to seal with comes from ROADWORTHY_SEAL_PASSPHRASE or the file that
    ROADWORTHY_SEAL_PASSPHRASE_FILE names.

    Example: `roadworthy models export adult@champion --to adult.rwb.sealed --recipient ops.pub`
    """
    from roadworthy.registry import resolve
    from roadworthy.registry.exporting import export as write
    from roadworthy.registry.exporting import export_git

    if (to is None) == (git is None):
        raise InputError("say where to: --to FILE or --git FOLDER, one of them")
    wanted = load_project(project, destination)
    trusted = wanted.registry.trusted_keys
    source = resolve(model, wanted)
    if git is not None:
        manifest = export_git(source, Path(git), digests_only=digests, trusted_keys=trusted)
        place = Path(git) / manifest.name
    elif form == "mlflow":
        from roadworthy.registry.mlflow_folder import export_mlflow

        if recipients:
            raise InputError("an MLflow folder is not sealed", fix="leave out --recipient")
        place = Path(to or "")
        manifest = export_mlflow(source, place, trusted)
    else:
        place = Path(to or "")
        manifest = write(source, place, recipients or [], trusted)
    if json:
        print_json({"name": manifest.name, "version": manifest.version, "to": str(place)})
    else:
        typer.echo(f"{manifest.name}:{manifest.short_version} is in {place}")


def import_(
    file: Annotated[str, typer.Argument(help="What `export` wrote: file, folder or Git tree.")],
    alias: Annotated[str | None, typer.Option("--alias", help="Promote it at once.")] = None,
    project: ProjectFile = None,
    destination: Destination = None,
    json: Json = False,
) -> None:
    """Register what `models export` wrote, here or elsewhere.

    A sealed file is opened by ROADWORTHY_IDENTITY (X25519 private keys) or by the passphrase.

    Example: `roadworthy models import adult.rwb.sealed`
    """
    from roadworthy.registry.exporting import POINTERS

    if (Path(file) / POINTERS).exists():
        raise InputError(
            "this tree holds its large files as digests only",
            where=str(Path(file) / POINTERS),
            fix="export it with Git LFS, or import from where the blobs are",
        )
    register(
        file, alias=alias, project=project, destination=destination, json=json,
    )  # fmt: skip
