"""`roadworthy keys`: keys to sign and to seal with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from roadworthy.cli.options import Json
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError, OutsideError

app = typer.Typer(help="Keys that sign and open bundles.", no_args_is_help=True)


@app.command()
def generate(
    name: Annotated[str, typer.Argument(help="Writes NAME.key (private) and NAME.pub.")],
    kind: Annotated[
        str, typer.Option("--kind", help="ed25519 or ecdsa-p256 to sign, x25519 to seal.")
    ] = "ed25519",
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt the private key with a passphrase.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a key pair. Only NAME.pub is for others.

    The passphrase comes from ROADWORTHY_KEY_PASSPHRASE, from the file that
    ROADWORTHY_KEY_PASSPHRASE_FILE names, or is asked for on a terminal.

    Example: `roadworthy keys generate release --encrypt`
    """
    from roadworthy.bundle.keys import KINDS, fingerprint, read_public_key
    from roadworthy.bundle.keys import generate as make

    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}", where="--kind", fix=f"one of {', '.join(KINDS)}")
    private, public = Path(f"{name}.key"), Path(f"{name}.pub")
    for file in (private, public):
        if file.exists():
            raise InputError("a key is there already", where=str(file), fix="choose another name")
    made = make(kind, _passphrase() if encrypt else None)
    _write(private, made[0], 0o600)
    _write(public, made[1], 0o644)
    named = fingerprint(read_public_key(str(public)))
    if json:
        print_json(
            {"private": str(private), "public": str(public), "kind": kind, "fingerprint": named}
        )
        return
    typer.echo(f"{private} (keep it secret) and {public}, {kind}, fingerprint {named}")


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="Public or private key: PEM file or env:NAME.")],
    json: Json = False,
) -> None:
    """Show the kind, fingerprint and public half of a key.

    Example: `roadworthy keys show release.pub`
    """
    from roadworthy.bundle.keys import (
        fingerprint,
        holds_private_key,
        kind_of,
        public_pem,
        read_private_key,
        read_public_key,
    )

    private = holds_private_key(key)
    public = read_private_key(key).public_key() if private else read_public_key(key)
    kind, named, pem = kind_of(public), fingerprint(public), public_pem(public).decode()
    if json:
        print_json({"kind": kind, "private": private, "fingerprint": named, "public": pem})
    else:
        half = "private" if private else "public"
        typer.echo(f"{kind}, {half}, fingerprint {named}\n{pem}", nl=False)


def _passphrase() -> bytes:
    from roadworthy.bundle.keys import PASSPHRASE, read_passphrase

    found = read_passphrase(PASSPHRASE)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise InputError("no passphrase is given", fix=f"set {PASSPHRASE} or {PASSPHRASE}_FILE")
    typed = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return str(typed).encode()


def _write(file: Path, content: bytes, mode: int) -> None:
    """A new file with its mode from the first moment; never over another one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as sink:
            sink.write(content)
    except OSError as error:
        raise OutsideError(
            f"the key cannot be written: {error.strerror or error}", where=str(file)
        ) from None
