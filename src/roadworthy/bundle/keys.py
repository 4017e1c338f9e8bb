"""Keys: made, read and named, for signing and for sealing.

A key is named by a reference: a PEM file, `env:NAME` (the PEM text in that variable), or a key of a
key service such as `awskms:alias/models`. A private key may be encrypted; its passphrase comes from
`ROADWORTHY_KEY_PASSPHRASE` or from the file that `ROADWORTHY_KEY_PASSPHRASE_FILE` names, never from
an argument.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal, Protocol, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from roadworthy.bundle.kms import is_service_key, open_service_key
from roadworthy.errors import InputError

Kind = Literal["ed25519", "ecdsa-p256", "x25519"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VerifyingKey = Ed25519PublicKey | EllipticCurvePublicKey
PublicKey = VerifyingKey | X25519PublicKey
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | X25519PrivateKey
PASSPHRASE = "ROADWORTHY_KEY_PASSPHRASE"
_MAX_PEM = 16_384


class Signer(Protocol):
    """What signs: a private key at hand, or one that never leaves its key service."""

    @property
    def public_key(self) -> VerifyingKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature: 64 bytes of Ed25519, or ECDSA on SHA-256 in DER."""
        ...


class LocalSigner:
    """Signs with a private key that is at hand."""

    def __init__(self, private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._private = private

    @property
    def public_key(self) -> VerifyingKey:
        """The public half."""
        return self._private.public_key()

    def sign(self, message: bytes) -> bytes:
        """The signature of a message."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(message)
        return self._private.sign(message, ECDSA(hashes.SHA256()))


def generate(kind: Kind, passphrase: bytes | None = None) -> tuple[bytes, bytes]:
    """A new key pair.

    Args:
        kind: `ed25519` or `ecdsa-p256` to sign, `x25519` to seal.
        passphrase: Encrypts the private key.

    Returns:
        The private key (PKCS #8) and the public key (SubjectPublicKeyInfo), both PEM.
    """
    private: PrivateKey
    if kind == "ed25519":
        private = Ed25519PrivateKey.generate()
    elif kind == "x25519":
        private = X25519PrivateKey.generate()
    else:
        private = generate_private_key(SECP256R1())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return pem, public_pem(private.public_key())


def public_pem(key: PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of the public key's PEM: the `hint` of the OpenSSF model-signing layout."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def kind_of(key: PublicKey) -> Kind:
    """What a public key is."""
    if isinstance(key, Ed25519PublicKey):
        return "ed25519"
    return "x25519" if isinstance(key, X25519PublicKey) else "ecdsa-p256"


def open_signer(reference: str) -> Signer:
    """The signer that a reference names.

    Raises:
        InputError: No such key, a wrong passphrase, or a key that cannot sign.
        OutsideError: The key service is out of reach.
    """
    if is_service_key(reference):
        return open_service_key(reference)
    private = read_private_key(reference)
    if isinstance(private, X25519PrivateKey):
        raise InputError(
            "an x25519 key seals, it cannot sign",
            where=reference,
            fix="roadworthy keys generate NAME --kind ed25519",
        )
    return LocalSigner(private)


def read_verifying_key(reference: str) -> VerifyingKey:
    """The trusted public key that a reference or a PEM text names; raises as `open_signer`."""
    if is_service_key(reference):
        return open_service_key(reference).public_key
    key = read_public_key(reference)
    if isinstance(key, X25519PublicKey):
        raise InputError("an x25519 key seals, it cannot verify a signature", where=reference)
    return key


def read_public_key(reference: str) -> PublicKey:
    """The public key of a file, an environment variable or a PEM text.

    Raises:
        InputError: No such key, or one of a kind that is not used here.
    """
    pem = reference.encode() if "-----BEGIN" in reference else _read(reference)
    shown = _shown(reference)
    if b"PRIVATE KEY" in pem:
        raise InputError(
            "this is a private key where a public key belongs",
            where=shown,
            fix="name the .pub file",
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError("this is not a public key in PEM", where=shown) from None
    if isinstance(key, Ed25519PublicKey | X25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise InputError("a key of this kind is not used", where=shown, fix=f"one of {_KINDS_TEXT}")


def holds_private_key(reference: str) -> bool:
    """Whether a file or variable holds a private key; raises as `read_public_key`."""
    return b"PRIVATE KEY" in _read(reference)


def read_private_key(reference: str) -> PrivateKey:
    """The private key of a file or an environment variable.

    Raises:
        InputError: No such key, a wrong passphrase, or a key of a kind that is not used here.
    """
    pem = _read(reference)
    shown = _shown(reference)
    secret = read_passphrase(PASSPHRASE) if b"ENCRYPTED PRIVATE KEY" in pem else None
    if b"ENCRYPTED PRIVATE KEY" in pem and secret is None:
        raise InputError(
            "the private key is encrypted and no passphrase is given",
            where=shown,
            fix=f"set {PASSPHRASE} or {PASSPHRASE}_FILE",
        )
    try:
        key = serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        why = "the passphrase is wrong or " if secret else ""
        raise InputError(f"{why}this is not a private key in PEM", where=shown) from None
    if isinstance(key, Ed25519PrivateKey | X25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise InputError("a key of this kind is not used", where=shown, fix=f"one of {_KINDS_TEXT}")


def read_passphrase(variable: str) -> bytes | None:
    """A passphrase from a variable or from the file that `VARIABLE_FILE` names; None: not set.

    Raises:
        InputError: The file cannot be read, or what is set is empty.
    """
    text = os.environ.get(variable)
    file = os.environ.get(f"{variable}_FILE")
    if text is None and file is None:
        return None
    if text is None and file is not None:
        try:
            text = Path(file).read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError):
            raise InputError(
                "the file with the passphrase cannot be read", where=f"{variable}_FILE"
            ) from None
    if not text:
        raise InputError("the passphrase is empty", where=variable)
    return text.encode()


_KINDS_TEXT = ", ".join(KINDS)


def _read(reference: str) -> bytes:
    if reference.startswith("env:"):
        text = os.environ.get(reference.removeprefix("env:"))
        if text is None:
            raise InputError("the variable with the key is not set", where=reference)
        return text.encode()
    try:
        with Path(reference).expanduser().open("rb") as file:
            return file.read(_MAX_PEM)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InputError(
            f"the key cannot be read: {reason}",
            where=_shown(reference),
            fix="name a PEM file, env:NAME or a key of a key service",
        ) from None


def _shown(reference: str) -> str:
    """A reference as messages show it: never the text of a key."""
    return "a key given as text" if "-----BEGIN" in reference else reference
