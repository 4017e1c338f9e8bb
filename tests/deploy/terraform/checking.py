"""Whether a document is one that Terraform takes, by the names and types of its providers."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

META = {"depends_on", "lifecycle"}


@functools.cache
def schema(provider: str) -> dict[str, Any]:
    """The resources of `aws`, `azurerm` or `google` that are made."""
    place = Path(__file__).with_name(f"{provider}.json")
    return dict(json.loads(place.read_text("utf-8"))["resources"])


def faults(document: dict[str, Any]) -> list[str]:
    """Arguments that are lacking, unknown or of a wrong type, and references to nothing."""
    found: list[str] = []
    for kind, resources in document["resource"].items():
        for name, arguments in resources.items():
            known = schema(kind.partition("_")[0])[kind]["block"]
            found += _block(known, arguments, f"{kind}.{name}")
    text = json.dumps(document)
    for kind, name in re.findall(r"\$\{(?!data\.)((?:aws|azurerm|google)_\w+)\.(\w+)\.", text):
        if name not in document["resource"].get(kind, {}):
            found.append(f"{kind}.{name} is not there")
    for owner in ("data", "ephemeral"):
        for kind, name in re.findall(rf"\$\{{{owner}\.(\w+)\.(\w+)\.", text):
            if name not in document.get(owner, {}).get(kind, {}):
                found.append(f"{owner} {kind}.{name} is not there")
    asked = document.get("variable", {})
    found += [
        f"var.{name} is not there" for name in re.findall(r"\bvar\.(\w+)", text)
        if name not in asked
    ]  # fmt: skip
    for kind, name in re.findall(r'"((?:aws|azurerm|google)_\w+)\.(\w+)"', text):
        if name not in document["resource"].get(kind, {}):  # in `depends_on`
            found.append(f"{kind}.{name} is not there")
    return found


def _block(known: dict[str, Any], given: dict[str, Any], place: str) -> list[str]:
    found = [f"{place}.{key} is required" for key, each in known.items()
             if each.get("req") and key not in given]  # fmt: skip
    for key, value in given.items():
        if key in META:
            continue
        if key not in known:
            found.append(f"{place}.{key} is not known")
        else:
            found += _value(known[key]["t"], value, f"{place}.{key}")
    return found


def _value(kind: Any, value: Any, place: str) -> list[str]:
    simple = {"string": str, "number": (int, float), "boolean": bool}
    if isinstance(kind, str):
        right = isinstance(value, simple.get(kind, object))  # type: ignore[arg-type]
        right = right and (kind != "number" or not isinstance(value, bool))
        return [] if right else [f"{place} is no {kind}"]
    if "list" not in kind and not isinstance(value, dict):
        return [f"{place} is no block or map"]
    if "block" in kind:
        return _block(kind["block"], value, place)
    if "list" in kind:
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [fault for each in value for fault in _value(kind["list"], each, place)]
    return [fault for each in value.values() for fault in _value(kind["map"], each, place)]
