"""Names that a user wrote, against the names that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from roadworthy.errors import InputError


def check_name(name: str, known: Iterable[str], what: str, where: str) -> None:
    """Refuse an unknown name.

    Args:
        name: What the user wrote.
        known: The names that there are.
        what: What it names: column, class, metric.
        where: Where it stands.

    Raises:
        InputError: There is no such name; with the nearest one.
    """
    names = list(known)
    if name not in names:
        lower = {entry.lower(): entry for entry in names}
        near = difflib.get_close_matches(name.lower(), lower, n=1)
        shown = ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
        hint = f"did you mean {lower[near[0]]!r}?" if near else f"there are {shown}"
        raise InputError(f"there is no {what} {name!r}", where=where, fix=hint)
