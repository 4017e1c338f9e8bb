"""How a model is named (a path, `name`, `name:version`, `name@alias`) and found."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from roadworthy.bundle.manifest import FILE_NAME, verify
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import NAME, NAME_RULE

if TYPE_CHECKING:
    from roadworthy.project import Project

CHAMPION = "champion"
ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,31}")
ALIAS_RULE = "lower-case letters, digits, dashes and underscores, a letter first, at most 32"
_VERSION = re.compile(r"[0-9a-f]{4,64}")


class Reference(NamedTuple):
    """A model in the registry.

    Attributes:
        name: Its name.
        version: Its version or the first four or more digits of it; None: what the alias says.
        alias: Its alias; None with no version: the champion, or else the newest version.
    """

    name: str
    version: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return self.name if self.alias is None else f"{self.name}@{self.alias}"


def parse_reference(text: str) -> Reference:
    """Read `name`, `name:version` or `name@alias`.

    Raises:
        InputError: It is none of these.
    """
    name, colon, version = text.partition(":")
    alias = None
    if not colon:
        name, at, alias_text = text.partition("@")
        alias = alias_text if at else None
    if not NAME.fullmatch(name):
        raise InputError(f"{text!r} names no model", fix=f"a model's name is {NAME_RULE}")
    if colon and not _VERSION.fullmatch(version):
        raise InputError(
            f"{text!r} names no version", fix="write name:VERSION with 4 or more digits of it"
        )
    if alias is not None:
        check_alias(alias)
    return Reference(name, version if colon else None, alias)


def check_alias(alias: str) -> None:
    """Refuse what cannot be an alias, with an InputError."""
    if not ALIAS.fullmatch(alias):
        raise InputError(f"{alias!r} cannot be an alias", fix=f"use {ALIAS_RULE}")


def is_path(text: str) -> bool:
    """Whether a reference is a path: it looks like one, or a bundle is there.

    A folder that only happens to be called like a model (`directory = "."` makes some) is not.
    """
    looks = os.sep in text or text.startswith(".") or text.endswith((".rwb", ".sealed"))
    return looks or Path(text).is_file() or (Path(text) / "manifest.json").is_file()


def resolve(text: str, project: Project) -> Path:
    """The bundle that a reference names, at hand.

    A path stands for itself and is verified by who opens it; a folder of versions for the newest
    that is whole (`bundles/`). Anything else is looked up in the registry, fetched into the local
    cache unless it is there, and verified: its digest, its version and, with
    `[registry] trusted_keys`, its signature.

    Args:
        text: A path, `name`, `name:version` or `name@alias`.
        project: For `[registry]`.

    Returns:
        A bundle's folder or archive.

    Raises:
        InputError: There is no such model, version or alias.
        CheckFailed: What is stored is not what was registered.
        OutsideError: The catalogue or the store is out of reach, or the extra is not installed.
    """
    if is_path(text):
        path = Path(text)
        versions = path.is_dir() and not (path / FILE_NAME).exists()
        return newest(path, project) if versions and any(path.glob(f"*/**/{FILE_NAME}")) else path
    try:
        reference = parse_reference(text)
    except InputError as error:
        raise InputError(
            f"{error.what}, and there is no such file", where=text, fix=error.fix
        ) from None
    try:
        from roadworthy.registry.fetching import fetch
        from roadworthy.registry.opening import open_registry
    except ModuleNotFoundError as error:
        raise OutsideError(
            f"{text!r} is not a bundle's path, and the registry needs {error.name!r}, "
            "which is not installed",
            fix="pip install 'roadworthy[registry]'",
        ) from None
    try:
        with open_registry(project, create=False) as registry:
            return fetch(registry, registry.find(reference))
    except InputError as error:
        raise InputError(
            f"{error.what}; nor is there a bundle at {text!r}", where=error.where, fix=error.fix
        ) from None


def newest(folder: Path, project: Project) -> Path:
    """The newest whole bundle in a folder of versions.

    Raises:
        InputError: There is none.
    """
    found = []
    for manifest in sorted(folder.glob(f"**/{FILE_NAME}")):
        try:
            trusted = project.registry.trusted_keys
            made, _ = verify(manifest.parent, trusted_keys=trusted, keep=())
            found.append((made.created, manifest.parent))
        except RoadworthyError:
            continue
    if not found:
        raise InputError(
            "there is no bundle",
            where=str(folder),
            fix="name the folder that `roadworthy launch` printed",
        )
    return max(found)[1]
