"""What changed from one version to another: contract, metrics, plan, parity, importance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from roadworthy.bundle.manifest import Manifest
from roadworthy.errors import CheckFailed

_KEPT = ("contract.json", "plan.json", "report.json", "parity.json")
COMPARED = frozenset(_KEPT)
"""Files that a comparison reads."""


class Change(msgspec.Struct, frozen=True):
    """One thing that is different; None stands for nothing there."""

    what: str
    before: Any
    after: Any


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that is different.

    Attributes:
        versions: The two versions.
        contract: Columns and target, property by property.
        metrics: Metrics on each one's holdout.
        plan: How columns become features.
        parity: The largest difference of each way of running it.
        importance: What the model loses without each column, where the reports say it.
        environment: Versions of the training.
        files: Files that came, went or changed.
    """

    versions: tuple[str, str]
    contract: tuple[Change, ...]
    metrics: tuple[Change, ...]
    plan: tuple[Change, ...]
    parity: tuple[Change, ...]
    importance: tuple[Change, ...]
    environment: tuple[Change, ...]
    files: tuple[Change, ...]


def compare(
    before: tuple[Manifest, Mapping[str, bytes]], after: tuple[Manifest, Mapping[str, bytes]]
) -> Difference:
    """Compare two verified bundles.

    Args:
        before: Manifest and contents, as `verify` gives them.
        after: The same of the other one.

    Raises:
        CheckFailed: A part cannot be read.
    """
    old, new = _parts(before), _parts(after)
    return Difference(
        versions=(before[0].version, after[0].version),
        contract=_changes(_contract(old["contract.json"]), _contract(new["contract.json"])),
        metrics=_changes(_metrics(old["report.json"]), _metrics(new["report.json"])),
        plan=_changes(_plan(old["plan.json"]), _plan(new["plan.json"])),
        parity=_changes(_parity(old["parity.json"]), _parity(new["parity.json"])),
        importance=_changes(_importance(old["report.json"]), _importance(new["report.json"])),
        environment=_changes(before[0].environment, after[0].environment),
        files=_changes(_files(before[0]), _files(after[0])),
    )


def _parts(bundle: tuple[Manifest, Mapping[str, bytes]]) -> dict[str, Any]:
    manifest, contents = bundle
    try:
        return {name: msgspec.json.decode(contents[name]) for name in _KEPT}
    except (KeyError, msgspec.DecodeError):
        raise CheckFailed(
            "the bundle lacks a part that can be compared", where=manifest.short_version
        ) from None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def _contract(contract: dict[str, Any]) -> dict[str, Any]:
    """Flat: `column age`, `column age: kind`, `column job: levels`, …; counts are left out."""
    flat: dict[str, Any] = {}
    for key, value in contract["target"].items():
        flat[f"target: {key}"] = value
    for column in contract["columns"]:
        name = f"column {column['name']}"
        flat[name] = "there"
        for key, value in column.items():
            if key == "categories":
                flat[f"{name}: levels"] = sorted(value)
            elif key != "name":
                flat[f"{name}: {key}"] = value
    return flat


def _metrics(report: dict[str, Any]) -> dict[str, Any]:
    return {name: found["value"] for name, found in report["metrics"].items()}


def _plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Flat: the features by position, and whatever else the plan says."""
    flat: dict[str, Any] = {}
    for key, value in plan.items():
        if isinstance(value, list):
            flat[f"{key}: how many"] = len(value)
            flat.update({f"{key} {_label(each, i)}": each for i, each in enumerate(value)})
        else:
            flat[key] = value
    return flat


def _label(part: Any, position: int) -> str:
    if isinstance(part, dict):
        named = [str(part[key]) for key in ("name", "column", "part", "level") if part.get(key)]
        return " ".join([str(position), *named])
    return str(position)


def _parity(parity: dict[str, Any]) -> dict[str, Any]:
    return {way: found["largest_difference"] for way, found in parity["ways"].items()}


def _importance(report: dict[str, Any]) -> dict[str, Any]:
    return {
        each["column"]: each["drop"]["value"] if isinstance(each["drop"], dict) else each["drop"]
        for each in report.get("importance", ())
    }


def _files(manifest: Manifest) -> dict[str, Any]:
    return {name: entry.sha256[:12] for name, entry in manifest.files.items()}
