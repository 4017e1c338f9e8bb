"""Signatures of images, as `cosign` makes and verifies them with a key.

Source: cosign's signature specification
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md): a small document that names
the image's digest (Red Hat's "simple signing") is signed, and lies beside the image under the tag
`sha256-DIGEST.sig`. `cosign verify --key release.pub --insecure-ignore-tlog IMAGE` accepts it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from roadworthy.bundle.keys import Signer, VerifyingKey, fingerprint, read_verifying_key
from roadworthy.bundle.signature import made_by
from roadworthy.errors import CheckFailed, InputError
from roadworthy.image.layout import CONFIG, MANIFEST
from roadworthy.image.registry_client import Place, Registry

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"


def payload(place: Place, digest: str) -> bytes:
    """The document that is signed: it binds a repository and a digest."""
    return json.dumps(
        {
            "critical": {
                "identity": {"docker-reference": f"{place.host}/{place.repository}"},
                "image": {"docker-manifest-digest": digest},
                "type": _TYPE,
            },
            "optional": None,
        },
        separators=(",", ":"),
    ).encode()


def sign_image(place: Place, digest: str, signer: Signer) -> str:
    """Sign an image in its registry; signatures that are there stay.

    Args:
        place: The repository.
        digest: The image's digest.
        signer: Who signs, from `open_signer`.

    Returns:
        The fingerprint of the key.

    Raises:
        OutsideError: The registry refused, or cannot be reached.
    """
    registry = Registry(place)
    content = payload(place, digest)
    made = base64.b64encode(signer.sign(content)).decode()
    layer = {
        "mediaType": PAYLOAD,
        "digest": registry.put_blob(content),
        "size": len(content),
        "annotations": {ANNOTATION: made},
    }
    found = registry.manifest(tag_of(digest))
    kept = [] if found is None else list(found[1].get("layers", []))
    layers = [each for each in kept if each != layer] + [layer]
    config = json.dumps({
        "architecture": "", "os": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
    }, sort_keys=True).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": CONFIG, "digest": registry.put_blob(config), "size": len(config),
        },
        "layers": layers,
    }  # fmt: skip
    registry.put_manifest(json.dumps(manifest, sort_keys=True).encode(), tag_of(digest))
    return fingerprint(signer.public_key)


def verify_image(place: Place, digest: str, trusted_keys: Sequence[str]) -> str:
    """Verify that a trusted key signed an image.

    Args:
        place: The repository.
        digest: The image's digest.
        trusted_keys: References to public keys, as in `[registry] trusted_keys`.

    Returns:
        The fingerprint of the key that did.

    Raises:
        InputError: No key is given, or one cannot be read.
        CheckFailed: None of them signed it.
        OutsideError: The registry cannot be reached.
    """
    if not trusted_keys:
        raise InputError("no trusted key is given", fix="set [registry] trusted_keys")
    keys = [read_verifying_key(reference) for reference in trusted_keys]
    registry = Registry(place)
    found = registry.manifest(tag_of(digest))
    where = f"{place.host}/{place.repository}@{digest}"
    if found is None:
        raise CheckFailed("the image is not signed", where=where, fix="roadworthy image push")
    for layer in found[1].get("layers") or ():
        if layer.get("mediaType") != PAYLOAD:
            continue
        content = registry.blob(layer["digest"])
        signature = (layer.get("annotations") or {}).get(ANNOTATION, "")
        for key in keys:
            if _names(content) == digest and _signed(key, signature, content):
                return fingerprint(key)
    raise CheckFailed("the image is not signed by a trusted key", where=where)


def tag_of(digest: str) -> str:
    """The tag under which the signatures of an image lie."""
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != hashlib.sha256().digest_size * 2:
        raise InputError(f"{digest!r} is no digest of an image")
    return f"{kind}-{value}.sig"


def _names(content: bytes) -> Any:
    """The digest that a signed document names."""
    try:
        critical = msgspec.json.decode(content)["critical"]
        return critical["image"]["docker-manifest-digest"] if critical["type"] == _TYPE else None
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


def _signed(key: VerifyingKey, signature: str, content: bytes) -> bool:
    try:
        return made_by(key, base64.b64decode(signature, validate=True), content)
    except ValueError:
        return False
