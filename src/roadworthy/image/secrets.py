"""Secrets of a container: files below one folder, mounted when it starts, never in the image."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from roadworthy.bundle.keys import read_passphrase, read_private_key
from roadworthy.bundle.kms import is_service_key
from roadworthy.bundle.sealing import IDENTITY, PASSPHRASE
from roadworthy.errors import InputError
from roadworthy.project import ServeSection
from roadworthy.serve.guard import new_key

FOLDER = "/run/secrets"
"""Where Docker, Podman, compose and Swarm put secrets."""
FILES = ("keys", "jwks", "tls_certificate", "tls_key", "client_ca")
"""Keys of `[serve]` that name files: the image looks for each in `FOLDER`, under its key's name."""


class Secrets(NamedTuple):
    """What a container is given.

    Attributes:
        files: Files by their names in `FOLDER`.
        variables: Variables that lead to them.
        token: What opens a locked server; None for an open one.
    """

    files: dict[str, Path]
    variables: dict[str, str]
    token: str | None


def mounted(options: ServeSection) -> dict[str, Any]:
    """Where the image looks for the files that `[serve]` names."""
    return {key: f"{FOLDER}/{key}" for key in FILES if getattr(options, key) is not None}


@contextlib.contextmanager
def test_secrets(options: ServeSection) -> Iterator[Secrets]:
    """What a container needs to be tested, for as long as that takes.

    A locked server gets a key that is made here and known to nobody else. A sealed bundle is opened
    in the container with what opens it in this process.

    Args:
        options: `[serve]`.

    Raises:
        InputError: The server speaks TLS, or a key cannot be read.
    """
    if options.tls_certificate is not None or options.client_ca is not None:
        raise InputError(
            "the test of an image speaks plain HTTP, as the proxy before it does",
            where="serve.tls_certificate" if options.tls_certificate else "serve.client_ca",
            fix="leave TLS out in an overlay for the test (-d NAME)",
        )
    with tempfile.TemporaryDirectory(prefix="roadworthy-secrets-") as name:
        folder, variables = Path(name), {}  # nobody else enters it, so its files may be readable
        token = None
        if options.keys is not None or options.jwks is not None or options.oidc:
            token, key = new_key("image test")
            _write(folder / "keys", msgspec.json.encode([key]))
            variables["ROADWORTHY_SERVE_KEYS"] = f"{FOLDER}/keys"
        if options.jwks is not None:
            _write(folder / "jwks", _read(Path(options.jwks)))
        variables |= _opening(folder)
        yield Secrets({file.name: file for file in folder.iterdir()}, variables, token)


test_secrets.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test


def _opening(folder: Path) -> dict[str, str]:
    """What opens sealed bundles in this process, written into a folder."""
    named, variables = [], {}
    for number, reference in enumerate(filter(None, os.environ.get(IDENTITY, "").split(","))):
        if is_service_key(reference.strip()):
            named.append(reference.strip())
            continue
        private = read_private_key(reference.strip())
        form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        _write(folder / f"identity-{number}", private.private_bytes(*form))
        named.append(f"{FOLDER}/identity-{number}")
    if named:
        variables[IDENTITY] = ",".join(named)
    if (passphrase := read_passphrase(PASSPHRASE)) is not None:
        _write(folder / "passphrase", passphrase)
        variables[f"{PASSPHRASE}_FILE"] = f"{FOLDER}/passphrase"
    return variables


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o444)  # the container's user is another


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=str(file)
        ) from None
