"""What Azure says of the state of something."""

from __future__ import annotations

from typing import Any


def failed(found: dict[str, Any]) -> bool:
    """Whether Azure could not make it."""
    return (found.get("properties") or {}).get("provisioningState") in ("Failed", "Canceled")


def power_of(machine: dict[str, Any] | None) -> str:
    """Whether a machine runs, in Azure's words."""
    if machine is None:
        return "none"
    view = machine.get("properties", {}).get("instanceView") or {}
    codes = [str(each.get("code", "")) for each in view.get("statuses") or ()]
    return next(
        (code.partition("/")[2] for code in codes if code.startswith("PowerState/")), "unknown"
    )
