"""Azure Key Vault and Google Cloud KMS on this machine: strict, with real keys, over sockets.

No emulator of either can be had. What is strict here is what their documentation demands: token,
version of the interface, names, algorithms, encodings; everything else is refused as they refuse.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "token-of-the-machine"
Answer = tuple[int, Any]
GOOGLE = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))


class Refused(Exception):  # noqa: N818
    """What a service says no to: status and reason."""


@contextmanager
def answering(
    answer: Callable[[str, str, Any], Answer],
    context: ssl.SSLContext | None = None,
    wanted: tuple[str, str] | None = ("Authorization", f"Bearer {TOKEN}"),
) -> Iterator[int]:
    """A server that answers `answer(method, path, body)` to who sends the wanted header."""

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size).decode()
            written = "json" in (self.headers.get("Content-Type") or "")
            try:
                if wanted is not None and self.headers.get(wanted[0]) != wanted[1]:
                    raise Refused(401, "Unauthorized")
                status, said = answer(
                    self.command, self.path, json.loads(text) if written and text else text
                )
            except (Refused, KeyError, ValueError) as error:
                status = error.args[0] if isinstance(error, Refused) else 400
                said = {"error": {"code": status, "message": str(error)}}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Vault:
    """A key vault: `seals` (RSA, with several versions) and `signs` (EC P-256)."""

    def __init__(self) -> None:
        self.port = 0
        self.rsa = {"0a1b": rsa.generate_private_key(65537, 2048)}
        self.ec = {"9f8e": ec.generate_private_key(ec.SECP256R1())}

    def rotate(self) -> None:
        """A new version, which is the newest."""
        self.rsa["2c3d"] = rsa.generate_private_key(65537, 2048)

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """What the documented interface answers."""
        split = urlsplit(path)
        if parse_qs(split.query).get("api-version") != ["7.4"]:
            raise Refused(400, "api-version")
        match = re.fullmatch(r"/keys/(seals|signs)(?:/(\w+))?(?:/(\w+))?", split.path)
        if match is None:
            raise Refused(404, "KeyNotFound")
        name, version, action = match.groups()
        keys: dict[str, Any] = self.rsa if name == "seals" else self.ec
        version = version or list(keys)[-1]
        if version not in keys:
            raise Refused(404, "KeyNotFound")
        kid = f"https://localhost:{self.port}/keys/{name}/{version}"
        if action is None and method == "GET":
            return 200, {"key": {"kid": kid, **_jwk(keys[version])}, "attributes": {}}
        if method != "POST" or set(body) != {"alg", "value"}:
            raise Refused(405, "method")
        value = _unquoted(body["value"])
        done = _azure(action, name, body["alg"], keys[version], value)
        return 200, {"kid": kid, "value": _quoted(done)}


def _azure(action: str, name: str, algorithm: str, key: Any, value: bytes) -> bytes:
    wanted = {"sign": ("signs", "ES256"), "wrapkey": ("seals", "RSA-OAEP-256"),
              "unwrapkey": ("seals", "RSA-OAEP-256")}  # fmt: skip
    if wanted.get(action) != (name, algorithm):
        raise Refused(400, "BadParameter: operation or algorithm")
    if action == "sign":
        if len(value) != 32:
            raise Refused(400, "BadParameter: invalid length of the digest")
        r, s = decode_dss_signature(key.sign(value, _SHA256))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if action == "wrapkey":
        wrapped: bytes = key.public_key().encrypt(value, _OAEP)
        return wrapped
    plain: bytes = key.decrypt(value, _OAEP)
    return plain


def _jwk(key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    if isinstance(numbers, ec.EllipticCurvePublicNumbers):
        x, y = (_quoted(each.to_bytes(32, "big")) for each in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return {"kty": "RSA", "n": _quoted(numbers.n.to_bytes(256, "big")), "e": "AQAB"}


class Google:
    """Cloud KMS with `seals` (symmetric) and `signs` (EC_SIGN_P256_SHA256, version 3)."""

    def __init__(self) -> None:
        self.aes = AESGCM(AESGCM.generate_key(256))
        self.ec = ec.generate_private_key(ec.SECP256R1())

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """What the documented interface answers."""
        plain = urlsplit(path).path.removeprefix("/v1/")
        signs = f"{GOOGLE}/signs/cryptoKeyVersions/3"
        if (method, plain) == ("GET", f"{signs}/publicKey"):
            pem = self.ec.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return 200, {"pem": pem.decode(), "algorithm": "EC_SIGN_P256_SHA256", "name": signs}
        if (method, plain) == ("POST", f"{signs}:asymmetricSign"):
            digest = base64.b64decode(body["digest"]["sha256"], validate=True)
            return 200, {"signature": _b64(self.ec.sign(digest, _SHA256)), "name": signs}
        if method == "POST" and plain in (f"{GOOGLE}/seals:encrypt", f"{GOOGLE}/seals:decrypt"):
            bound = base64.b64decode(body["additionalAuthenticatedData"], validate=True)
            if plain.endswith(":encrypt"):
                content = base64.b64decode(body["plaintext"], validate=True)
                return 200, {"ciphertext": _b64(self.aes.encrypt(bytes(12), content, bound))}
            closed = base64.b64decode(body["ciphertext"], validate=True)
            try:
                return 200, {"plaintext": _b64(self.aes.decrypt(bytes(12), closed, bound))}
            except Exception:
                raise Refused(400, "Decryption failed: the ciphertext is invalid.") from None
        raise Refused(404, "NOT_FOUND")


def machine_identity(method: str, path: str, body: Any) -> Answer:
    """What App Service's identity endpoint answers."""
    query = parse_qs(urlsplit(path).query)
    if method != "GET" or query.get("resource") != ["https://vault.azure.net"]:
        raise Refused(400, "resource")
    return 200, {"access_token": TOKEN, "expires_on": "4102444800", "token_type": "Bearer",
                 "resource": "https://vault.azure.net"}  # fmt: skip


def token_of_google(method: str, path: str, body: Any) -> Answer:
    """What Google's token endpoint answers."""
    if method != "POST" or "grant_type" not in parse_qs(body):
        raise Refused(400, "invalid_grant")
    return 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}


def service_account(folder: Path, token_uri: str) -> Path:
    """A file of a service account whose tokens are handed out at an address."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "account.json"
    file.write_text(json.dumps({
        "type": "service_account", "project_id": "p", "private_key_id": "1",
        "private_key": key.decode(), "client_email": "a@p.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": token_uri,
    }))  # fmt: skip
    return file


def _quoted(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _unquoted(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise Refused(400, "value is not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()
