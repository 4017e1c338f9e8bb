"""Keys that never leave a key management service, behind one small protocol.

Each service is one class and one entry of `SERVICES`. A reference is `SERVICE:KEY`; credentials
come from the service's own environment and files.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from roadworthy.errors import InputError, OutsideError

_PURPOSE = {"purpose": "roadworthy-seal"}
_MAX_RAW = 4096  # bytes that AWS KMS hashes itself


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


class AwsKey:
    """A key of AWS KMS: ECC_NIST_P256 to sign, SYMMETRIC_DEFAULT to seal.

    Args:
        key: Its id, ARN or alias (`alias/models`).
    """

    def __init__(self, key: str) -> None:
        self.key = key
        try:
            boto3: Any = importlib.import_module("boto3")
        except ModuleNotFoundError:
            raise OutsideError(
                "a key of AWS KMS needs boto3, which is not installed", fix="pip install boto3"
            ) from None
        try:
            self._client = boto3.client("kms")
        except Exception as error:  # botocore has a class of its own for each setting
            raise self._refused("opened", error) from None

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The public half of a signing key."""
        answer = self._call("get_public_key")
        key = serialization.load_der_public_key(answer["PublicKey"])
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise InputError(
                "the key cannot sign here", where=self.key, fix="make it ECC_NIST_P256"
            )
        return key

    def sign(self, message: bytes) -> bytes:
        """ECDSA on SHA-256 of a message, in DER."""
        short = len(message) <= _MAX_RAW
        answer = self._call(
            "sign",
            Message=message if short else hashlib.sha256(message).digest(),
            MessageType="RAW" if short else "DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )
        return bytes(answer["Signature"])

    def wrap(self, data_key: bytes) -> bytes:
        """A data key, encrypted by this key."""
        answer = self._call("encrypt", Plaintext=data_key, EncryptionContext=_PURPOSE)
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again."""
        answer = self._call("decrypt", CiphertextBlob=wrapped, EncryptionContext=_PURPOSE)
        return bytes(answer["Plaintext"])

    def _call(self, operation: str, **values: Any) -> Any:
        try:
            return getattr(self._client, operation)(KeyId=self.key, **values)
        except Exception as error:  # botocore has a class of its own for each answer
            raise self._refused(operation, error) from None

    def _refused(self, what: str, error: Exception) -> OutsideError:
        return OutsideError(
            f"AWS KMS refused ({what}): {type(error).__name__}",
            where=self.key,
            fix="check the key, the region and the credentials (AWS_* or the usual files)",
        )


SERVICES: dict[str, type[AwsKey]] = {"awskms": AwsKey}


def is_service_key(reference: str) -> bool:
    """Whether a reference names a key of a key service."""
    return reference.partition(":")[0] in SERVICES


def open_service_key(reference: str) -> ServiceKey:
    """The key that a reference such as `awskms:alias/models` names.

    Raises:
        OutsideError: The service is out of reach, or its library is not installed.
    """
    service, _, key = reference.partition(":")
    return SERVICES[service](key)
