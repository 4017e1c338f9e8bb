"""Names of files that are not ASCII, where the locale is (`LC_ALL=C` without UTF-8 mode).

Python keeps the bytes of such a name as lone surrogates, which neither Polars nor JSON takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def shown_name(path: str | os.PathLike[str]) -> str:
    """A name as people read it."""
    return os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def named(name: str | os.PathLike[str]) -> Path:
    """The file of a name, be it as people read it or as Python keeps it."""
    return Path(os.fsdecode(os.fspath(name).encode("utf-8", "surrogateescape")))


def for_polars(path: Path) -> Any:
    """What Polars opens a file by: its name in UTF-8, or where that is none the open file."""
    try:
        return str(path).encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        return path.open("rb")
