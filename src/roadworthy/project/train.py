"""`[train]`: budget, candidates and validation."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range
from roadworthy.project.decision import DecisionOptions


class TrainSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train]`: budget, candidates and validation."""

    budget: str | float = "60s"
    candidates: tuple[str, ...] = ("linear", "forest", "boosting")
    metric: str = "auto"
    folds: int = 5
    seed: int = 0
    n_jobs: int | None = None
    validation: Literal["auto", "k_fold", "stratified", "group", "time", "repeated"] = "auto"
    repeats: int = 3
    gap: int = 0
    nested: bool = False
    quantile: float = 0.5
    class_weight: Literal["none", "balanced"] | dict[str, float] = "none"
    calibrate: Literal["auto", "none", "sigmoid", "isotonic"] = "auto"
    interval: float = 0.0
    decision: DecisionOptions = DecisionOptions()

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(2 <= self.folds <= 20, "folds", "between 2 and 20"),
            Range(self.n_jobs is None or self.n_jobs >= 1, "n_jobs", "1 or more"),
            Range(2 <= self.repeats <= 20, "repeats", "between 2 and 20"),
            Range(self.gap >= 0, "gap", "0 rows or more"),
            Range(0 < self.quantile < 1, "quantile", "between 0 and 1"),
            Range(_weights(self.class_weight), "class_weight", "above 0 for every class"),
            Range(
                self.interval == 0 or 0.5 <= self.interval <= 0.999,
                "interval",
                "0 (off) or a share between 0.5 and 0.999",
            ),
            *(Range(r.good, f"decision.{r.key}", r.rule) for r in self.decision.ranges()),
        ]


def _weights(given: str | dict[str, float]) -> bool:
    return isinstance(given, str) or all(0 < w < float("inf") for w in given.values())
