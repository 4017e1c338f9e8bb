"""The manifest: what a bundle is and what its files must be, readable without a model runtime."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.bundle.container import CHUNK, Container, is_plain_name, open_container
from roadworthy.contract import ClassValue, Task
from roadworthy.errors import CheckFailed, InputError

FORMAT = 3
"""Version of the bundle's layout. It grows with every change that an older reader would get
wrong; readers take every version up to their own. 3: a bundle may have no core, and is then served
by scikit-learn. A bundle that has one is still written as 2."""
FORMAT_WITH_CORE = 2
CORE = "core.onnx"
FILE_NAME, SIGNATURE = "manifest.json", "signature.json"
_UNHASHED = {"version", "created", "measured", "lineage"}
_FOR_OTHERS = ("model.", "portable.")
"""How the names of files begin that Roadworthy itself never serves from."""
_MAX_SMALL = 16 << 20
_AGAIN = "get the bundle again from where it was made"


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle is.

    Attributes:
        format: Version of the layout.
        name: The model's name.
        version: SHA-256 of this manifest without `version`, `created`, `measured` and `lineage`:
            as the manifest holds every file's digest, it stands for the whole content.
        task: The task.
        classes: The classes in the order of the probabilities.
        family: The model's family.
        environment: Python, machine and library versions of the training.
        files: File name -> digest and size.
        created: When, in UTC; not part of the version.
        measured: Microseconds a row and seconds of each step; not part of the version.
        lineage: Where it comes from: `data` (SHA-256 of the table as it was read), `commit` of the
            code, when they are known; not part of the version.
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
    lineage: dict[str, str] = {}

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


def decode_manifest(content: bytes, shown: str) -> Manifest:
    """Read a manifest.

    Args:
        content: Its bytes.
        shown: The bundle, for messages.

    Raises:
        InputError: It is of a newer format.
        CheckFailed: It is damaged.
    """
    try:
        version = msgspec.json.decode(content).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise InputError(
                f"the bundle has format {version}, this Roadworthy reads up to {FORMAT}",
                where=shown,
                fix="upgrade Roadworthy",
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, AttributeError, RecursionError, UnicodeDecodeError) as error:
        raise CheckFailed(
            f"the manifest is damaged: {error}", where=f"{shown}: {FILE_NAME}"
        ) from None
    if content_version(manifest) != manifest.version:
        raise CheckFailed(
            "the manifest was changed: its version does not belong to its content",
            where=f"{shown}: {FILE_NAME}",
            fix=_AGAIN,
        )
    return manifest


def verify(
    path: Path, *, trusted_keys: Sequence[str] = (), keep: Collection[str] | None = None
) -> tuple[Manifest, dict[str, bytes]]:
    """Recompute every digest of a bundle before anything in it is used.

    With trusted keys the bundle must be signed by one of them, and every byte is compared with what
    was signed before any file, the manifest included, is parsed.

    Args:
        path: The bundle: its folder, its `.rwb` or its sealed `.rwb`.
        trusted_keys: References to public keys (see `keys`); none: signatures are not looked at.
        keep: Files whose content is wanted; None: all but those that are never opened here
            (`model.*`, `portable.onnx`). The others pass through in pieces, whatever their size.

    Returns:
        The manifest and the content of each kept file, exactly the bytes that were verified.

    Raises:
        InputError: There is no bundle, no signature, or no key that opens a sealed one.
        CheckFailed: A file is missing, changed, or not listed (the message names it), or no trusted
            key vouches for the bundle.
    """
    with open_container(path) as container:
        return verify_container(container, str(path), trusted_keys=trusted_keys, keep=keep)


def verify_container(
    container: Container,
    shown: str,
    *,
    trusted_keys: Sequence[str] = (),
    keep: Collection[str] | None = None,
) -> tuple[Manifest, dict[str, bytes]]:
    """As `verify`, for a container that is open."""
    sizes = container.sizes()
    if not trusted_keys:
        manifest = decode_manifest(_read_small(container, sizes, FILE_NAME, shown), shown)
        return manifest, _check_files(container, sizes, manifest.files, shown, keep)
    signed = _signed_digests(container, sizes, trusted_keys, shown)
    wanted = {name: FileEntry(sha256, sizes.get(name, -1)) for name, sha256 in signed.items()}
    kept = None if keep is None else {*keep, FILE_NAME}
    contents = _check_files(container, sizes, wanted, shown, kept)
    manifest = decode_manifest(contents.pop(FILE_NAME), shown)
    listed = {name: entry.sha256 for name, entry in manifest.files.items()}
    if listed != {name: sha256 for name, sha256 in signed.items() if name != FILE_NAME}:
        raise CheckFailed("what was signed is not what the manifest lists", where=shown)
    return manifest, contents


def read_signature(container: Container, shown: str) -> bytes | None:
    """The bytes of a bundle's signature, unverified; None when it has none."""
    sizes = container.sizes()
    return _read_small(container, sizes, SIGNATURE, shown) if SIGNATURE in sizes else None


def _signed_digests(
    container: Container, sizes: dict[str, int], trusted_keys: Sequence[str], shown: str
) -> dict[str, str]:
    from roadworthy.bundle.signature import check_signature  # cryptography, only where it is used

    if SIGNATURE not in sizes:
        if FILE_NAME not in sizes:
            raise _not_a_bundle(shown)
        raise CheckFailed(
            "the bundle is not signed, and trusted keys are configured",
            where=shown,
            fix="roadworthy models sign, with a key whose public half is trusted",
        )
    signed, _ = check_signature(_read_small(container, sizes, SIGNATURE, shown), trusted_keys)
    if FILE_NAME not in signed:
        raise CheckFailed("the signature does not cover the manifest", where=shown)
    return signed


def _check_files(
    container: Container,
    sizes: dict[str, int],
    entries: Mapping[str, FileEntry],
    shown: str,
    keep: Collection[str] | None,
) -> dict[str, bytes]:
    """Compare every file with its entry, and that there is no other; the kept contents."""
    contents: dict[str, bytes] = {}
    for name, entry in entries.items():
        place = f"{shown}: {name}"
        if name not in sizes and "large-files.json" in sizes:
            raise CheckFailed(
                f"{name!r} is not here: this tree holds its large files as digests only",
                where=shown,
                fix="export it with Git LFS, or take the bundle from where its blobs are",
            )
        if not is_plain_name(name) or name not in sizes:
            raise CheckFailed(f"{name!r} is missing or not a plain file", where=shown)
        if sizes[name] != entry.size:
            raise CheckFailed(
                f"{name!r} has another size than the manifest says", where=place, fix=_AGAIN
            )
        wanted = not name.startswith(_FOR_OTHERS) if keep is None else name in keep
        found, content = _read_hashed(container, name, entry.size, wanted)
        if found != entry:
            raise CheckFailed(
                f"{name!r} was changed: its SHA-256 is not the one recorded",
                where=place,
                fix=_AGAIN,
            )
        if wanted:
            contents[name] = content
    extra = sizes.keys() - {*entries, FILE_NAME, SIGNATURE}
    if extra:
        raise CheckFailed(
            f"files that the manifest does not list: {', '.join(sorted(extra)[:5])}",
            where=shown,
            fix="remove them, or get the bundle again",
        )
    return contents


def _read_hashed(
    container: Container, name: str, size: int, wanted: bool
) -> tuple[FileEntry | None, bytes]:
    """A file's entry, and its content when it is wanted; None for one that cannot be read."""
    state, seen, parts = hashlib.sha256(), 0, []
    try:
        with container.open(name) as file:
            while seen <= size and (part := file.read(CHUNK)):
                state.update(part)
                seen += len(part)
                if wanted:
                    parts.append(part)
    except (OSError, EOFError, zipfile.BadZipFile):
        return None, b""
    return FileEntry(state.hexdigest(), seen), b"".join(parts)


def _read_small(container: Container, sizes: dict[str, int], name: str, shown: str) -> bytes:
    if name not in sizes:
        raise _not_a_bundle(shown)
    found, content = _read_hashed(container, name, min(sizes[name], _MAX_SMALL), True)
    if found is None or sizes[name] > _MAX_SMALL:
        raise CheckFailed(f"{name!r} is damaged or far too large", where=shown, fix=_AGAIN)
    return content


def _not_a_bundle(shown: str) -> InputError:
    return InputError(
        "this is not a bundle: it has no readable manifest.json",
        where=shown,
        fix="name the folder that `roadworthy launch` printed",
    )
