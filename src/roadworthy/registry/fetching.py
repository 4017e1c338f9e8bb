"""Fetch a version from the store into the local cache, verified."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

from roadworthy.bundle.container import PACKED, SEALED, Archive, unpack
from roadworthy.bundle.manifest import verify
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.registry.leases import held
from roadworthy.registry.registry import Registry, Version


def fetch(registry: Registry, version: Version) -> Path:
    """The bundle of a version, at hand and verified.

    A plain bundle is cached as its folder. A sealed one stays sealed in the cache, too, and is
    opened by who loads it.

    Args:
        registry: The registry.
        version: The version.

    Returns:
        A folder, or a sealed archive.

    Raises:
        CheckFailed: What is stored is not what was registered, or no trusted key signed it.
        InputError: No key at hand opens a sealed bundle.
        OutsideError: The store is out of reach, or the disk is full.
    """
    place = registry.cache / "versions" / f"{version.version}{SEALED if version.sealed else ''}"
    if place.exists() and _is_good(registry, version, place):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=place.parent) as draft:
            archive = Path(draft) / f"bundle{PACKED}"
            download(registry, version, archive)
            if not version.sealed:
                folder = Path(draft) / "bundle"
                folder.mkdir()
                with archive.open("rb") as file:
                    unpack(Archive(file, version.short), folder)
                archive = folder
            _check(registry, version, archive)
            _put_in_place(registry, version, archive, place)
    except OSError as error:
        raise OutsideError(
            f"the cache cannot be written: {error.strerror or error}", where=str(registry.cache)
        ) from None
    return place


def download(registry: Registry, version: Version, target: Path) -> None:
    """Write a version's stored archive to a new file, while nobody may collect it.

    Raises:
        CheckFailed: It is not there, or not what was registered.
        OutsideError: The store is out of reach, or the disk is full.
    """
    with held(registry.catalogue, version.blob), target.open("xb") as file:
        sink = _Hashing(file)
        registry.store.get(version.blob, sink)  # type: ignore[arg-type]
        if sink.state.hexdigest() != version.blob:
            raise CheckFailed(
                "what is stored is not what was registered",
                where=f"{registry.store.shown}: blob {version.blob[:12]} of {version.short}",
                fix="delete this blob and register the bundle again from where it was made",
            )


class _Hashing:
    """A sink that takes the digest of what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.state = hashlib.sha256()

    def write(self, part: Any) -> int:
        self.state.update(part)
        return self._file.write(part)


def _check(registry: Registry, version: Version, path: Path) -> None:
    manifest, _ = verify(path, trusted_keys=registry.trusted_keys, keep=())
    if (manifest.name, manifest.version) != (version.model, version.version):
        raise CheckFailed(
            f"what is stored is {manifest.name}:{manifest.short_version}, not what was registered",
            where=version.short,
            fix="roadworthy models history --verify says whether the catalogue was changed",
        )


def _is_good(registry: Registry, version: Version, place: Path) -> bool:
    """Whether what is in the cache is the version; if not, it is fetched anew."""
    try:
        _check(registry, version, place)
    except (CheckFailed, OutsideError):
        return False
    except InputError:
        if version.sealed:  # no key at hand: fetching it again would not help
            raise
        return False
    return True


def _put_in_place(registry: Registry, version: Version, draft: Path, place: Path) -> None:
    """Move a verified draft to its place, unless another process was faster."""
    try:
        draft.replace(place)
    except OSError:  # a folder does not replace a folder
        if _is_good(registry, version, place):
            return
        bad = draft.with_name("bad")
        place.rename(bad)
        draft.rename(place)
        shutil.rmtree(bad, ignore_errors=True)
