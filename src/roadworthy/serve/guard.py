"""Who may ask what: API keys, tokens of an identity provider, client certificates, and rates.

Keys lie in a JSON file as SHA-256 digests: they are 256 bits of chance, so a fast digest is right
(NIST SP 800-63B, 5.1.2.2). The file is read again when it changes, which is how keys are rotated.
Tokens are the business of `tokens`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from roadworthy.errors import InputError
from roadworthy.project import ServeSection
from roadworthy.serve.callers import AddressRates, Bucket, TrustedProxies, too_often
from roadworthy.serve.login import key_of
from roadworthy.serve.messages import Request
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Scope
from roadworthy.serve.tokens import CHALLENGE, Tokens, stamp_of

log = logging.getLogger("roadworthy.serve")
_PREFIX = "rw_"
_SCOPES = ("predict", "read", "metrics")


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API key, as it lies in the key file.

    Attributes:
        name: Whose it is; it stands in metrics and logs.
        sha256: Digest of the key, hexadecimal.
        scopes: What it is good for: `predict`, `read`, `metrics`.
        expires: Seconds since 1970 after which it is refused; None for never.
        rate: Requests a second; None for no limit.
        burst: Requests that may come at once.
        in_flight: Large requests that may be worked on at once; None takes
            `[serve] max_in_flight_client`.
    """

    name: str
    sha256: str
    scopes: tuple[str, ...] = ("predict", "read")
    expires: float | None = None
    rate: float | None = None
    burst: int = 10
    in_flight: int | None = None


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        name: As in the key file, the token or the certificate.
        scopes: What it may.
        bucket: What holds it to its rate.
        in_flight: Large requests that it may have at work.
    """

    name: str
    scopes: tuple[str, ...]
    bucket: Bucket | None = None
    in_flight: int | None = None


def new_key(name: str, scopes: tuple[str, ...] = ("predict", "read")) -> tuple[str, Key]:
    """A new API key, to be shown once, and its entry for the key file."""
    text = _PREFIX + secrets.token_urlsafe(32)
    return text, Key(name=name, sha256=_digest(text), scopes=scopes)


def add_key(file: Path, name: str) -> str:
    """Add a new key to a key file, which is made when it is not there.

    Returns:
        The key; it is not kept anywhere and must be shown now.

    Raises:
        InputError: The file is no key file, or cannot be written.
    """
    try:
        keys = msgspec.json.decode(file.read_bytes(), type=list[Key]) if file.exists() else []
        text, key = new_key(name)
        draft = file.with_name(f".{file.name}.draft")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode([*keys, key]), indent=2))
        draft.replace(file)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"the key file cannot be extended: {error}", where=str(file)) from None
    return text


class Guard:
    """Lets requests through, or says why not.

    Args:
        options: `[serve]`.

    Raises:
        InputError: The key file or key set cannot be used.
        OutsideError: Tokens are wanted and their library is missing.
    """

    def __init__(self, options: ServeSection) -> None:
        self.options = options
        self._file = Path(options.keys) if options.keys else None
        self._keys: dict[str, Key] = {}
        self._stamp: tuple[int, int] | None = None
        self._tokens = Tokens(options) if options.jwks or options.oidc else None
        self._rates: dict[str, Bucket] = {}
        self.proxies = TrustedProxies(options.trusted_proxies, options.proxy_header)
        rate = options.rate_client
        self._addresses = AddressRates(rate, options.burst_client) if rate is not None else None
        self.open = self._file is None and self._tokens is None and not options.client_ca
        if self._file is not None:
            self._read(self._file)

    def refresh(self) -> None:
        """Read the key file again if it changed; a bad one leaves the keys as they are."""
        if self._tokens is not None:
            self._tokens.refresh()
        if self._file is None:
            return
        try:
            if stamp_of(self._file) != self._stamp:
                self._read(self._file)
        except (InputError, OSError) as error:
            log.error("the keys stay as they are: %s", error)

    def check(self, request: Request, scope: Scope) -> Caller | None:
        """Let a request through.

        Returns:
            Who asks; None where nobody has to say so.

        Raises:
            RequestProblem: It does not say who asks (401), may not (403), or too often (429).
        """
        if scope == "open":
            return None
        if self._addresses is not None:
            self._addresses.check(self.proxies.client(request))
        if self.open:
            return None
        caller = self._who(request)
        name, scopes, bucket, _ = caller
        if scope not in scopes:
            raise RequestProblem(403, f"this key is not good for {scope}")
        if bucket is not None and (wait := bucket.take()) > 0:
            raise too_often(f"{name} asks", wait)
        return caller

    def _who(self, request: Request) -> Caller:
        headers = request.head.headers
        kind, _, credential = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (credential if kind.lower() == "bearer" else "")
        if not given and "cookie" in headers:
            given = key_of(request)
        if not given and self.options.client_ca and request.certificate:
            return Caller(request.certificate, _SCOPES)
        if not given:
            raise RequestProblem(
                401, "send a key: Authorization: Bearer KEY, or X-API-Key", headers=CHALLENGE
            )
        return self.who_has(given)

    def who_has(self, given: str) -> Caller:
        """Whose key or token this is; RequestProblem 401 for nobody's."""
        digest = _digest(given)
        key = self._keys.get(digest)
        if key is not None and hmac.compare_digest(key.sha256, digest):
            if key.expires is not None and key.expires < time.time():
                raise RequestProblem(401, "this key has expired", headers=CHALLENGE)
            return Caller(key.name, key.scopes, self._rates.get(digest), key.in_flight)
        if self._tokens is not None and given.count(".") == 2:
            return Caller(*self._tokens.check(given))
        raise RequestProblem(401, "this key is not known", headers=CHALLENGE)

    def _read(self, file: Path) -> None:
        try:
            stamp = stamp_of(file)
            keys = msgspec.json.decode(file.read_bytes(), type=list[Key])
        except OSError as error:
            raise InputError(
                f"the key file cannot be read: {error.strerror}", where=str(file)
            ) from None
        except msgspec.DecodeError as error:
            raise InputError(
                f"the key file is not a list of keys: {error}", where=str(file)
            ) from None
        for key in keys:
            if len(key.sha256) != 64 or set(key.scopes) - set(_SCOPES):
                raise InputError(
                    f"the key {key.name!r} has no SHA-256 digest or an unknown scope",
                    where=str(file),
                    fix=f"scopes are {', '.join(_SCOPES)}",
                )
        self._keys = {key.sha256.lower(): key for key in keys}
        self._rates = {
            digest: self._rates.get(digest) or Bucket(key.rate, key.burst)
            for digest, key in self._keys.items()
            if key.rate is not None
        }
        self._stamp = stamp


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
