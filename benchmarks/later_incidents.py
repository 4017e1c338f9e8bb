"""Incidents that were written after the rules, by looking at the world alone.

    python -m benchmarks.later_incidents [SEED]

Three of them were answered wrong at first and led to rules of their own: another unit in a part of
the rows, one value that stands in for many, one level that is all that comes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.incident_worlds import Frame
from benchmarks.incidents import (
    Change,
    Incident,
    blanked,
    column,
    judge_both_ways,
    reseeded,
    shifted,
)
from roadworthy.evaluate.resample import Floats

_SOURCE = ("fix_source",)


def swapped(first: str, second: str) -> Change:
    def change(frame: Frame, random: np.random.Generator) -> Frame:
        return frame.with_columns(
            pl.Series(first, frame[second].to_numpy()), pl.Series(second, frame[first].to_numpy())
        )

    return change


def of_channel(channel: str, change: Change) -> Change:
    """A change that only the rows of one channel see."""

    def part(frame: Frame, random: np.random.Generator) -> Frame:
        changed, mine = change(frame, random), frame["channel"] == channel
        return frame.with_columns(
            changed[name].zip_with(mine, frame[name]).alias(name) for name in frame.columns
        )

    return part


def at_times(value: float, share: float) -> Callable[[pl.Series, np.random.Generator], Floats]:
    return lambda cells, random: np.where(
        random.random(len(cells)) < share, value, cells.to_numpy()
    )


def debt_turned(frame: Frame) -> Floats:
    found: Floats = -10.0 * (frame["debt"] / frame["income"] - 0.19).to_numpy()
    return found


def later_incidents() -> list[Incident]:
    """All of them."""
    some_phone = column(
        "channel", lambda c, r: np.where(r.random(len(c)) < 0.5, "phone", c.to_numpy())
    )
    return [
        Incident("income in thousands by phone only", "pipeline", _SOURCE, "income", seed=801,
                 broken=of_channel("phone", column("income", lambda c, _: c / 1000))),
        Incident("age and years swapped", "pipeline", _SOURCE, seed=802,
                 broken=swapped("age", "years")),
        Incident("south is called South", "pipeline", _SOURCE, "region", seed=803,
                 broken=column("region", lambda c, _: c.replace("south", "South"))),
        Incident("temperature stands still at times", "pipeline", _SOURCE, "temperature", seed=804,
                 broken=column("temperature", at_times(21.0, 0.5))),
        Incident("debt is blank, and the relation turns", "pipeline", _SOURCE, "debt", seed=805,
                 broken=column("debt", blanked(0.4)), turned=debt_turned),
        Incident("every channel is web", "pipeline", _SOURCE, "channel", seed=806,
                 broken=column("channel", lambda c, _: pl.Series(["web"] * len(c)))),
        Incident("half of the customers phone", "covariate", ("nothing",), seed=808,
                 world=some_phone),
        Incident("customers are younger", "covariate", ("nothing",), seed=809,
                 world=column("age", lambda c, _: np.clip(c * 0.7, 18, 85))),
        Incident("the west pays late, others do not", "concept", ("retrain",), seed=810,
                 turned=lambda f: 2.2 * ((f["region"] == "west").to_numpy() - 0.15)),
        Incident("years protect no more", "concept", ("retrain",), seed=811,
                 turned=lambda f: 0.5 * (f["years"] - 4).to_numpy()),
        Incident("everybody pays later", "calibration", ("move_threshold", "recalibrate"), seed=812,
                 turned=lambda f: shifted(1.2, f)),
        Incident("a bad version, a third labelled", "release", ("roll_back",), seed=813,
                 release=True, labels=0.33),
        Incident("quiet, few rows", "nothing", ("nothing",), seed=814, rows=900),
        Incident("quiet, no labels", "nothing", ("nothing",), seed=815, labels=0.0),
    ]  # fmt: skip


def main() -> None:
    judge_both_ways(reseeded(later_incidents(), int(sys.argv[1]) if len(sys.argv) > 1 else 0))


if __name__ == "__main__":
    main()
