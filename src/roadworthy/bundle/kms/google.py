"""Keys of Google Cloud KMS, by the client that Google generates from its own description."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import re
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from roadworthy.bundle.kms._base import PURPOSE, as_p256
from roadworthy.errors import InputError, OutsideError

_REFERENCE = re.compile(
    r"(?P<key>projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)"
    r"(?P<version>/cryptoKeyVersions/\d+)?"
)
_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"
"""The variable by which `gcloud` too is told of a private endpoint."""
_CONTEXT = base64.b64encode(PURPOSE.encode()).decode()


class GoogleKey:
    """A key of Cloud KMS: EC_SIGN_P256_SHA256 to sign, symmetric (ENCRYPT_DECRYPT) to seal.

    Args:
        key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`; to sign also
            `/cryptoKeyVersions/N`, as Google has no newest one for such keys.

    Raises:
        InputError: The reference names no key.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        found = _REFERENCE.fullmatch(key)
        if found is None:
            raise InputError(
                "no key of Google Cloud KMS",
                where=f"gcpkms:{key}",
                fix="write gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K, and to sign "
                "also /cryptoKeyVersions/N",
            )
        self._key, self._version = found["key"], found["version"]
        try:
            discovery: Any = importlib.import_module("googleapiclient.discovery")
            auth: Any = importlib.import_module("google.auth")
        except ModuleNotFoundError:
            raise OutsideError(
                "a key of Google Cloud needs its client, which is not installed",
                fix="pip install 'roadworthy[gcp]'",
            ) from None
        options = {"api_endpoint": os.environ[_ENDPOINT]} if os.environ.get(_ENDPOINT) else None
        try:
            credentials, _ = auth.default(scopes=[_SCOPE])
            service = discovery.build(
                "cloudkms", "v1", credentials=credentials, static_discovery=True,
                client_options=options,
            )  # fmt: skip
        except Exception as error:  # google-auth has a class of its own for each reason
            raise self._refused("opened", error) from None
        self._keys = service.projects().locations().keyRings().cryptoKeys()

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The public half of a signing key."""
        asked = self._keys.cryptoKeyVersions().getPublicKey(name=self._signing())
        pem = str(self._send("getPublicKey", asked)["pem"])
        key = serialization.load_pem_public_key(pem.encode())
        return as_p256(key, self.key, "EC_SIGN_P256_SHA256")

    def sign(self, message: bytes) -> bytes:
        """ECDSA on SHA-256 of a message, in DER."""
        digest = base64.b64encode(hashlib.sha256(message).digest()).decode()
        asked = self._keys.cryptoKeyVersions().asymmetricSign(
            name=self._signing(), body={"digest": {"sha256": digest}}
        )
        return base64.b64decode(self._send("asymmetricSign", asked)["signature"])

    def wrap(self, data_key: bytes) -> bytes:
        """A data key, encrypted by this key."""
        plain = base64.b64encode(data_key).decode()
        body = {"plaintext": plain, "additionalAuthenticatedData": _CONTEXT}
        asked = self._keys.encrypt(name=self._key, body=body)
        return base64.b64decode(self._send("encrypt", asked)["ciphertext"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again."""
        closed = base64.b64encode(wrapped).decode()
        body = {"ciphertext": closed, "additionalAuthenticatedData": _CONTEXT}
        asked = self._keys.decrypt(name=self._key, body=body)
        return base64.b64decode(self._send("decrypt", asked)["plaintext"])

    def _signing(self) -> str:
        if self._version is None:
            raise InputError(
                "a signing key is named with its version",
                where=self.key,
                fix=f"write gcpkms:{self._key}/cryptoKeyVersions/1",
            )
        return f"{self._key}{self._version}"

    def _send(self, what: str, request: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = request.execute(num_retries=2)
        except Exception as error:  # googleapiclient and google-auth have many classes
            raise self._refused(what, error) from None
        return answer

    def _refused(self, what: str, error: Exception) -> OutsideError:
        status = getattr(getattr(error, "resp", None), "status", None)
        return OutsideError(
            f"Google Cloud KMS refused ({what}): {status or type(error).__name__}",
            where=self.key,
            fix="check the key, who is signed in (gcloud auth application-default login, or the "
            "machine's account), and that they may use it to sign, encrypt or decrypt",
        )
