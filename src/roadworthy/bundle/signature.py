"""`signature.json`: who vouches for a bundle, in the layout of OpenSSF model signing 1.0.

A Sigstore bundle (v0.3) around a DSSE envelope around an in-toto statement that lists the SHA-256
of every file. What `model_signing` signs with an elliptic key is accepted here, and the other way
round; Ed25519 uses the same layout, which that package does not take yet.

Sources: the OpenSSF model signing specification v1.0, DSSE v1.0.2, in-toto attestation v1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from roadworthy.bundle.keys import Signer, VerifyingKey, fingerprint, read_verifying_key
from roadworthy.bundle.manifest import SIGNATURE, to_json
from roadworthy.errors import CheckFailed

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_FIX = "get the bundle again from who signed it, or add the signer's key to [registry] trusted_keys"


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=16)]


class _SigstoreBundle(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    dsse_envelope: _Envelope


class _Digest(msgspec.Struct, frozen=True):
    sha256: str


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: _Digest


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Serialization(msgspec.Struct, frozen=True):
    method: str


class _Predicate(msgspec.Struct, frozen=True):
    serialization: _Serialization
    resources: tuple[_Resource, ...]


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = msgspec.field(name="_type")
    subject: Annotated[tuple[_Subject, ...], msgspec.Meta(min_length=1, max_length=1)]
    predicate_type: str
    predicate: _Predicate


def sign(name: str, digests: Mapping[str, str], signer: Signer) -> bytes:
    """The content of `signature.json`.

    Args:
        name: What the signed thing is called; for people.
        digests: SHA-256 in hex of every file, the manifest included.
        signer: The key.

    Raises:
        OutsideError: The key service is out of reach.
    """
    payload = msgspec.json.encode(_statement(name, digests), order="sorted")
    content = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": fingerprint(signer.public_key)},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signer.sign(_pae(payload))).decode(),
                            "keyid": ""}],
        },
    }  # fmt: skip
    return to_json(content)


def check_signature(content: bytes, trusted_keys: Sequence[str]) -> tuple[dict[str, str], str]:
    """What a trusted key vouches for.

    The envelope is opened by a strict decoder; the statement in it is read only after one of the
    trusted keys has vouched for its bytes. The kind of signature follows from the trusted key,
    never from the file.

    Args:
        content: The bytes of `signature.json`.
        trusted_keys: References to public keys (see `keys`).

    Returns:
        File name -> SHA-256 in hex, and the fingerprint of the key.

    Raises:
        CheckFailed: No trusted key made this signature, or it is not a signature of this layout.
        InputError: A trusted key cannot be read.
    """
    keys = [read_verifying_key(reference) for reference in trusted_keys]
    try:
        bundle = msgspec.json.decode(content, type=_SigstoreBundle)
        envelope = bundle.dsse_envelope
        payload = base64.b64decode(envelope.payload, validate=True)
        made = [base64.b64decode(each.sig, validate=True) for each in envelope.signatures]
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise CheckFailed("the signature is damaged", where=SIGNATURE, fix=_FIX) from None
    if bundle.media_type != _MEDIA_TYPE or envelope.payload_type != _PAYLOAD_TYPE:
        raise CheckFailed("the signature has another layout", where=SIGNATURE, fix=_FIX)
    message = _pae(payload)
    for key in keys:
        if any(made_by(key, signature, message) for signature in made):
            return _read_statement(payload), fingerprint(key)
    raise CheckFailed(
        "the bundle is not signed by a trusted key, or its signature was changed",
        where=SIGNATURE,
        fix=_FIX,
    )


def signer_hint(content: bytes) -> str | None:
    """The fingerprint that a signature claims for its key; a hint, nothing that is verified."""
    try:
        found = msgspec.json.decode(content)["verificationMaterial"]["publicKey"]["hint"]
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def made_by(key: VerifyingKey, signature: bytes, message: bytes) -> bool:
    """Whether a signature of a message is by a key."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = _PAYLOAD_TYPE
    return f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload


def _root(digests: Mapping[str, str]) -> str:
    joined = b"".join(bytes.fromhex(digests[name]) for name in sorted(digests))
    return hashlib.sha256(joined).hexdigest()


def _statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    resources = [
        {"algorithm": "sha256", "digest": digests[file], "name": file} for file in sorted(digests)
    ]
    serialization = {
        "allow_symlinks": False,
        "hash_type": "sha256",
        "ignore_paths": [SIGNATURE],
        "method": "files",
    }
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": _root(digests)}}],
        "predicateType": _PREDICATE,
        "predicate": {"resources": resources, "serialization": serialization},
    }


def _read_statement(payload: bytes) -> dict[str, str]:
    """The digests of a statement that a trusted key made."""
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
        resources = statement.predicate.resources
        digests = {each.name: each.digest.lower() for each in resources}
        right = (
            statement.kind == _STATEMENT
            and statement.predicate_type == _PREDICATE
            and statement.predicate.serialization.method == "files"
            and all(each.algorithm == "sha256" for each in resources)
            and len(digests) == len(resources)
            and statement.subject[0].digest.sha256 == _root(digests)
        )
    except (msgspec.DecodeError, ValueError, RecursionError):
        right = False
    if not right:
        raise CheckFailed("what was signed is not a list of files", where=SIGNATURE, fix=_FIX)
    return digests
