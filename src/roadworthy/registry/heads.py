"""The last entry that this machine saw of each ledger: against it, a cut-off end shows."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import msgspec


def read_heads(cache: Path, url: str) -> list[tuple[int, str]]:
    """Number and digest of the entry on record for a catalogue; nothing when there is none."""
    try:
        content = _file(cache, url).read_bytes()
        return [msgspec.json.decode(content, type=tuple[int, str])]
    except (OSError, msgspec.DecodeError):
        return []


def record_head(cache: Path, url: str, number: int, digest: str) -> None:
    """Keep the newest entry on record. It is a convenience: a full disk does not stop the work."""
    known = read_heads(cache, url)
    if known and known[0][0] >= number:
        return
    file = _file(cache, url)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as sink:
                sink.write(msgspec.json.encode((number, digest)))
            Path(draft).replace(file)
        finally:
            Path(draft).unlink(missing_ok=True)


def _file(cache: Path, url: str) -> Path:
    return cache / "heads" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
