"""Sign a bundle that is on disk, or one that is about to be."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from roadworthy.bundle.keys import Signer
from roadworthy.bundle.manifest import FILE_NAME, SIGNATURE, Manifest, verify
from roadworthy.bundle.signature import sign
from roadworthy.errors import InputError, OutsideError


def sign_contents(manifest: Manifest, files: Mapping[str, bytes], signer: Signer) -> bytes:
    """The signature of a bundle that is about to be written, its manifest among the files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return sign(f"{manifest.name}:{manifest.version}", digests, signer)


def sign_bundle(folder: Path, signer: Signer) -> Manifest:
    """Sign a bundle's folder in place, in one move; an older signature is replaced.

    Args:
        folder: The bundle; it is verified first.
        signer: The key.

    Returns:
        Its manifest.

    Raises:
        InputError: It is no folder of a bundle.
        CheckFailed: It is damaged: what is not whole is not signed.
        OutsideError: The folder cannot be written, or the key service is out of reach.
    """
    if not folder.is_dir():
        raise InputError(
            "only a bundle's folder can be signed", where=str(folder), fix="sign, then export it"
        )
    manifest, _ = verify(folder, keep=())
    digests = {name: entry.sha256 for name, entry in manifest.files.items()}
    digests[FILE_NAME] = hashlib.sha256((folder / FILE_NAME).read_bytes()).hexdigest()
    content = sign(f"{manifest.name}:{manifest.version}", digests, signer)
    try:
        # The draft stands outside the bundle, in which every file counts.
        with tempfile.NamedTemporaryFile(
            dir=folder.parent, prefix=".signature-", delete=False
        ) as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
        try:
            Path(draft.name).chmod(0o644)
            Path(draft.name).replace(folder / SIGNATURE)
        finally:
            Path(draft.name).unlink(missing_ok=True)
    except OSError as error:
        raise OutsideError(
            f"the signature cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return manifest
