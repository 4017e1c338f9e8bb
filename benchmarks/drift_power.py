"""What monitoring finds, and how often it cries wolf, on rows whose drift is known.

python -m benchmarks.drift_power [--repeats 100] [--peers]

Independent rows: one window against a reference of 50,000 rows. Days: columns lie off by an effect
of the day and of the weekday; a quarter of them is the reference, and rows of a day hang together.
With --peers, Evidently's and NannyML's defaults are installed in environments of their own (once,
in the cache folder) and asked about the very same windows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.drift_cases import (
    NOTHING,
    Change,
    Rows,
    World,
    contract_of,
    day_effects,
    encoded,
    joined,
    reference_of,
)
from benchmarks.drift_peers import ask_peers, frame_of, write_windows
from roadworthy.contract import Contract
from roadworthy.monitor.domain import Sample, tell_apart
from roadworthy.monitor.drift import judge
from roadworthy.monitor.history import History
from roadworthy.monitor.inspection import inspect_history
from roadworthy.monitor.rows import LEVEL, broken_pairs, compare_rows
from roadworthy.observe import Window, WindowStore
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.counts import Counts
from roadworthy.observe.recording import Recorder
from roadworthy.observe.reference import Reference
from roadworthy.project.monitor import MonitorSection

OPTIONS = MonitorSection()
REFERENCE_DAYS, QUARTER = 91, 90
FIRST_DAY = 20_000
CHANGES = {
    "nothing": (NOTHING, ""),
    "0.3 sigma": (Change(shift=0.3), "number0"),
    "10 points between levels": (Change(move=0.1), "level2"),
    "blanks 10 to 20 %": (Change(blank=0.2), "number1"),
}
BREAKS = {
    "times 1,000": (Change(factor=1000.0), "unit_change"),
    "half blank": (Change(blank=0.5), "blank_rate"),
    "unseen levels in 15 %": (Change(unseen=0.15), "unseen"),
}


def counted(counter: RowCounter, world: World, rows: int, change: Change) -> Counts:
    matrix, noticed, scores = encoded(world.rows(rows, change))
    return counter.count(matrix, noticed, scores)


def history(reference: Reference, days: list[Counts], first: int = FIRST_DAY) -> History:
    hours = {(first + day) * 24 + 12: counts for day, counts in enumerate(days)}
    by_day = {first + day: counts.cells for day, counts in enumerate(days)}
    return History(reference, hours, (first + len(days)) * 24, 0, by_day)


def independent(repeats: int) -> None:
    """Windows of independent rows."""
    print("\nIndependent rows, 14 columns: share of windows in which the changed column is told")
    world = World(1)
    reference, counter = reference_of(world, world.rows(50_000))
    for rows in (1000, 10_000):
        for name, (change, subject) in CHANGES.items():
            told = 0
            looks = repeats * (5 if change is NOTHING else 1)
            for _ in range(looks):
                shifts = compare_rows(reference, counted(counter, world, rows, change).cells)
                sure = {shift.subject for shift in shifts if shift.p_value < LEVEL}
                told += subject in sure if subject else bool(sure)
            print(f"  n={rows:>6,}  {name:<28} {told / looks:7.1%}  of {looks}")
    for name, change in (("correlation .8 to .2", Change(correlation=0.2)), ("nothing", NOTHING)):
        told = sum(
            bool(broken_pairs(reference, counted(counter, world, 1000, change).cells))
            for _ in range(repeats)
        )
        print(f"  n= 1,000  {name + ', pairs':<28} {told / repeats:7.1%}  of {repeats}")
    print("\nBreaks within 200 rows: share of windows in which it is told for what it is")
    for name, (change, kind) in {**BREAKS, "nothing": (NOTHING, "")}.items():
        told = 0
        looks = repeats * (10 if change is NOTHING else 1)
        for _ in range(looks):
            past = history(reference, [counted(counter, world, 200, change)])
            found = inspect_history(past, OPTIONS, "m", "v").findings
            kinds = {one.kind for one in found if one.kind not in ("drift", "prediction_drift")}
            told += kind in kinds if kind else bool(kinds)
        print(f"  n=   200  {name:<28} {told / looks:7.1%}  of {looks}")


def domain(repeats: int) -> None:
    """A classifier on the rows themselves: one window of rows, and weeks of days that differ."""
    print("\nA classifier on rows, 14 columns: share of windows in which it tells them apart")
    world = World(1)
    contract, _ = contract_of(world.rows(5000))
    base = Sample(frame_of(world.rows(6000)))
    for name, change in (("correlation .8 to .2", Change(correlation=0.2)), ("nothing", NOTHING)):
        told = sum(
            tells(base, Sample(frame_of(world.rows(1000, change))), contract, seed)
            for seed in range(repeats)
        )
        print(f"  n= 1,000  {name:<28} {told / repeats:7.1%}  of {repeats}")
    for name, change in (("correlation .8 to .2", Change(correlation=0.2)), ("nothing", NOTHING)):
        told = 0
        for seed in range(repeats):
            world = World(seed)
            effects = day_effects(world.random, 35, 0.06, 0.1)
            parts = [
                world.rows(300, change if day >= 28 else NOTHING, effects[day]) for day in range(35)
            ]
            numbers = FIRST_DAY + np.repeat(np.arange(35), 300)
            frame, young = frame_of(joined(parts)), numbers >= FIRST_DAY + 28
            old = Sample(frame.filter(pl.Series(~young)), numbers[~young])
            new = Sample(frame.filter(pl.Series(young)), numbers[young])
            told += tells(old, new, contract, seed)
        print(f"  a week against four, {name:<17} {told / repeats:7.1%}  of {repeats}")


def tells(reference: Sample, new: Sample, contract: Contract, seed: int) -> bool:
    """Whether rows are told apart."""
    told = tell_apart(reference, new, contract, seed=seed)
    return told is not None and told.p_value < LEVEL


def season(seed: int, rows: int, daily: float, weekly: float) -> dict[str, list[Rows]]:
    """One model's days: those of the reference, a quiet quarter, and days that are shifted."""
    world = World(seed)
    effects = day_effects(world.random, REFERENCE_DAYS + QUARTER, daily, weekly)
    made = {"reference": [world.rows(rows, effects=effects[day]) for day in range(REFERENCE_DAYS)]}
    for name, served, shift in (("quiet", QUARTER, 0.0), ("weak", 7, 0.2), ("strong", 1, 0.4)):
        change = Change(shift=shift)
        made[name] = [
            world.rows(rows, change, effects[REFERENCE_DAYS + day]) for day in range(served)
        ]
    return made


def episodes_in(alarms: np.ndarray) -> int:
    """Runs of days with an alarm."""
    return int((np.diff(np.r_[0, alarms.astype(int)]) == 1).sum())


def days(made: dict[str, list[Rows]]) -> tuple[int, bool, bool]:
    """One model: false episodes of a quarter, and whether shifts of 0.2 and 0.4 sigma are found."""
    base = made["reference"]
    rows = len(base[0].codes)
    times = np.repeat((FIRST_DAY - REFERENCE_DAYS + np.arange(REFERENCE_DAYS)) * 86_400e6, rows)
    reference, counter = reference_of(World(0), joined(base), times)

    def alarms(name: str, column: str | None) -> np.ndarray:
        """Alarms of days of serving, of the shifted column alone where one is shifted."""
        seen = [counter.count(*encoded(its)) for its in made[name]]
        past = history(reference, seen)
        found = judge(past, learn_days=28, false_alarms=OPTIONS.false_alarms)
        assert found is not None
        mine = [column in (None, one.subject) for one in found.measured.measures]
        return np.asarray(found.verdict.alarms[found.first :][:, mine].any(axis=1))

    weak, strong = alarms("weak", "number0").any(), alarms("strong", "number0").any()
    return episodes_in(alarms("quiet", None)), bool(weak), bool(strong)


def day_structured(repeats: int) -> None:
    """Days that differ from each other."""
    print("\nDays, 14 columns: false episodes a model and quarter; shifts found")
    for name, rows, daily, weekly in (
        ("2,000 rows a day, .06 + weekly .10", 2000, 0.06, 0.10),
        ("2,000 rows a day, .03 + weekly .05", 2000, 0.03, 0.05),
        ("100 rows a day, .06 + weekly .10", 100, 0.06, 0.10),
    ):
        found = np.array(
            [days(season(seed, rows, daily, weekly)) for seed in range(repeats)], float
        )
        episodes, weak, strong = found.mean(axis=0)
        print(
            f"  {name:<36} {episodes:5.2f} episodes;  0.2 sigma within 7 days {weak:6.1%};  "
            f"0.4 sigma within a day {strong:6.1%}  of {repeats}",
            flush=True,
        )


def costs() -> None:
    """What it costs: on the path of a request, off it, and for a report over ten million rows."""
    print("\nCost")
    world = World(3)
    rows = world.rows(20_000)
    reference, counter = reference_of(world, rows)
    matrix, noticed, scores = encoded(rows)
    from benchmarks.drift_cases import contract_of

    contract, plan = contract_of(rows)
    with tempfile.TemporaryDirectory() as folder:
        store = WindowStore(folder)
        recorder = Recorder("m", "v" * 64, contract, plan, reference, store, "w")
        lists = list(zip(matrix.tolist(), scores.tolist(), strict=True))
        best = float("inf")
        for start in range(0, 20_000, 2000):
            part = lists[start : start + 2000]
            begin = time.perf_counter()
            for vector, answer in part:
                recorder.add(vector, answer, None)
            best = min(best, (time.perf_counter() - begin) / len(part))
            recorder.swap()
            recorder.drain()
        recorder.close()
        print(f"  on the path of a request: {best * 1e6:.2f} microseconds a row")
    begin = time.process_time()
    counts = counter.count(matrix, noticed, scores)
    spent = (time.process_time() - begin) / len(matrix)
    print(f"  counting in bulk, off the path: {spent * 1e6:.2f} microseconds a row (CPU)")
    with tempfile.TemporaryDirectory() as folder:
        store = WindowStore(folder)
        packed = counts.packed()
        hours = 500
        for hour in range(hours):
            store.write(
                Window(
                    model="m", version="v" * 64, hour=FIRST_DAY * 24 + hour, writer="w",
                    generation=1, counts=packed,
                )
            )  # fmt: skip
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.window"))
        from roadworthy.monitor.history import read_history

        begin = time.process_time()
        past = read_history(store, reference, "m", "v" * 64, now=(FIRST_DAY * 24 + hours) * 3600.0)
        inspect_history(past, OPTIONS, "m", "v")
        spent = time.process_time() - begin
        print(
            f"  report over {past.rows:,} rows in {hours} windows ({size / 1e6:.1f} MB): "
            f"{spent:.2f} s (CPU)"
        )
        begin = time.process_time()
        total = counts
        for _ in range(1000):
            total = total.merged(counts)
        print(f"  merging 1,000 windows: {(time.process_time() - begin) * 1e3:.1f} ms (CPU)")


def peers(repeats: int) -> None:
    """Evidently's and NannyML's defaults on the same windows, ours beside them."""
    world = World(1)
    base = world.rows(50_000)
    reference, counter = reference_of(world, base)
    cases = {**CHANGES, "correlation .8 to .2": (Change(correlation=0.2), "number4")}
    for size in (1000, 10_000):
        windows, ours = [], []
        for name, (change, subject) in cases.items():
            for _ in range(repeats):
                rows = world.rows(size, change)
                windows.append((name, subject, rows))
                cells = counter.count(*encoded(rows)).cells
                shifts = compare_rows(reference, cells)
                pairs = broken_pairs(reference, cells)
                told = {shift.subject for shift in shifts if shift.p_value < LEVEL}
                ours.append(told | {name for pair in pairs for name in (pair.first, pair.second)})
        with tempfile.TemporaryDirectory() as folder:
            write_windows(Path(folder), base, [rows for _, _, rows in windows])
            answers = {"roadworthy": ours, **ask_peers(Path(folder))}
        print(f"\nThe same windows of {size:,} rows: share in which the changed column is flagged")
        for peer, flagged in answers.items():
            parts = []
            for name, (_, subject) in cases.items():
                its = [found for (case, _, _), found in zip(windows, flagged, strict=True)
                       if case == name]  # fmt: skip
                share = np.mean([subject in found if subject else bool(found) for found in its])
                parts.append(f"{name} {share:.0%}")
            print(f"  {peer:<12} {';  '.join(parts)}", flush=True)


def day_peers(models: int) -> None:
    """The peers' defaults on days of 2,000 rows that differ from each other, ours beside them."""
    print("\nThe same days of 2,000 rows, .06 + weekly .10, each day a window", flush=True)
    found: dict[str, list[tuple[int, bool, bool]]] = {}
    for seed in range(models):
        made = season(seed, 2000, 0.06, 0.10)
        found.setdefault("roadworthy", []).append(days(made))
        windows = [rows for name in ("quiet", "weak", "strong") for rows in made[name]]
        with tempfile.TemporaryDirectory() as folder:
            write_windows(Path(folder), joined(made["reference"]), windows)
            answers = ask_peers(Path(folder), REFERENCE_DAYS)
        for peer, flagged in answers.items():
            quiet = np.array([bool(columns) for columns in flagged[:QUARTER]])
            shifted = ["number0" in columns for columns in flagged[QUARTER:]]
            found.setdefault(peer, []).append((episodes_in(quiet), any(shifted[:7]), shifted[7]))
    for peer, seen in found.items():
        episodes, weak, strong = np.array(seen, float).mean(axis=0)
        print(
            f"  {peer:<12} {episodes:5.2f} episodes;  0.2 sigma within 7 days {weak:6.1%};  "
            f"0.4 sigma within a day {strong:6.1%}  of {len(seen)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", choices=["rows", "domain", "days", "costs", "peers", "day-peers"])
    wanted = parser.parse_args()
    os.nice(5)
    if wanted.only in (None, "costs"):
        costs()
    if wanted.only in (None, "rows"):
        independent(wanted.repeats)
    if wanted.only in (None, "domain"):
        domain(wanted.repeats)
    if wanted.only in (None, "days"):
        day_structured(wanted.repeats)
    if wanted.peers or wanted.only == "peers":
        peers(min(wanted.repeats, 20))
    if wanted.peers or wanted.only == "day-peers":
        day_peers(min(wanted.repeats, 10))


if __name__ == "__main__":
    main()
