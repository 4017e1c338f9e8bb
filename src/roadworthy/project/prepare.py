"""`[prepare]`: how cells become numbers."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range


class PrepareSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prepare]`: what a blank number becomes and how many levels a category keeps."""

    number_blank: Literal["mean", "median"] = "mean"
    max_levels: int = 10_000

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [Range(2 <= self.max_levels <= 1_000_000, "max_levels", "2 to 1000000")]
