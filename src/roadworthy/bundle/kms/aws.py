"""Keys of AWS KMS."""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from roadworthy.bundle.kms._base import PURPOSE, as_p256
from roadworthy.errors import OutsideError

_CONTEXT = {"purpose": PURPOSE}
_MAX_RAW = 4096  # bytes that AWS KMS hashes itself


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
        return as_p256(key, self.key, "ECC_NIST_P256")

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
        answer = self._call("encrypt", Plaintext=data_key, EncryptionContext=_CONTEXT)
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again."""
        answer = self._call("decrypt", CiphertextBlob=wrapped, EncryptionContext=_CONTEXT)
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
