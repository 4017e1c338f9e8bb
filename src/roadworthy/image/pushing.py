"""Push an image, sign it, attach its bill of materials, and write it into the ledger."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.dockerfile import HOME
from roadworthy.image.engines import Engine
from roadworthy.image.names import check_tag
from roadworthy.image.registry_client import Registry as Repository
from roadworthy.image.registry_client import attach, parse_place
from roadworthy.image.sbom import FILE_NAME, MEDIA_TYPE
from roadworthy.image.signing import sign_image

if TYPE_CHECKING:
    from roadworthy.bundle.keys import Signer
    from roadworthy.registry.registry import Registry

_MODEL, _VERSION = "roadworthy.model", "roadworthy.version"


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a registry.

    Attributes:
        reference: The name and tag it was pushed to.
        digest: Its digest: what to deploy by.
        model: The model that it serves, and its version.
        version: See `model`.
        sbom: Digest of the attached bill of materials.
        signer: Fingerprint of the key that signed it; None: nobody did.
        recorded: Number of the entry in the ledger; None: it was not written.
    """

    reference: str
    digest: str
    model: str
    version: str
    sbom: str
    signer: str | None
    recorded: int | None


def push(
    reference: str,
    engine: Engine,
    *,
    signer: Signer | None = None,
    ledger: Registry | None = None,
) -> Pushed:
    """Push an image that `build` made.

    The image gets its tag in the registry when every layer is there; what follows goes beside it.

    Args:
        reference: Registry, repository and tag.
        engine: What holds the image.
        signer: Who signs it; None: nobody.
        ledger: The registry of models, in whose ledger it is written; None: it is not.

    Raises:
        InputError: It is no name, or the image is none of Roadworthy's.
        OutsideError: The registry refused, or the connection was lost.
    """
    place = parse_place(check_tag(reference))
    digest = engine.push(check_tag(reference))
    repository = Repository(place)
    found = repository.manifest(digest)
    if found is None:
        raise OutsideError("the image is not in the registry after the push", where=reference)
    labels = _labels(repository, found[1])
    if _VERSION not in labels:
        raise InputError("this image was not built by Roadworthy", where=reference)
    bill = _bill(repository, found[1])
    sbom = attach(place, digest, MEDIA_TYPE, {FILE_NAME: (MEDIA_TYPE, bill)})
    fingerprint = None if signer is None else sign_image(place, digest, signer)
    model, version = labels[_MODEL], labels[_VERSION]
    recorded = None
    if ledger is not None:
        recorded = record(ledger, model, version, f"{place.host}/{place.repository}@{digest}")
    return Pushed(
        reference=reference, digest=digest, model=model, version=version, sbom=sbom,
        signer=fingerprint, recorded=recorded,
    )  # fmt: skip


def bill_of(pushed: Pushed) -> bytes:
    """The bill of materials of an image in a registry: CycloneDX, as JSON.

    Args:
        pushed: The image.

    Raises:
        OutsideError: The registry refused, the connection was lost, or the image is gone.
    """
    repository = Repository(parse_place(pushed.reference))
    found = repository.manifest(pushed.digest)
    if found is None:
        raise OutsideError("the image is not in the registry", where=pushed.reference)
    return _bill(repository, found[1])


def record(registry: Registry, model: str, version: str, image: str) -> int | None:
    """Write into the ledger where the image of a version is.

    Args:
        registry: The registry of models.
        model: The model's name.
        version: Its version.
        image: Repository and digest.

    Returns:
        The entry's number; None when that version is not registered.
    """
    from roadworthy.registry import ledger
    from roadworthy.registry.references import Reference
    from roadworthy.registry.registry import find_version

    def work(connection: Any, operation: str) -> int:
        known = find_version(connection, Reference(model, version))
        entry = ledger.append(
            connection, "image", known.model, known.version, operation=operation, place=image
        )
        return entry.number

    with contextlib.suppress(InputError):
        return registry.change(work)
    return None


def image_of(registry: Registry, model: str, version: str) -> str | None:
    """Repository and digest of the image that was last pushed of a version; None: none was."""
    entries = [
        entry
        for entry in registry.history(model)
        if entry.action == "image" and entry.version == version
    ]
    return entries[-1].place if entries else None


def _labels(repository: Repository, manifest: dict[str, Any]) -> dict[str, str]:
    config = json.loads(repository.blob(manifest["config"]["digest"]))
    return dict((config.get("config") or {}).get("Labels") or {})


def _bill(repository: Repository, manifest: dict[str, Any]) -> bytes:
    return _file(repository, manifest, f"{HOME}/{FILE_NAME}")


def _file(repository: Repository, manifest: dict[str, Any], path: str) -> bytes:
    """A file of an image in a registry; the smaller layers are looked through first."""
    for layer in sorted(manifest["layers"], key=lambda each: int(each["size"])):
        content = io.BytesIO(repository.blob(layer["digest"]))
        with tarfile.open(fileobj=content) as archive:
            for entry in archive:
                if entry.isfile() and f"/{entry.name.lstrip('./')}" == path:
                    held = archive.extractfile(entry)
                    return b"" if held is None else held.read()
    raise InputError(f"the image has no {path}", where=f"{repository.place.repository}")
