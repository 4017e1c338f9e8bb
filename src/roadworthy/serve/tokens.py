"""JSON Web Tokens of an identity provider, checked by PyJWT against its key set.

The key set is a file, or what the issuer publishes (OpenID Connect Discovery 1.0): fetched in a
thread, kept, and fetched again every few minutes or when a token names a key that is not known.
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import ServeSection
from roadworthy.serve.problems import RequestProblem

log = logging.getLogger("roadworthy.serve")
CHALLENGE = (("www-authenticate", 'Bearer realm="roadworthy"'),)
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
_DISCOVERY = "/.well-known/openid-configuration"
_FRESH_SECONDS = 300.0
_AGAIN_SECONDS = 5.0
"""Least seconds between two fetches, whoever asks with whatever key."""
_TIMEOUT = 5.0
_MAX_BYTES = 1_000_000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Tokens:
    """Checks tokens.

    Args:
        options: `[serve]`: `jwks` or `oidc`, `jwt_audience`, `jwt_issuer`.

    Raises:
        InputError: The key set's file cannot be used, or audience or issuer is missing.
        OutsideError: PyJWT is missing.
    """

    def __init__(self, options: ServeSection) -> None:
        try:
            import jwt
        except ImportError:
            raise OutsideError(
                "tokens need PyJWT", where="serve.jwks", fix="pip install roadworthy[jwt]"
            ) from None
        self._jwt: Any = jwt
        self._audience, self._issuer = options.jwt_audience, options.jwt_issuer
        if not self._audience or not self._issuer:
            raise InputError("tokens need jwt_audience and jwt_issuer", where="[serve]")
        self._keys: dict[str, Any] | None = None
        self._file = Path(options.jwks) if options.jwks else None
        self._stamp: tuple[int, int] | None = None
        self._fetching: threading.Thread | None = None
        self._fetched = -_FRESH_SECONDS
        self._wanted = False
        if self._file is not None:
            self._read(self._file)
        else:
            self._fetch()

    def refresh(self) -> None:
        """Once a second: read the key set again if it changed, or fetch it when it is time."""
        if self._file is None:
            age = time.monotonic() - self._fetched
            late = age > _FRESH_SECONDS or self._wanted or self._keys is None
            running = self._fetching is not None and self._fetching.is_alive()
            if late and age > _AGAIN_SECONDS and not running:
                self._fetching = threading.Thread(target=self._fetch, daemon=True)
                self._fetching.start()
            return
        try:
            if stamp_of(self._file) != self._stamp:
                self._read(self._file)
        except (InputError, OSError) as error:
            log.error("the key set stays as it is: %s", error)

    def check(self, token: str) -> tuple[str, tuple[str, ...]]:
        """Whose a token is and what it allows.

        Raises:
            RequestProblem: It is not good here (401), or the issuer's keys are not at hand (503).
        """
        keys = self._keys
        if keys is None:
            what = "the identity provider's keys are not at hand: try again"
            raise RequestProblem(503, what, headers=(("retry-after", "5"),))
        try:
            header = self._jwt.get_unverified_header(token)
            name = header.get("kid", "")
            if name not in keys:
                self._wanted = True  # it may be new; the next one with it will find it
            key = keys[name]
            if header["alg"] not in _ALGORITHMS or key.algorithm_name != header["alg"]:
                raise self._jwt.InvalidAlgorithmError
            claims = self._jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "aud", "iss"]},
            )
        except (self._jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise RequestProblem(401, "the token is not valid here", headers=CHALLENGE) from None
        scopes = claims.get("scope", "predict read")
        allowed = tuple(scopes.split()) if isinstance(scopes, str) else ()
        return f"token {claims.get('sub', '')}", allowed

    def _read(self, file: Path) -> None:
        try:
            self._stamp = stamp_of(file)
            self._keys = self._parse(file.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"the key set cannot be read: {type(error).__name__}", where=str(file)
            ) from None

    def _fetch(self) -> None:
        """Fetch what the issuer publishes; where that fails the keys stay as they are."""
        self._fetched, self._wanted = time.monotonic(), False
        issuer = str(self._issuer)
        try:
            about = msgspec.json.decode(_get(issuer.rstrip("/") + _DISCOVERY))
            if about["issuer"] != issuer:  # Discovery, 4.3
                raise ValueError("it names another issuer")
            self._keys = self._parse(_get(about["jwks_uri"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("the keys of %s cannot be fetched: %s", issuer, error)

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            found = self._jwt.PyJWKSet.from_json(content.decode())
        except (AttributeError, TypeError, self._jwt.PyJWTError) as error:
            raise ValueError(f"it is no key set: {type(error).__name__}") from None
        return {key.key_id: key for key in found.keys if key.key_type != "oct"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address of an issuer is the address that it says."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _get(url: str) -> bytes:
    """Fetch a document: over TLS, of bounded size, within bounded time, from nowhere else."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("it is not published over https")
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(url, timeout=_TIMEOUT) as answer:
        content: bytes = answer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES:,} bytes")
    return content


def stamp_of(file: Path) -> tuple[int, int]:
    """What changes when a file does."""
    about = file.stat()
    return about.st_mtime_ns, about.st_size
