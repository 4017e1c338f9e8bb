"""Encryption at rest: an archive sealed for those who may open it.

An envelope: a fresh data key encrypts the file; the data key is wrapped for each recipient (a
passphrase by scrypt, an X25519 key, or a key of a key service). The file is cut into chunks of
1 MiB, each under AES-256-GCM with a nonce that counts the chunks and marks the last one (the STREAM
construction: Hoang, Reyhanitabar, Rogaway and Vizár, 2015; laid out as in age, C2SP): a flipped
bit, a lost, swapped, repeated or added chunk is an error wherever it is. The header is bound to
every chunk.

Layout: the 8 bytes of `MAGIC`, 4 bytes length (big endian), the header in JSON, the chunks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import IO, Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from roadworthy.bundle.keys import (
    fingerprint,
    read_passphrase,
    read_private_key,
    read_public_key,
)
from roadworthy.bundle.kms import is_service_key, open_service_key
from roadworthy.errors import CheckFailed, InputError

MAGIC = b"RWSEAL1\n"
PASSPHRASE = "ROADWORTHY_SEAL_PASSPHRASE"
IDENTITY = "ROADWORTHY_IDENTITY"
"""What opens sealed bundles: X25519 keys (files, `env:NAME`) and service keys, with commas."""
BY_PASSPHRASE = "passphrase"
"""The recipient that is whoever knows the passphrase."""
_CHUNK, _TAG, _KEY = 1 << 20, 16, 32
_MAX_HEADER = 1 << 16
_SCRYPT = 16  # log2 of N; with r = 8 this takes 64 MiB and about 0.2 s


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to the data key.

    Attributes:
        kind: How the data key is wrapped.
        key: Fingerprint of the X25519 key, or the service key's reference.
        share: The ephemeral X25519 key, or scrypt's salt; base64.
        wrapped: The wrapped data key; base64.
    """

    kind: Literal["passphrase", "x25519", "service"]
    key: str = ""
    share: str = ""
    wrapped: str


class _Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    salt: str
    recipients: Annotated[tuple[Recipient, ...], msgspec.Meta(min_length=1, max_length=32)]


def seal(source: IO[bytes], target: IO[bytes], recipients: Sequence[str]) -> None:
    """Encrypt a stream; memory stays at a few chunks.

    Args:
        source: What to seal.
        target: Where it goes.
        recipients: References to X25519 public keys, to keys of a key service, or `passphrase`
            (from `ROADWORTHY_SEAL_PASSPHRASE` or `ROADWORTHY_SEAL_PASSPHRASE_FILE`).

    Raises:
        InputError: No recipient, or one that cannot be read.
        OutsideError: A key service is out of reach.
    """
    if not recipients:
        raise InputError("nobody is named to seal for", fix="name at least one recipient")
    data_key, salt = os.urandom(_KEY), os.urandom(16)
    wrapped = tuple(_wrap(data_key, reference) for reference in recipients)
    header = msgspec.json.encode(_Header(salt=_text(salt), recipients=wrapped))
    if len(header) > _MAX_HEADER:
        raise InputError("too many recipients")
    cipher, bound = AESGCM(_derive(data_key, salt, b"payload")), hashlib.sha256(header).digest()
    target.write(MAGIC + len(header).to_bytes(4, "big") + header)
    for number, last, chunk in _chunks(source, _CHUNK):
        target.write(cipher.encrypt(_nonce(number, last), chunk, bound))


def unseal(source: IO[bytes], target: IO[bytes], *, shown: str = "sealed bundle") -> None:
    """Decrypt a stream; memory stays at a few chunks.

    What is written to `target` before an error must not be used.

    Args:
        source: What `seal` wrote.
        target: Where the content goes.
        shown: Its name for messages.

    Raises:
        InputError: No key at hand opens it.
        CheckFailed: It is truncated or was changed.
        OutsideError: A key service is out of reach.
    """
    header, content = _read_header(source, shown)
    data_key = _open_data_key(header.recipients, shown)
    cipher = AESGCM(_derive(data_key, _bytes(header.salt), b"payload"))
    bound = hashlib.sha256(content).digest()
    try:
        for number, last, chunk in _chunks(source, _CHUNK + _TAG):
            plain = cipher.decrypt(_nonce(number, last), chunk, bound)
            if last and number and not plain:
                raise InvalidTag  # the writer never ends on an empty chunk but in an empty file
            target.write(plain)
    except InvalidTag:
        raise CheckFailed(
            "the sealed bundle is truncated or was changed",
            where=shown,
            fix="get it again from where it was made",
        ) from None


def read_recipients(source: IO[bytes], shown: str = "sealed bundle") -> tuple[Recipient, ...]:
    """For whom a file is sealed, without a key; raises CheckFailed when it is no sealed file."""
    return _read_header(source, shown)[0].recipients


def _read_header(source: IO[bytes], shown: str) -> tuple[_Header, bytes]:
    start = source.read(len(MAGIC) + 4)
    length = int.from_bytes(start[len(MAGIC) :], "big")
    if start[: len(MAGIC)] != MAGIC or len(start) != len(MAGIC) + 4 or length > _MAX_HEADER:
        raise CheckFailed("this is not a sealed bundle", where=shown)
    content = source.read(length)
    try:
        header = msgspec.json.decode(content, type=_Header)
        for recipient in header.recipients:
            _bytes(recipient.share), _bytes(recipient.wrapped)
        _bytes(header.salt)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise CheckFailed("the header of the sealed bundle is damaged", where=shown) from None
    return header, content


def _chunks(source: IO[bytes], size: int) -> Iterator[tuple[int, bool, bytes]]:
    """Number, whether it is the last one, and content of each chunk; one empty one for nothing."""
    number, chunk = 0, source.read(size)
    while True:
        following = source.read(size) if len(chunk) == size else b""
        yield number, not following, chunk
        if not following:
            return
        number, chunk = number + 1, following


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _derive(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), _KEY, salt, b"roadworthy/seal/1 " + purpose).derive(secret)


def _scrypt(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt, _KEY, 1 << _SCRYPT, 8, 1).derive(passphrase)


def _wrap(data_key: bytes, reference: str) -> Recipient:
    if is_service_key(reference):
        wrapped = open_service_key(reference).wrap(data_key)
        return Recipient(kind="service", key=reference, wrapped=_text(wrapped))
    if reference == BY_PASSPHRASE:
        passphrase = read_passphrase(PASSPHRASE)
        if passphrase is None:
            raise InputError(
                "no passphrase to seal with is given",
                fix=f"set {PASSPHRASE} or {PASSPHRASE}_FILE",
            )
        salt = os.urandom(16)
        return _aes_wrapped("passphrase", "", salt, _scrypt(passphrase, salt), data_key)
    public = read_public_key(reference)
    if not isinstance(public, X25519PublicKey):
        raise InputError(
            "a signing key cannot seal",
            where=reference,
            fix="roadworthy keys generate NAME --kind x25519",
        )
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    secret = _derive(ephemeral.exchange(public), share + public.public_bytes_raw(), b"x25519")
    return _aes_wrapped("x25519", fingerprint(public), share, secret, data_key)


def _aes_wrapped(
    kind: Literal["passphrase", "x25519"], key: str, share: bytes, secret: bytes, data_key: bytes
) -> Recipient:
    # Each wrapping key wraps one data key and is never used again: a fixed nonce is safe.
    wrapped = AESGCM(secret).encrypt(bytes(12), data_key, kind.encode())
    return Recipient(kind=kind, key=key, share=_text(share), wrapped=_text(wrapped))


def _open_data_key(recipients: Sequence[Recipient], shown: str) -> bytes:
    """The data key by the first way that is open; an own key that fails is an error."""
    own, services = _identities()
    passphrase = read_passphrase(PASSPHRASE)
    wrong = False
    for recipient in recipients:
        share, wrapped = _bytes(recipient.share), _bytes(recipient.wrapped)
        try:
            if recipient.kind == "x25519" and recipient.key in own:
                private = own[recipient.key]
                public = private.public_key().public_bytes_raw()
                agreed = private.exchange(X25519PublicKey.from_public_bytes(share))
                secret = _derive(agreed, share + public, b"x25519")
                return AESGCM(secret).decrypt(bytes(12), wrapped, b"x25519")
            if recipient.kind == "passphrase" and passphrase is not None and len(share) == 16:
                secret = _scrypt(passphrase, share)
                return AESGCM(secret).decrypt(bytes(12), wrapped, b"passphrase")
            if recipient.kind == "service" and recipient.key in services:
                return _sized(open_service_key(recipient.key).unwrap(wrapped))
        except (InvalidTag, ValueError):
            wrong = True
    if wrong:
        raise CheckFailed(
            "the key or passphrase is wrong, or the header of the sealed bundle was changed",
            where=shown,
        )
    ways = ", ".join(sorted({each.kind for each in recipients}))
    raise InputError(
        f"no key at hand opens the sealed bundle; it is sealed for: {ways}",
        where=shown,
        fix=f"set {IDENTITY} to the private key (file, env:NAME or service key) or {PASSPHRASE}",
    )


def _identities() -> tuple[dict[str, X25519PrivateKey], set[str]]:
    """Own keys by fingerprint, and the service keys that may be asked.

    A service key is asked only when it is listed: a file must not choose whom we call.
    """
    own: dict[str, X25519PrivateKey] = {}
    services: set[str] = set()
    for reference in filter(None, map(str.strip, os.environ.get(IDENTITY, "").split(","))):
        if is_service_key(reference):
            services.add(reference)
            continue
        private = read_private_key(reference)
        if not isinstance(private, X25519PrivateKey):
            raise InputError(
                "a signing key opens no sealed bundle", where=reference, fix="name an x25519 key"
            )
        own[fingerprint(private.public_key())] = private
    return own, services


def _sized(data_key: bytes) -> bytes:
    if len(data_key) != _KEY:
        raise ValueError("a data key of another size")
    return data_key


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
