"""What would change in an object: the live one beside what the cluster would make of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

_OF_THE_CLUSTER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
_SHOWN = 80


def changes(live: Document, after: Document) -> list[str]:
    """Each difference as `path: before -> after`; none: the object is as wanted."""
    return list(_changes(_own(live), _own(after), ""))


def _own(document: Document) -> Document:
    """An object without what the cluster itself keeps in it."""
    meta = {k: v for k, v in document.get("metadata", {}).items() if k not in _OF_THE_CLUSTER}
    return {k: v for k, v in document.items() if k != "status"} | {"metadata": meta}


def _changes(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _changes(before.get(key), after.get(key), f"{path}.{key}".strip("."))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(old, new, f"{path}.{place}")
    else:
        yield f"{path}: {_short(before)} -> {_short(after)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
