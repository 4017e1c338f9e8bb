"""What the image installs: exact versions with hashes, those that this release was tested with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent / "locks"


def requirements(extras: Sequence[str]) -> str:
    """A `requirements.txt` with hashes of every file that may be installed.

    Args:
        extras: Extras of Roadworthy that the server is to have.
    """
    entries: dict[str, str] = {}
    for name in ("serve", *extras):
        for entry in _entries((_FOLDER / f"{name}.txt").read_text("utf-8")):
            entries.setdefault(entry.partition(" \\\n")[0], entry)
    return "".join(entries[key] for key in sorted(entries))


def _entries(text: str) -> list[str]:
    """Each requirement with the lines of its hashes."""
    entries: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(" ") and entries:
            if line.lstrip().startswith("--hash"):
                entries[-1] += line
        elif line[:1].isalnum():
            entries.append(line)
    return entries
