"""Findings: what monitoring noticed, in one form, whoever noticed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

Kind = Literal[
    # the data that arrive
    "drift", "prediction_drift", "correlation", "joint_drift", "healed",
    # the data are broken, and a model cannot mend them
    "blank_rate", "unseen", "range", "unit_change", "type_change", "renamed_category",
    "duplicates", "stuck", "time_gap", "misplaced",
    # the service
    "traffic", "errors", "latency", "store", "stale_model", "certificate", "disk",
    "down", "no_traffic", "log_lost", "cpu", "memory",
    # what the model is worth
    "quality_drop", "estimated_drop", "concept_drift", "calibration", "labels",
]  # fmt: skip
"""Every kind of finding there is."""
KINDS: tuple[Kind, ...] = get_args(Kind)
BROKEN_DATA: frozenset[Kind] = frozenset(
    {
        "blank_rate", "unseen", "range", "unit_change", "type_change", "renamed_category",
        "duplicates", "stuck", "time_gap", "misplaced",
    }
)  # fmt: skip
"""Kinds that say the data are broken at their source: there retraining does harm."""
Severity = Literal["info", "warning", "serious"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """One thing that monitoring noticed.

    Attributes:
        kind: What it is; one of `KINDS`.
        severity: `info` to know, `warning` to look at today, `serious` to act on now.
        subject: A column, `prediction`, `rows`, `label`, `service` or a slice.
        what: One sentence.
        evidence: The numbers behind it: effect sizes, p-values, rows.
        since: When it began, as far as is known; UTC.
        fix: What to do about it.
    """

    kind: Kind
    severity: Severity
    subject: str
    what: str
    evidence: Mapping[str, float | int | str] = field(default_factory=dict)
    since: datetime | None = None
    fix: str = ""
