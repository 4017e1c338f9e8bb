"""What the server says of its models."""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.contract import Contract
from roadworthy.serve.models import Model


def summary(model: Model) -> dict[str, Any]:
    """A model and its versions, as `/models` lists it."""
    return {
        "name": model.name,
        "version": model.current.bundle.version,
        "versions": list(model.versions()),
        "canary": model.canary.short_version if model.canary else None,
        "canary_percent": model.options.canary_percent if model.canary else 0,
        "shadow": model.shadow.short_version if model.shadow else None,
    }


def metadata(bundle: Bundle) -> dict[str, Any]:
    """A bundle's `/metadata`."""
    manifest, report = bundle.manifest, bundle.report
    return {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "task": manifest.task,
        "target": bundle.contract.target.name,
        "classes": manifest.classes,
        "family": manifest.family,
        "environment": manifest.environment,
        "holdout_rows": report["rows"],
        "metrics": report["metrics"],
        "parity": bundle.parity,
        "measured": manifest.measured,
    }


def contract_of(contract: Contract, absent: Any) -> dict[str, Any]:
    """What `/contract` says."""
    content = msgspec.to_builtins(contract)
    for column in content["columns"]:  # how often a level stood in the table is nobody's business
        column["categories"] = list(column["categories"])
    return {
        **content,
        "example": contract.example(),
        "schema": contract.json_schema(absent),
    }
