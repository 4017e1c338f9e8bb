"""`[train]`: budget, candidates, search and what serving may cost."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from roadworthy.project._range import Range
from roadworthy.project.decision import DecisionOptions


class TrainSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train]`: budget, candidates, search and what serving may cost."""

    budget: str | float = "60s"
    candidates: Literal["auto"] | tuple[str, ...] = "auto"
    search: Literal["race", "grid", "optuna"] = "race"
    grid: dict[str, dict[str, tuple[Any, ...]]] = msgspec.field(default_factory=dict)
    study: str | None = None
    metric: str = "auto"
    folds: int = 5
    max_members: int = 3
    max_microseconds: float = 100.0
    max_mb: float = 10.0
    seed: int = 0
    n_jobs: int | None = None
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
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
        full = all(values for family in self.grid.values() for values in family.values())
        return [
            Range(2 <= self.folds <= 20, "folds", "between 2 and 20"),
            Range(self.n_jobs is None or self.n_jobs >= 1, "n_jobs", "1 or more"),
            Range(
                self.address is None or self.engine == "ray",
                "address",
                'given when engine is "ray"',
            ),
            Range(1 <= self.max_members <= 5, "max_members", "between 1 and 5"),
            Range(self.max_microseconds >= 10, "max_microseconds", "10 or more"),
            Range(self.max_mb >= 0.1, "max_mb", "0.1 or more"),
            Range(full, "grid", "a list of at least one value for each setting"),
            Range(
                self.search != "grid" or any(self.grid.values()),
                "grid",
                'given when search is "grid", as in [train.grid.forest] max_depth = [4, 8]',
            ),
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
