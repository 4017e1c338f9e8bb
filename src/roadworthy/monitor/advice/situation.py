"""Everything that advice is decided on, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from roadworthy.contract import Target
from roadworthy.monitor.advice.gains import Gains
from roadworthy.monitor.estimate import ConceptGap, Expected
from roadworthy.monitor.findings import BROKEN_DATA, Finding
from roadworthy.monitor.quality import Quality

_RARELY_BROKEN = frozenset({"range", "unseen"})
"""A changed world does these too: they count as broken data only when they are serious."""


@dataclass(frozen=True)
class Swap:
    """A version that took the place of another.

    Attributes:
        version: The version that came.
        before: The one that went.
        at: When, UTC.
    """

    version: str
    before: str
    at: datetime


@dataclass(frozen=True)
class Situation:
    """What is known when advice is asked for.

    Attributes:
        model: The model's name.
        target: What is predicted.
        rows: Recent predictions.
        labelled: Those whose label is known.
        findings: What monitoring noticed.
        quality: Realised quality; None without labels.
        gaps: Realised less estimated losses of the recent labelled rows.
        expected: Estimates of the recent rows.
        reference: The holdout's metrics.
        gains: What actions would gain, measured on the labelled rows.
        importance: Column -> share of the model's importance.
        changed: Since when losses are what they are now; None where nothing changed.
        swap: The last swap; None where there was none.
        worst_slice: The subgroup with the least evidence and the worst quality, if one stands out.
        missing_class: A usual class, or numbers, of which no recent label arrived; labels then
            decide nothing.
    """

    model: str
    target: Target
    rows: int
    labelled: int
    findings: tuple[Finding, ...] = ()
    quality: Quality | None = None
    gaps: tuple[ConceptGap, ...] = ()
    expected: Mapping[str, Expected] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)
    gains: Gains = field(default_factory=Gains)
    importance: Mapping[str, float] = field(default_factory=dict)
    changed: datetime | None = None
    swap: Swap | None = None
    worst_slice: str | None = None
    missing_class: str | None = None

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Findings that say that data are broken, the most important column first."""
        found = [
            entry
            for entry in self.findings
            if entry.kind in BROKEN_DATA
            and entry.severity != "info"
            and (entry.severity == "serious" or entry.kind not in _RARELY_BROKEN)
        ]
        order = {"serious": 0, "warning": 1}
        return tuple(
            sorted(
                found,
                key=lambda f: (order[f.severity], -self.importance.get(f.subject, 0.0), f.subject),
            )
        )

    def has(self, *kinds: str) -> bool:
        """Whether there is a finding of one of these kinds that asks for action."""
        return any(f.kind in kinds and f.severity != "info" for f in self.findings)
