"""`[guard]`: what is looked for in a table before training, and what is acknowledged."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range

CheckName = Literal[
    "leakage",
    "duplicates",
    "identifiers",
    "time",
    "label_noise",
    "imbalance",
    "target",
    "shift",
    "columns",
]


class GuardSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[guard]`: what is looked for before training.

    Attributes:
        checks: The checks to run, `all` or `off`.
        acknowledge: Findings that are known and accepted, as `check` or `check:column`. A serious
            one that is acknowledged no longer stops the job.
    """

    checks: Literal["all", "off"] | tuple[CheckName, ...] = "all"
    acknowledge: tuple[str, ...] = ()

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        named = all(entry.strip() for entry in self.acknowledge)
        return [Range(named, "acknowledge", 'entries like "leakage:COLUMN" or "duplicates"')]
