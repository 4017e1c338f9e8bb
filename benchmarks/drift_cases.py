"""Rows whose drift is known: fourteen mixed columns, days that differ, changes of given size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract, Target
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.reference import Reference, learn_reference
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.prepare.rows import BLANK, UNSEEN

NUMBERS = 9
LEVELS = (2, 3, 5, 12, 40)
"""Levels of the five categories."""
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass
class Rows:
    """Rows of the fourteen columns.

    Attributes:
        numbers: `[N, 9]`, NaN for a blank; the last column is skewed, the one before discrete.
        codes: `[N, 5]`; -1 for a blank and a level's number beyond the last one for an unseen one.
        scores: Probability of the second of two classes `[N]`.
    """

    numbers: Floats
    codes: Codes
    scores: Floats


@dataclass(frozen=True)
class Change:
    """What is different from the reference.

    Attributes:
        shift: Standard deviations that the first number moves.
        move: Probability that moves from the third category's largest level to its rarest.
        blank: Share of blanks in the second number; a tenth is usual.
        unseen: Share of unseen levels in the fourth category.
        factor: What the third number is multiplied by.
        correlation: Of the fourth and fifth numbers; 0.8 is usual.
    """

    shift: float = 0.0
    move: float = 0.0
    blank: float = 0.1
    unseen: float = 0.0
    factor: float = 1.0
    correlation: float = 0.8


NOTHING = Change()


@dataclass
class World:
    """Where rows come from.

    Args:
        seed: Seed.
    """

    seed: int
    random: np.random.Generator = field(init=False)
    shares: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.shares = [self.random.dirichlet(np.full(size, 3.0)) for size in LEVELS]

    def rows(self, count: int, change: Change = NOTHING, effects: Floats | None = None) -> Rows:
        """Rows.

        Args:
            count: How many.
            change: What is different in them.
            effects: How far each of the fourteen columns lies off this day, in standard deviations.
        """
        random = self.random
        off = np.zeros(NUMBERS + len(LEVELS)) if effects is None else effects
        numbers = random.normal(size=(count, NUMBERS)) + off[:NUMBERS]
        mixed = np.sqrt(1 - change.correlation**2)
        numbers[:, 4] = change.correlation * numbers[:, 3] + mixed * numbers[:, 4]
        numbers[:, 0] += change.shift
        chance = 1 / (1 + np.exp(-(numbers[:, :3].sum(axis=1) + random.normal(size=count))))
        numbers[:, 2] = (20 + 5 * numbers[:, 2]) * change.factor
        numbers[:, 7] = np.round(2 * numbers[:, 7])
        numbers[:, 8] = np.exp(numbers[:, 8])
        numbers[random.random(count) < change.blank, 1] = np.nan
        codes = np.empty((count, len(LEVELS)), dtype=np.int64)
        for place, shares in enumerate(self.shares):
            # a day's effect tilts the shares of the levels
            tilt = np.linspace(-1, 1, len(shares)) * off[NUMBERS + place]
            chosen = shares * np.exp(tilt)
            chosen = chosen / chosen.sum()
            if place == 2 and change.move:
                rarest, largest = int(shares.argmin()), int(shares.argmax())
                moved = min(change.move, chosen[largest])
                chosen[rarest] += moved
                chosen[largest] -= moved
            codes[:, place] = random.choice(len(shares), count, p=chosen)
        codes[random.random(count) < change.unseen, 3] = LEVELS[3]
        return Rows(numbers, codes, chance)


def contract_of(rows: Rows) -> tuple[Contract, FeaturePlan]:
    """The contract and plan of the columns."""
    columns, features = [], []
    for place in range(NUMBERS):
        cells = rows.numbers[:, place]
        blank = float(np.isnan(cells).mean())
        columns.append(
            Column(name=f"number{place}", kind="number", dtype="number", blank_share=blank,
                   minimum=float(np.nanmin(cells)), maximum=float(np.nanmax(cells)))
        )  # fmt: skip
        features.append(Feature(column=f"number{place}", read="number"))
    for place, size in enumerate(LEVELS):
        found = np.bincount(rows.codes[:, place], minlength=size)[:size]
        levels = {f"level{code}": int(count) for code, count in enumerate(found)}
        columns.append(
            Column(name=f"level{place}", kind="category", dtype="string", categories=levels)
        )
        names = tuple(levels)
        features.append(Feature(column=f"level{place}", read="category", levels=names, code=True))
    target = Target(name="y", task="binary", classes=("no", "yes"))
    contract = Contract(target=target, columns=tuple(columns), rows=len(rows.codes))
    return contract, FeaturePlan(tuple(features))


def encoded(rows: Rows) -> tuple[Floats, dict[tuple[str, int], Codes], Floats]:
    """Vectors, what is noticed in them, and scores `[N, 2]`."""
    codes = rows.codes.astype(np.float64)
    noticed = {
        (BLANK, place): np.flatnonzero(np.isnan(rows.numbers[:, place])) for place in range(NUMBERS)
    }
    for place, size in enumerate(LEVELS):
        unseen = rows.codes[:, place] >= size
        noticed[UNSEEN, NUMBERS + place] = np.flatnonzero(unseen)
        codes[unseen, place] = -1.0
    matrix = np.ascontiguousarray(np.hstack([rows.numbers, codes]))
    return matrix, noticed, np.column_stack([1 - rows.scores, rows.scores])


def reference_of(
    world: World, rows: Rows, times: Floats | None = None
) -> tuple[Reference, RowCounter]:
    """The reference of rows, and what counts further ones."""
    contract, plan = contract_of(rows)
    matrix, noticed, scores = encoded(rows)
    everyone = np.arange(len(matrix))
    reference = learn_reference(
        contract, plan, matrix, noticed, times=times, scored=everyone, scores=scores
    )
    return reference, RowCounter(contract, plan, reference.layout)


def joined(parts: list[Rows]) -> Rows:
    """Rows one after the other."""
    return Rows(
        np.vstack([part.numbers for part in parts]),
        np.vstack([part.codes for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def day_effects(random: np.random.Generator, days: int, daily: float, weekly: float) -> Floats:
    """How far each column lies off on each day `[days, 14]`: a day's own effect and a weekday's."""
    columns = NUMBERS + len(LEVELS)
    found = random.normal(0, daily, size=(days, columns)) if daily else np.zeros((days, columns))
    weekdays = random.normal(0, weekly, size=(7, columns)) if weekly else np.zeros((7, columns))
    return found + weekdays[np.arange(days) % 7]
