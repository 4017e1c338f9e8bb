"""What the race tries: a fixed portfolio, then moves around what did best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.train.candidates import Candidate, Config, Problem

LOG = "log_target"
"""The key of a configuration that is fitted on the target's logarithm."""

_ORDER = (
    "boosting", "linear", "catboost", "xgboost", "forest", "boosting", "hist", "boosting",
    "catboost", "linear", "xgboost", "boosting", "forest", "catboost", "boosting",
)  # fmt: skip
"""Families in the order that pays (measured on eight tables; Feurer et al. 2022 for the idea)."""
_KEPT = 0.6
"""Chance that a move keeps a setting."""
_SKEWED = 1.0


class Entry(NamedTuple):
    """One configuration of one family.

    Attributes:
        candidate: The family.
        config: Its settings.
        rate: The factor of its learning rate; None takes the search's.
    """

    candidate: Candidate
    config: Config
    rate: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same as another."""
        return self.candidate.family, repr((sorted(self.config.items()), self.rate))


def portfolio(candidates: list[Candidate], problem: Problem, *, log: bool) -> list[Entry]:
    """The configurations to begin with, families taking turns, first-comers first.

    Args:
        candidates: The families.
        problem: The problem.
        log: Whether the target's logarithm is worth a try: then the first two configurations
            are tried on both scales, the others on the logarithm.
    """
    waiting = {
        c.family: [Entry(c, config) for config in c.configurations(problem)] for c in candidates
    }
    entries = [waiting[family].pop(0) for family in _ORDER if waiting.get(family)]
    if len(candidates) <= 3:  # a short list of families is tried whole
        entries += [entry for family in waiting.values() for entry in family]
    else:
        entries += [family[0] for name, family in waiting.items() if name not in _ORDER]
    if not log:
        return entries
    twins = [Entry(entry.candidate, {**entry.config, LOG: True}) for entry in entries]
    return [e for both in zip(twins[:2], entries[:2], strict=True) for e in both] + twins[2:]


def is_skewed(y: NDArray[np.float64]) -> bool:
    """Whether a target is above 0 and has a long tail (skewness above 1)."""
    if len(y) < 3 or y.min() <= 0.0:
        return False
    with np.errstate(all="ignore"):
        spread = y.std()
        skew = ((y - y.mean()) ** 3).mean() / spread**3 if spread > 0.0 else 0.0
    return bool(np.isfinite(skew) and skew > _SKEWED)


def moves(
    best: list[Entry], problem: Problem, random: np.random.Generator, count: int
) -> list[Entry]:
    """New configurations around the best ones.

    Args:
        best: The best configurations, the best first.
        problem: The problem.
        random: Source of randomness.
        count: How many.
    """
    found: dict[tuple[str, str], Entry] = {}
    movable = [entry for entry in best if entry.candidate.space(problem)]
    for _ in range(10 * count if movable else 0):
        rank = min(len(movable) - 1, int(random.exponential(1.0)))
        candidate, config, rate = movable[rank]
        moved = {
            name: config[name] if name in config and random.random() < _KEPT else draw
            for name, setting in candidate.space(problem).items()
            for draw in (setting.draw(random),)
        }
        if config.get(LOG):
            moved[LOG] = True
        entry = Entry(candidate, moved, rate)
        found.setdefault(entry.key, entry)
        if len(found) == count:
            break
    return list(found.values())
