"""How a wanted document is compared with what a cloud says is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(wanted: Any, there: Any, at: str = "") -> list[str]:
    """What of a wanted document is other there, as `KEY: value`; what is not asked for may be more.

    Lists must be the same, in any order when their members have names. Clouds change the case of
    names that they give back, so case is not looked at.

    Args:
        wanted: The document that was sent, or a part of it.
        there: The same part of what the cloud answers.
        at: Where that part is.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(there, Mapping):
            return [f"{at}: absent" if there is None else f"{at}: {there}"]
        found = []
        for key, value in wanted.items():
            found += differences(value, there.get(key), f"{at}.{key}" if at else key)
        return found
    if isinstance(wanted, list):
        return _of_lists(wanted, there, at)
    if isinstance(wanted, str) and isinstance(there, str):
        return [] if wanted.lower() == there.lower() else [f"{at}: {there}"]
    same = wanted == there or (wanted is False and there is None)
    return [] if same else [f"{at}: {'absent' if there is None else there}"]


def _of_lists(wanted: list[Any], there: Any, at: str) -> list[str]:
    given = there if isinstance(there, list) else []
    if wanted and all(isinstance(each, Mapping) and "name" in each for each in wanted):
        found, named = [], {each.get("name"): each for each in given}
        for each in wanted:
            found += differences(each, named.pop(each["name"], None), f"{at} {each['name']}")
        return found + [f"{at} {name}: not wanted" for name in named]
    if len(wanted) != len(given):
        return [f"{at}: {len(given)} in place of {len(wanted)}"]
    if all(isinstance(each, str) for each in [*wanted, *given]):
        wanted, given = sorted(map(str.lower, wanted)), sorted(map(str.lower, given))
    return [
        said
        for number, (one, other) in enumerate(zip(wanted, given, strict=True))
        for said in differences(one, other, f"{at} {number + 1}")
    ]
