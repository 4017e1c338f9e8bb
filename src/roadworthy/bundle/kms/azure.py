"""Keys of Azure Key Vault and of Azure's managed HSM.

Source: the service's REST API, version 7.4 (Get Key, Sign, Wrap Key, Unwrap Key).
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from roadworthy.bundle.kms._base import as_p256
from roadworthy.errors import InputError, OutsideError

_REFERENCE = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(?::\d+)?)/(?:keys/)?(?P<name>[A-Za-z0-9-]+)(?:/(?P<version>\w+))?"
)
_CLOUDS = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "managedhsm.azure.net")
_LOCAL = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")
_API = "7.4"
_NAME = re.compile(rb"[A-Za-z0-9]{1,64}")


class AzureKey:
    """A key of a vault: EC P-256 to sign, RSA (2048 bits or more) to seal.

    What is wrapped begins with the version of the key that wrapped it, so that it opens after the
    key was rotated.

    Args:
        key: `VAULT.vault.azure.net/NAME`, and `/VERSION` where it must be one.

    Raises:
        InputError: The reference names no key of a vault: nobody else gets a token.
    """

    def __init__(self, key: str) -> None:
        self.key = key.removeprefix("https://")
        found = _REFERENCE.fullmatch(self.key)
        known = found is not None and self._scope(found["host"])
        if found is None or not known:
            raise InputError(
                "no key of a vault",
                where=f"azurekms:{key}",
                fix="write azurekms:VAULT.vault.azure.net/NAME, or …/NAME/VERSION",
            )
        self._path, self._version = (
            f"https://{found['host']}/keys/{found['name']}",
            found["version"],
        )
        try:
            identity: Any = importlib.import_module("azure.identity")
            core: Any = importlib.import_module("azure.core")
            policies: Any = importlib.import_module("azure.core.pipeline.policies")
            self._request: Any = importlib.import_module("azure.core.rest").HttpRequest
        except ModuleNotFoundError:
            raise OutsideError(
                "a key of Azure needs azure-identity, which is not installed",
                fix="pip install 'roadworthy[azure]'",
            ) from None
        signed_in = policies.BearerTokenCredentialPolicy(identity.DefaultAzureCredential(), known)
        retries = policies.RetryPolicy(retry_total=3, retry_backoff_factor=0.2)
        self._client = core.PipelineClient("", policies=[retries, signed_in])

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """The public half of a signing key."""
        jwk = self._shown()
        key: EllipticCurvePublicKey | None = None
        if jwk.get("crv") == "P-256":
            point = EllipticCurvePublicNumbers(_integer(jwk["x"]), _integer(jwk["y"]), SECP256R1())
            key = point.public_key()
        return as_p256(key, self.key, "EC with the curve P-256")

    def sign(self, message: bytes) -> bytes:
        """ECDSA on SHA-256 of a message, in DER."""
        digest = hashlib.sha256(message).digest()
        both = self._act("sign", self._named(), "ES256", digest)
        if len(both) != 64:
            raise OutsideError("Azure Key Vault answers no signature of P-256", where=self.key)
        return encode_dss_signature(
            int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big")
        )

    def wrap(self, data_key: bytes) -> bytes:
        """A data key, encrypted by this key."""
        version = self._named()
        return version.encode() + b"." + self._act("wrapkey", version, "RSA-OAEP-256", data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again."""
        version, dot, rest = wrapped.partition(b".")
        if not dot or _NAME.fullmatch(version) is None:
            raise ValueError("not wrapped by a key of Azure Key Vault")
        return self._act("unwrapkey", version.decode(), "RSA-OAEP-256", rest)

    @staticmethod
    def _scope(host: str) -> str:
        """What a token is asked for; empty: the host is no vault's."""
        for cloud in _CLOUDS:
            if host.lower().endswith(f".{cloud}"):
                return f"https://{cloud}/.default"
        return f"https://{_CLOUDS[0]}/.default" if _LOCAL.fullmatch(host) else ""

    def _shown(self) -> dict[str, Any]:
        path = f"{self._path}/{self._version}" if self._version else self._path
        shown: dict[str, Any] = self._ask("get", "GET", path)["key"]
        return shown

    def _named(self) -> str:
        """The version: the one asked for, or the newest."""
        if self._version is None:
            self._version = str(self._shown()["kid"]).rpartition("/")[2]
        return self._version

    def _act(self, what: str, version: str, algorithm: str, value: bytes) -> bytes:
        body = {"alg": algorithm, "value": _text(value)}
        return _bytes(self._ask(what, "POST", f"{self._path}/{version}/{what}", body)["value"])

    def _ask(self, what: str, method: str, url: str, body: Any = None) -> dict[str, Any]:
        request = self._request(method, url, params={"api-version": _API}, json=body)
        try:
            response = self._client.send_request(request)
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
        except Exception as error:  # the library has a class of its own for each answer
            status = getattr(error, "status_code", None)
            raise OutsideError(
                f"Azure Key Vault refused ({what}): {status or type(error).__name__}",
                where=self.key,
                fix="check the key, who is signed in (az login, or the machine's identity), and "
                "that they may get, sign, wrap and unwrap",
            ) from None
        return answer


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _integer(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")
