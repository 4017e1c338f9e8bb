"""What a section says of its values beyond their types."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """Whether a value is allowed, its key in the section, and the rule in words."""

    good: bool
    key: str
    rule: str
