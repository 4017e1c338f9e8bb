"""SSH host keys, as cloud-init prints them on a machine's console at its first boot."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"BEGIN SSH HOST KEY KEYS-+(.*?)-+END SSH HOST KEY KEYS", re.DOTALL)
_KEY = re.compile(
    r"^(ssh-ed25519|ecdsa-sha2-nistp256) ([A-Za-z0-9+/=]{60,200})(?!\S)", re.MULTILINE
)


def host_keys_in(console: str) -> tuple[str, ...]:
    """The host keys that a console shows, `ssh-ed25519 AAAA…`; the latest boot counts.

    Args:
        console: Everything that the console showed, as the cloud hands it out.
    """
    blocks = _BLOCK.findall(console)
    return tuple(f"{kind} {key}" for kind, key in _KEY.findall(blocks[-1])) if blocks else ()


def best_key(host_keys: tuple[str, ...]) -> str:
    """The one that is kept: ed25519 before others."""
    return min(host_keys, key=lambda key: not key.startswith("ssh-ed25519"))
