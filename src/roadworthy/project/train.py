"""`[train]`: budget, candidates and validation."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range


class TrainSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train]`: budget, candidates and validation."""

    budget: str | float = "60s"
    candidates: tuple[str, ...] = ("linear", "forest", "boosting")
    metric: Literal["auto", "roc_auc", "log_loss", "accuracy", "f1", "rmse", "mae"] = "auto"
    folds: int = 5
    seed: int = 0
    n_jobs: int | None = None

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(2 <= self.folds <= 20, "folds", "between 2 and 20"),
            Range(self.n_jobs is None or self.n_jobs >= 1, "n_jobs", "1 or more"),
        ]
