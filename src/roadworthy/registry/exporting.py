"""Take a version out: as a folder, an archive, a sealed archive, or a tree to commit to Git."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from roadworthy.bundle.container import PACKED, SEALED, Container, open_container, pack, unpack
from roadworthy.bundle.manifest import Manifest, to_json, verify, verify_container
from roadworthy.bundle.sealing import seal
from roadworthy.errors import InputError, OutsideError

LARGE = ("*.onnx", "model.*")
"""Files of a bundle that are not text."""
POINTERS = "large-files.json"


def export(
    source: Path, target: Path, recipients: Sequence[str], trusted_keys: Sequence[str] = ()
) -> Manifest:
    """Write a bundle as `NAME.rwb`, as `NAME.rwb.sealed`, or else as a folder.

    Args:
        source: The bundle.
        target: A new file or folder.
        recipients: For whom a sealed archive is sealed.
        trusted_keys: Keys, one of which must have signed it.

    Returns:
        Its manifest.

    Raises:
        InputError: The target is there already, or it is to be sealed for nobody.
        CheckFailed: The bundle is damaged.
        OutsideError: The target cannot be written.
    """
    sealed = target.name.endswith(SEALED)
    if target.exists():
        raise InputError("the target is there already", where=str(target), fix="name a new one")
    if sealed != bool(recipients):
        raise InputError(
            f"a sealed bundle ends in {SEALED} and has recipients",
            where=str(target),
            fix=f"--to NAME{SEALED} --recipient KEY.pub (or passphrase)",
        )
    with open_container(source) as container:
        manifest, _ = verify_container(container, str(source), trusted_keys=trusted_keys, keep=())
        if not target.name.endswith((PACKED, SEALED)):
            with new_folder(target) as folder:
                unpack(container, folder)
                verify(folder, trusted_keys=trusted_keys, keep=())
            return manifest
        with _new_file(target) as file:
            if sealed:
                with tempfile.TemporaryFile(prefix="roadworthy-") as plain:
                    pack(container, plain, str(source))
                    plain.seek(0)
                    seal(plain, file, recipients)
            else:
                pack(container, file, str(source))
    return manifest


def export_git(
    source: Path,
    folder: Path,
    *,
    digests_only: bool = False,
    trusted_keys: Sequence[str] = (),
) -> Manifest:
    """Write a bundle as a tree to commit: `FOLDER/NAME/…`, the same place for every version.

    So the history of the tree is the history of the model, and Git shows what changed in its text
    parts. Large files go through Git LFS, by lines in `FOLDER/.gitattributes`; or stay out, and
    `large-files.json` says their digests.

    Args:
        source: The bundle.
        folder: The working tree of a repository, or a folder in it.
        digests_only: Leave large files out.
        trusted_keys: Keys, one of which must have signed it.

    Returns:
        Its manifest.

    Raises:
        CheckFailed: The bundle is damaged.
        InputError: There is another thing in its place.
        OutsideError: The folder cannot be written.
    """
    with open_container(source) as container:
        manifest, _ = verify_container(container, str(source), trusted_keys=trusted_keys, keep=())
        place = folder / manifest.name
        if place.exists() and not (place / "manifest.json").is_file():
            raise InputError(
                "there is something else where the model belongs",
                where=str(place),
                fix="name another folder",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder) as draft:
                fresh = Path(draft) / "fresh"
                fresh.mkdir()
                _write_tree(container, manifest, fresh, digests_only)
                if place.exists():
                    place.rename(Path(draft) / "old")
                fresh.rename(place)
            _write_attributes(folder / ".gitattributes", manifest.name)
        except OSError as error:
            raise _unwritable(error, folder) from None
    return manifest


def is_large(name: str) -> bool:
    """Whether a file of a bundle is not text."""
    return any(Path(name).match(pattern) for pattern in LARGE)


def _write_tree(container: Container, manifest: Manifest, folder: Path, digests_only: bool) -> None:
    unpack(container, folder)
    if not digests_only:
        return
    large = {name: entry for name, entry in manifest.files.items() if is_large(name)}
    for name in large:
        (folder / name).unlink()
    (folder / POINTERS).write_bytes(to_json({"version": manifest.version, "files": large}))


def _write_attributes(file: Path, name: str) -> None:
    """Add the model's lines; what the file says of anything else stays."""
    old = file.read_text("utf-8").splitlines() if file.exists() else []
    lines = [f"/{name}/** -text"]  # bytes stay as they are signed, whatever the machine
    lines += [f"/{name}/{pattern} filter=lfs diff=lfs merge=lfs -text" for pattern in LARGE]
    fresh = [line for line in lines if line not in old]
    if fresh:
        draft = file.with_name(".gitattributes.draft")
        draft.write_text("\n".join([*old, *fresh]) + "\n", "utf-8")
        draft.replace(file)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
        try:
            yield draft
            draft.chmod(0o755)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise _unwritable(error, target) from None


@contextmanager
def _new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=target.parent)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(0o644)
            Path(draft).rename(target)
        finally:
            Path(draft).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(error, target) from None


def _unwritable(error: OSError, target: Path) -> OutsideError:
    return OutsideError(
        f"the export cannot be written: {error.strerror or error}", where=str(target)
    )
