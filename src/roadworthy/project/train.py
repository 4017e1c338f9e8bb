"""`[train]`: budget, candidates, search and what serving may cost."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from roadworthy.project._range import Range


class TrainSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train]`: budget, candidates, search and what serving may cost."""

    budget: str | float = "60s"
    candidates: Literal["auto"] | tuple[str, ...] = "auto"
    search: Literal["race", "grid", "optuna"] = "race"
    grid: dict[str, dict[str, tuple[Any, ...]]] = msgspec.field(default_factory=dict)
    study: str | None = None
    metric: Literal["auto", "roc_auc", "log_loss", "accuracy", "f1", "rmse", "mae"] = "auto"
    folds: int = 5
    max_members: int = 3
    max_microseconds: float = 100.0
    max_mb: float = 10.0
    seed: int = 0
    n_jobs: int | None = None

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        full = all(values for family in self.grid.values() for values in family.values())
        return [
            Range(2 <= self.folds <= 20, "folds", "between 2 and 20"),
            Range(self.n_jobs is None or self.n_jobs >= 1, "n_jobs", "1 or more"),
            Range(1 <= self.max_members <= 5, "max_members", "between 1 and 5"),
            Range(self.max_microseconds >= 10, "max_microseconds", "10 or more"),
            Range(self.max_mb >= 0.1, "max_mb", "0.1 or more"),
            Range(full, "grid", "a list of at least one value for each setting"),
            Range(
                self.search != "grid" or any(self.grid.values()),
                "grid",
                'given when search is "grid", as in [train.grid.forest] max_depth = [4, 8]',
            ),
        ]
