"""What a key of a key management service can do."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from roadworthy.errors import InputError

PURPOSE = "roadworthy-seal"
"""What a wrapped data key is bound to, where the service can bind it."""


class ServiceKey(Protocol):
    """One key of a key service."""

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The public half of a signing key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA on SHA-256 of a message, in DER."""
        ...

    def wrap(self, data_key: bytes) -> bytes:
        """A data key, encrypted by this key."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again."""
        ...


def as_p256(key: object, where: str, wanted: str) -> EllipticCurvePublicKey:
    """A public key, which must be one of the curve that signs here.

    Raises:
        InputError: It is of another kind.
    """
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise InputError("the key cannot sign here", where=where, fix=f"make it {wanted}")
    return key
