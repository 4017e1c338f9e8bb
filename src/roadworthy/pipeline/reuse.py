"""Whether a table must be trained on again: the digest of all that a model is made from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from roadworthy.bundle.manifest import verify
from roadworthy.errors import OutsideError, RoadworthyError
from roadworthy.project import Project

FILE_NAME = "trained.json"
_SECTIONS = ("project", "data", "guard", "prepare", "train", "package")


class Trained(msgspec.Struct, frozen=True):
    """What was trained last into a folder of bundles.

    Attributes:
        key: The digest of what it was made from.
        bundle: The bundle's folder, from the folder of bundles.
    """

    key: str
    bundle: str


def training_key(table: Path, project: Project) -> str:
    """The digest of all that a trained model depends on.

    That is the table, the sections of the project that training reads, the files that
    `[pipeline] code` matches, and the versions of Roadworthy and Python.

    Args:
        table: The table's file.
        project: The project.

    Returns:
        A SHA-256 in hexadecimal digits.

    Raises:
        OutsideError: A file cannot be read.
    """
    digest = hashlib.sha256()
    options = {name: msgspec.to_builtins(getattr(project, name)) for name in _SECTIONS}
    versions = [importlib.metadata.version("roadworthy"), platform.python_version()]
    digest.update(msgspec.json.encode([options, versions], order="sorted"))
    files = {path for shape in project.pipeline.code for path in Path().glob(shape)}
    for path in [table, *sorted(file for file in files if file.is_file())]:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise OutsideError(
                f"the file cannot be read: {error.strerror or error}", where=str(path)
            ) from None
        name = "" if path == table else path.as_posix()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def find_trained(key: str, project: Project) -> Path | None:
    """The bundle that was made from the same, if it is there and whole."""
    folder = Path(project.package.directory)
    try:
        trained = msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=Trained)
        bundle = folder / trained.bundle
        inside = bundle.resolve().is_relative_to(folder.resolve())
        if trained.key != key or not inside:
            return None
        verify(bundle, trusted_keys=project.registry.trusted_keys, keep=())
    except (OSError, msgspec.DecodeError, RoadworthyError):
        return None
    return bundle


def keep_trained(key: str, bundle: Path, project: Project) -> None:
    """Take down what a bundle was made from.

    Raises:
        OutsideError: It cannot be written.
    """
    folder = Path(project.package.directory)
    trained = Trained(key, os.path.relpath(bundle, folder))
    draft = folder / f".{FILE_NAME}.draft"
    try:
        draft.write_bytes(msgspec.json.encode(trained))
        draft.replace(folder / FILE_NAME)
    except OSError as error:
        raise OutsideError(
            f"the file cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
