"""The public key that a new machine is given."""

from __future__ import annotations

from pathlib import Path

from roadworthy.errors import InputError

_KINDS = ("ssh-ed25519", "ssh-rsa")


def public_key(identity: str) -> str:
    """The public key beside a private one: kind and key, without the comment.

    Args:
        identity: File of the private key.

    Raises:
        InputError: There is none, or clouds do not take its kind.
    """
    place = Path(f"{identity}.pub").expanduser()
    try:
        words = place.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            "the public key of identity cannot be read",
            where=str(place),
            fix=f"write it: ssh-keygen -y -f {identity} > {place}",
        ) from None
    if len(words) < 2 or words[0] not in _KINDS:
        raise InputError(
            "clouds take keys of the kinds ed25519 and rsa only",
            where=str(place),
            fix="make one: ssh-keygen -t ed25519",
        )
    return " ".join(words[:2])
