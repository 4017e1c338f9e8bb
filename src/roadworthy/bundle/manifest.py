"""The manifest: what a bundle is and what its files must be, readable without a model runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.contract import ClassValue, Task
from roadworthy.errors import CheckFailed, InputError

FORMAT = 1
"""Version of the bundle's layout. It grows with every change that an older reader would get
wrong; readers take every version up to their own."""
FILE_NAME = "manifest.json"
_UNHASHED = {"version", "created", "measured"}
_MAX_FILE = 1 << 30


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle is.

    Attributes:
        format: Version of the layout.
        name: The model's name.
        version: SHA-256 of this manifest without `version`, `created` and `measured`: as the
            manifest holds every file's digest, it stands for the whole content.
        task: The task.
        classes: The classes in the order of the probabilities.
        family: The model's family.
        environment: Python, machine and library versions of the training.
        files: File name -> digest and size.
        created: When, in UTC; not part of the version.
        measured: Microseconds a row and seconds of each step; not part of the version.
    """

    format: int
    name: str
    version: str
    task: Task
    classes: tuple[ClassValue, ...]
    family: str
    environment: dict[str, str]
    files: dict[str, FileEntry]
    created: str
    measured: dict[str, float] = {}

    @property
    def short_version(self) -> str:
        """The first twelve digits of the version."""
        return self.version[:12]


def content_version(manifest: Manifest) -> str:
    """The version that belongs to a manifest's content."""
    content = msgspec.to_builtins(manifest)
    kept = {key: value for key, value in content.items() if key not in _UNHASHED}
    return hashlib.sha256(msgspec.json.encode(kept, order="sorted")).hexdigest()


def to_json(value: Any) -> bytes:
    """JSON as bundles hold it: sorted, indented, ended by a newline, so that Git shows changes."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def digest(content: bytes) -> FileEntry:
    """The entry of a file's content."""
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest.

    Raises:
        InputError: There is none, or it is of a newer format.
        CheckFailed: It is damaged.
    """
    file = folder / FILE_NAME
    try:
        content = file.read_bytes()
    except OSError:
        raise InputError(
            "this is not a bundle: it has no readable manifest.json",
            where=str(folder),
            fix="name the folder that `roadworthy launch` printed",
        ) from None
    try:
        version = msgspec.json.decode(content).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise InputError(
                f"the bundle has format {version}, this Roadworthy reads up to {FORMAT}",
                where=str(file),
                fix="upgrade Roadworthy",
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise CheckFailed(f"the manifest is damaged: {error}", where=str(file)) from None


def verify(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Recompute every digest of a bundle before anything in it is used.

    Args:
        folder: The bundle.

    Returns:
        The manifest and the content of each file, exactly the bytes that were verified.

    Raises:
        InputError: The folder is no bundle.
        CheckFailed: A file is missing, changed, or not listed; the message names it.
    """
    manifest = read_manifest(folder)
    if content_version(manifest) != manifest.version:
        raise CheckFailed(
            "the manifest was changed: its version does not belong to its content",
            where=str(folder / FILE_NAME),
            fix="get the bundle again from where it was made",
        )
    contents: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        file = folder / name
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            raise CheckFailed(f"{name!r} is missing or not a plain file", where=str(folder))
        if file.stat().st_size != entry.size or entry.size > _MAX_FILE:
            raise CheckFailed(f"{name!r} has another size than the manifest says", where=str(file))
        contents[name] = file.read_bytes()
        if digest(contents[name]) != entry:
            raise CheckFailed(
                f"{name!r} was changed: its SHA-256 is not the manifest's",
                where=str(file),
                fix="get the bundle again from where it was made",
            )
    extra = {file.name for file in folder.iterdir()} - {*manifest.files, FILE_NAME}
    if extra:
        raise CheckFailed(
            f"files that the manifest does not list: {', '.join(sorted(extra)[:5])}",
            where=str(folder),
            fix="remove them, or get the bundle again",
        )
    return manifest, contents
