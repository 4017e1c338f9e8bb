"""Which bundle a reference names: the one place that knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from roadworthy.bundle import Bundle
from roadworthy.bundle.manifest import FILE_NAME
from roadworthy.evaluate.resample import Floats
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project
from roadworthy.registry import newest
from roadworthy.registry import resolve as find
from roadworthy.table.conform import conform

if TYPE_CHECKING:
    from roadworthy.evaluate.report import Rival


def resolve(reference: str | os.PathLike[str] | None, project: Project | None = None) -> Bundle:
    """Open the bundle that a reference names.

    Args:
        reference: Its path, a folder of versions, of which the newest is taken, or `name`,
            `name:version` or `name@alias` in the registry; None: the newest bundle of the
            project's folder.
        project: For `[registry]`; None takes every default.

    Raises:
        InputError: There is no such bundle.
        CheckFailed: It is damaged, or no trusted key signed it.
    """
    wanted = project or Project()
    if reference is None:
        return default_bundle(wanted)
    path = Path(reference)
    if path.is_dir() and not (path / FILE_NAME).exists():
        path = newest(path, wanted)
    else:
        path = find(os.fspath(reference), wanted)
    return Bundle(path, trusted_keys=wanted.registry.trusted_keys)


def default_bundle(project: Project) -> Bundle:
    """The newest bundle of the project's folder, for a verb that was given none.

    Raises:
        InputError: There is none.
    """
    folder = Path(project.package.directory)
    named = folder / project.project.name if project.project.name else folder
    return Bundle(newest(named, project), trusted_keys=project.registry.trusted_keys)


def bundle_scores(bundle: Bundle, frame: pl.DataFrame) -> Floats:
    """Probabilities or predictions of rows that the bundle's contract has typed."""
    return bundle.engine.run_many(encode_columns(frame, bundle.plan))


def rival(reference: str | os.PathLike[str], project: Project | None = None) -> Rival:
    """A champion to compare with, by its reference; raises as `resolve`."""
    from roadworthy.evaluate.report import (
        Rival,
    )  # with all of training, which `resolve` does not need

    bundle = resolve(reference, project)
    name = f"{bundle.manifest.name}:{bundle.manifest.short_version}"

    def predict(frame: pl.DataFrame) -> Floats:
        return bundle_scores(bundle, conform(frame, bundle.contract, absent=bundle.absent))

    return Rival(name, bundle.contract.target, predict)
