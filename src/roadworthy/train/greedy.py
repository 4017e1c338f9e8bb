"""Choose a blend: greedy selection with replacement (Caruana et al., 2004)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 12
_GAIN = 1e-5
"""Relative gain below which a further member is not worth its microseconds."""

Floats = NDArray[np.float64]


class Choice(NamedTuple):
    """A blend: positions of its members, their weights, its loss and its margins."""

    members: tuple[int, ...]
    weights: tuple[float, ...]
    loss: float
    margin: Floats


def choose_blend(
    margins: Sequence[Floats],
    loss: Callable[[Floats], float],
    affordable: Callable[[tuple[int, ...]], bool],
    max_members: int,
) -> Choice | None:
    """Add the member that helps most, again and again, until none does.

    Args:
        margins: Out-of-fold margins or predictions of each candidate, the best candidate first.
        loss: What is to be small.
        affordable: Whether these members together may be served and refitted.
        max_members: Most members.

    Returns:
        The blend; None when not even one candidate is affordable.
    """
    picked: list[int] = []
    total: Floats | None = None
    least = np.inf
    for _ in range(STEPS):
        best: tuple[float, int] | None = None
        for number, margin in enumerate(margins):
            members = tuple(sorted({*picked, number}))
            if len(members) > max_members or not affordable(members):
                continue
            mixed = margin if total is None else (total + margin) / (len(picked) + 1)
            value = loss(mixed)
            if np.isfinite(value) and (best is None or value < best[0]):
                best = value, number
        if best is None or (picked and best[0] >= least - _GAIN * abs(least)):
            break
        least = best[0]
        picked.append(best[1])
        total = margins[best[1]] if total is None else total + margins[best[1]]
    if total is None:
        return None
    members = tuple(sorted(set(picked)))
    weights = tuple(picked.count(member) / len(picked) for member in members)
    return Choice(members, weights, least, total / len(picked))
