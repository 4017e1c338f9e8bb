"""Worlds in which incidents are played: their rows, what comes of them, and a model of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from roadworthy.bundle import Bundle
from roadworthy.bundle.write import package
from roadworthy.evaluate import test
from roadworthy.evaluate.resample import Floats
from roadworthy.project import Project
from roadworthy.table import read_table
from roadworthy.train import train

REGIONS = ("north", "south", "east", "west", "centre")
CHANNELS = ("web", "branch", "phone")
Frame = pl.DataFrame


@dataclasses.dataclass(frozen=True)
class World:
    """What a model predicts, and of whom.

    Attributes:
        name: The model's name.
        target: The column that is predicted.
        classes: Its classes, sorted as the model sorts them; none for a number.
        rows: So many rows.
        usual: Which rows come usually: all that a model is trained on.
        relation: What outcomes are drawn from: log-odds of two classes `[N]` or of each `[N, K]`,
            or the logarithm of a number that is expected `[N]`.
        outcomes: Class positions or numbers, drawn from the relation `[N]`.
    """

    name: str
    target: str
    classes: tuple[str, ...]
    rows: Callable[[int, np.random.Generator], Frame]
    usual: Callable[[Frame], pl.Series]
    relation: Callable[[Frame], Floats]
    outcomes: Callable[[Floats, np.random.Generator], Floats]

    def labels(self, outcomes: Floats) -> pl.Series:
        """The outcomes as a table holds them."""
        cells = [self.classes[int(each)] for each in outcomes] if self.classes else outcomes
        return pl.Series(self.target, cells)


def people(rows: int, random: np.random.Generator) -> Frame:
    """Applications for loans."""
    age = np.clip(random.gamma(9.0, 4.5, rows), 18, 85).round()
    income = np.exp(random.normal(10.2, 0.45, rows)).round(-1)
    debt = np.where(random.random(rows) < 0.25, 0.0, income * random.beta(2, 6, rows)).round(-1)
    return pl.DataFrame(
        {
            "age": age,
            "income": income,
            "debt": debt,
            "temperature": random.normal(12, 6, rows).round(1),
            "years": random.poisson(4.0, rows).astype(float),
            "region": random.choice(REGIONS, rows, p=[0.3, 0.25, 0.2, 0.15, 0.1]),
            "channel": random.choice(CHANNELS, rows, p=[0.6, 0.3, 0.1]),
        }
    )


def log_odds(frame: Frame) -> Floats:
    """The truth: who pays late. Above 60 years it is another one, of which training sees little."""
    age, income, debt = (frame[name].to_numpy() for name in ("age", "income", "debt"))
    burden = debt / income
    young = -1.1 + 6.5 * burden - 1.2 * (np.log(income) - 10.2) - 0.25 * (frame["years"] - 4)
    old = -0.5 - 7.0 * burden + 2.2 * (np.log(income) - 10.2) + 0.05 * (frame["years"] - 4)
    cold = -0.06 * (frame["temperature"].to_numpy() - 12)
    found: Floats = np.where(
        age > 62, old, young + levels(frame["region"], REGIONS, (0.0, 0.6, -0.7, 0.3, -0.3)) + cold
    )
    return found


def levels(cells: pl.Series, names: tuple[str, ...], effects: tuple[float, ...]) -> Floats:
    """The effect of each cell's level; none of a level that has no name here."""
    known = dict(zip(names, effects, strict=True))
    found: Floats = cells.replace_strict(known, default=0.0, return_dtype=pl.Float64).to_numpy()
    return found


def truth(odds: Floats, random: np.random.Generator) -> Floats:
    """Which of two classes comes true."""
    late: Floats = (random.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(float)
    return late


LOANS = World(
    "loans", "late", ("no", "yes"), people, lambda f: f["age"] <= 64, log_odds, truth,
)  # fmt: skip


def make_bundle(
    folder: Path, world: World = LOANS, *, rows: int = 5000, seed: int = 1, good: bool = True
) -> Bundle:
    """The model: trained on the world as it was; a bad release is one that saw shuffled labels."""
    random = np.random.default_rng(seed)
    frame = world.rows(rows, random)
    frame = frame.filter(world.usual(frame))
    outcomes = world.outcomes(world.relation(frame), random)
    if not good:
        spoilt = random.random(len(outcomes)) < 0.6
        outcomes = np.where(spoilt, random.permutation(outcomes), outcomes)
    # a grid that is always searched to its end: the same models on a slow machine and on a fast one
    grid = {"boosting": {"num_leaves": (4, 8, 16), "min_child_samples": (20, 60)}}
    project = (
        Project()
        .override("train", candidates=("boosting",), search="grid", grid=grid)
        .override("train", budget="900s", folds=3)
        .override("data", split="random")
        .override("project", name=world.name)
    )
    labelled = frame.with_columns(world.labels(outcomes))
    table = read_table(labelled, world.target, project=project, name=world.name)
    model = train(table, project=project)
    return package(model, test(model, table.holdout, project), directory=folder)
