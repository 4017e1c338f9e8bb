"""Incidents from the field's post-mortems, written before the rules' code was read.

    python -m benchmarks.unseen_incidents [SEED]

The rules have been bettered by them since: docs/monitoring.md tells the first score and the last.
Each says what a good engineer would advise, and why; two answers where two are equally right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.incident_worlds import REGIONS, Frame
from benchmarks.incidents import (
    BROKEN_FROM,
    DAYS,
    Change,
    Incident,
    column,
    judge_both_ways,
    reseeded,
    richer,
)
from benchmarks.later_incidents import at_times, swapped
from roadworthy.evaluate.resample import Floats

_SOURCE, _NOTHING = ("fix_source",), ("nothing",)


def together(*changes: Change) -> Change:
    """One change after the other."""

    def change(frame: Frame, random: np.random.Generator) -> Frame:
        for each in changes:
            frame = each(frame, random)
        return frame

    return change


def of_region(region: str, change: Change) -> Change:
    """A change that only the rows of one region see."""

    def part(frame: Frame, random: np.random.Generator) -> Frame:
        changed, mine = change(frame, random), frame["region"] == region
        return frame.with_columns(
            changed[name].zip_with(mine, frame[name]).alias(name) for name in frame.columns
        )

    return part


def repeated(times: int) -> Change:
    """A join that finds several partners: every row comes so many times, one after the other."""
    return lambda frame, _: frame[np.arange(frame.height) // times]


def sent_again(share: float) -> Change:
    """Callers that give up too early and send the row of a moment ago once more."""

    def change(frame: Frame, random: np.random.Generator) -> Frame:
        places = np.arange(frame.height)
        again = random.random(frame.height) < share
        return frame[np.where(again, np.maximum(places - 3, 0), places)]

    return change


def bot(share: float) -> Change:
    """A script that asks with the same form all day."""
    form = {
        "age": 35.0, "income": 30000.0, "debt": 5000.0, "temperature": 15.0, "years": 3.0,
        "region": "north", "channel": "web",
    }  # fmt: skip

    def change(frame: Frame, random: np.random.Generator) -> Frame:
        mine = pl.Series(random.random(frame.height) < share)
        return frame.with_columns(
            pl.Series(name, [form[name]] * frame.height).zip_with(mine, frame[name])
            for name in frame.columns
        )

    return change


def new_market(frame: Frame, random: np.random.Generator) -> Frame:
    """A quarter of the customers live where nobody did; their truth is that of all regions."""
    there = pl.Series(random.random(frame.height) < 0.25)
    islands = pl.Series(["islands"] * frame.height).zip_with(there, frame["region"])
    return frame.with_columns(islands.alias("region"))


def black_friday(frame: Frame, random: np.random.Generator) -> Frame:
    """Nearly all come by the web and are younger, in the days of the rush alone."""
    places = np.arange(frame.height) / frame.height
    rush = pl.Series((places > 0.78) & (places < 0.88))
    web = pl.Series(np.where(random.random(frame.height) < 0.9, "web", frame["channel"].to_numpy()))
    younger = pl.Series(np.clip((frame["age"].to_numpy() * 0.85).round(), 18, 85))
    return frame.with_columns(
        web.zip_with(rush, frame["channel"]).alias("channel"),
        younger.zip_with(rush, frame["age"]).alias("age"),
    )


def ageing(frame: Frame, random: np.random.Generator) -> Frame:
    """Customers grow older, slowly, and stay where the model knows them."""
    late = np.clip((np.arange(frame.height) / frame.height - 0.6) / 0.4, 0, 1)
    age = frame["age"].to_numpy()
    return frame.with_columns(
        pl.Series("age", np.maximum(age, np.minimum((age + 5 * late).round(), 62)))
    )


def frozen(cells: pl.Series, random: np.random.Generator) -> pl.Series:
    """The file of one day is read again every day."""
    day = cells[:100].to_numpy()
    return pl.Series(day[np.arange(len(cells)) % len(day)])


def drawn_to(day: float, share: float, hours: float) -> Callable[[Floats], Floats]:
    """Some of the recent rows come within a few hours of one day."""

    def moved(days: Floats) -> Floats:
        chosen = (days >= BROKEN_FROM) & (np.arange(len(days)) % 100 < share * 100)
        within = day + (days - BROKEN_FROM) / (DAYS - BROKEN_FROM) * hours / 24
        return np.where(chosen, within, days)

    return moved


def unseen_incidents() -> list[Incident]:
    """All of them."""
    next_region = dict(zip(REGIONS, (*REGIONS[1:], REGIONS[0]), strict=True))
    return [
        # the hour that came twice has twice the rows, and every one of them is true
        Incident("the clock goes back: an hour has twice the rows", "nothing", _NOTHING, seed=901,
                 times=drawn_to(41.08, 0.01, 1.0)),
        # a cast lost the decimals: little is lost, but the column's type is not what was learned
        Incident("temperature is cut to whole degrees", "pipeline", _SOURCE, "temperature",
                 seed=902, broken=column("temperature", lambda c, _: np.trunc(c.to_numpy()))),
        # counts and metrics are wrong by the copies, whoever looks at them
        Incident("a join trebles the rows", "pipeline", _SOURCE, seed=903, world=repeated(3)),
        Incident("the form says 18 unless told", "pipeline", _SOURCE, "age", seed=904,
                 broken=column("age", at_times(18.0, 0.4))),
        # each cell is possible, the rows are not: debts are not of these incomes
        Incident("debt is that of a day before", "pipeline", _SOURCE, seed=905,
                 broken=column("debt", lambda c, _: c.to_numpy()[np.arange(len(c)) - 107])),
        Incident("a decimal comma is lost: 12.3 degrees are 123", "pipeline", _SOURCE,
                 "temperature", seed=906, broken=column("temperature", lambda c, _: c * 10)),
        # a filter before the service; nothing is to be learned from a script
        Incident("a bot asks a third of all", "pipeline", _SOURCE, seed=907, broken=bot(0.33)),
        # the level is true and new, and nobody knows yet how it pays
        Incident("a new market, hardly a label yet", "labels", ("collect_labels",), "region",
                 seed=908, broken=new_market, labels=0.05),
        Incident("prices and wages rise by an eighth", "covariate", _NOTHING, seed=909,
                 world=together(richer(0.12), column("debt", lambda c, _: c * np.exp(0.12)))),
        # to learn or to move a threshold from these would be to learn that everybody pays late
        Incident("labels arrive only of those who paid late", "labels",
                 ("collect_labels", "fix_source"), seed=910, reported=lambda late: late == 1),
        Incident("Black Friday, and over", "season", _NOTHING, seed=911, world=black_friday,
                 times=drawn_to(46.0, 0.3, 60.0)),
        # the world did not warm by 15 degrees in an hour: answers are off as the sensor is
        Incident("the new sensor shows 15 degrees more", "pipeline", _SOURCE, "temperature",
                 seed=912, broken=column("temperature", lambda c, _: c + 15)),
        Incident("codes of the regions were sorted anew", "pipeline", _SOURCE, "region", seed=913,
                 broken=column("region", lambda c, _: c.replace(next_region))),
        Incident("income and debt are swapped", "pipeline", _SOURCE, seed=914,
                 broken=swapped("income", "debt")),
        # answers to the copies are right; the caller should be mended, the service need not
        Incident("a storm of retries: a fifth comes again", "pipeline", ("fix_source", "nothing"),
                 seed=915, world=sent_again(0.2)),
        Incident("half of the hosts run a bad version", "release", ("roll_back",), seed=916,
                 release=True, hosts=0.5),
        Incident("debt is that of one day, every day", "pipeline", _SOURCE, seed=917,
                 broken=column("debt", frozen)),
        Incident("the south reports another currency", "pipeline", _SOURCE, seed=918,
                 broken=of_region("south", together(
                     column("income", lambda c, _: c * 7.5), column("debt", lambda c, _: c * 7.5),
                 ))),
        Incident("customers grow older, slowly", "covariate", _NOTHING, seed=919, world=ageing),
        Incident("a busy day", "nothing", _NOTHING, seed=920,
                 times=drawn_to(50.0, 0.4, 14.0)),
    ]  # fmt: skip


def main() -> None:
    judge_both_ways(reseeded(unseen_incidents(), int(sys.argv[1]) if len(sys.argv) > 1 else 0))


if __name__ == "__main__":
    main()
