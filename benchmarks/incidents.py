"""Is the advice right? Scripted incidents, of which the cause is known.

    python -m benchmarks.incidents [SEED]

A model is trained on loans, packaged, and asked for eight weeks of rows; something happens at the
end of week five. Every incident makes real rows, which go through a real bundle into logged
predictions; labels are joined to them, and `advise` says what to do. An incident names the action
that is right, and what would be harmful: retraining on broken data always is.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.incident_worlds import LOANS, Frame, World, make_bundle
from roadworthy.acceptance.references import bundle_scores
from roadworthy.bundle import Bundle
from roadworthy.contract import Contract
from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.advice import Action, Swap, advise
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.history import History
from roadworthy.monitor.inspection import inspect_history
from roadworthy.monitor.predictions import Predictions
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.counts import Counts
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.rows import BLANK, UNSEEN, Note
from roadworthy.project import MonitorSection
from roadworthy.table.conform import conform

START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
DAYS, BROKEN_FROM = 56.0, 36.0
LEARNING = frozenset({"retrain", "recalibrate", "move_threshold"})
Change = Callable[[Frame, np.random.Generator], Frame]


@dataclasses.dataclass(frozen=True)
class Incident:
    """Something that happens to a model in production.

    Attributes:
        name: What happens.
        kind: `pipeline`, `healed`, `covariate`, `concept`, `calibration`, `season`, `release`,
            `labels` or `nothing`.
        right: The actions any of which is right to come first.
        subject: What the action must be about; empty for anything.
        world: What changes in the rows before they are true: a shift of the world.
        broken: What changes in the rows after they are true: a break of the pipeline.
        turned: What changes in the truth: what is added to a row's relation.
        told: What becomes of outcomes that are true, on their way to us or by chance. The position
            after the last class is a class that the model does not know.
        labels: Share of the recent labels that are known.
        rows: Predictions.
        release: Whether a bad version was released.
        until: The day on which the pipeline is well again.
        hosts: Share of the requests that the released version answers.
        times: What happens to the days on which rows come.
        reported: Which labels ever arrive; all of them unless said.
        never: Actions that would do harm, wherever they stand; what learns, on broken data.
        seed: Seed of everything.
        of: The world in which it happens.
    """

    name: str
    kind: str
    right: tuple[str, ...]
    subject: str = ""
    world: Change | None = None
    broken: Change | None = None
    turned: Callable[[Frame], Floats] | None = None
    told: Callable[[Floats, np.random.Generator], Floats] | None = None
    labels: float = 1.0
    rows: int = 6000
    release: bool = False
    until: float = math.inf
    hosts: float = 1.0
    times: Callable[[Floats], Floats] | None = None
    reported: Callable[[Floats], Any] | None = None
    never: frozenset[str] = frozenset()
    seed: int = 0
    of: World = LOANS

    @property
    def harmful(self) -> frozenset[str]:
        """Actions that would do harm."""
        return self.never | (LEARNING if self.kind == "pipeline" else frozenset())


def play(incident: Incident, good: Bundle, bad: Bundle) -> tuple[Outcomes, Bundle, dict[str, Any]]:
    """The rows, the answers and the labels of an incident."""
    random = np.random.default_rng(incident.seed)
    days = np.sort(random.random(incident.rows) * DAYS)
    if incident.times is not None:
        days = np.sort(incident.times(days))
    recent = days >= BROKEN_FROM
    world = incident.of
    frame = world.rows(incident.rows, random)
    kept = world.usual(frame)
    frame, days, recent = frame.filter(kept), days[kept.to_numpy()], recent[kept.to_numpy()]
    if incident.world is not None:
        frame = _at(frame, recent, incident.world, random)
    relation = world.relation(frame)
    if incident.turned is not None:
        relation[recent] += incident.turned(frame)[recent]
    outcomes = world.outcomes(relation, random)
    if incident.told is not None:
        outcomes = np.where(recent, incident.told(outcomes, random), outcomes)
    if incident.broken is not None:
        frame = _at(frame, recent & (days < incident.until), incident.broken, random)
    typed = conform(frame, good.contract)
    scores = bundle_scores(good, typed)
    serving, more = good, dict[str, Any]()
    versions = np.full(len(days), good.version, dtype=object)
    if incident.release:
        serving = bad
        there = recent
        if incident.hosts < 1.0:
            there = recent & (random.random(len(days)) < incident.hosts)
        scores[there] = bundle_scores(bad, typed)[there]
        versions[there] = bad.version
        at = START + datetime.timedelta(days=BROKEN_FROM)
        more = {"swap": Swap(bad.version, good.version, at), "before": good}
    known = ~recent | (random.random(len(days)) < incident.labels)
    if incident.reported is not None:
        known &= ~recent | incident.reported(outcomes)
    times = START.timestamp() + days * 86400.0
    keys = pl.DataFrame(
        {
            "request_id": [f"{incident.seed}-{number}" for number in range(len(days))],
            "row": np.zeros(len(days), dtype=np.int64),
            "version": versions.astype(str),
            "time": times,
        }
    )
    made = Predictions(good.contract, keys, typed, scores)
    strange = known & (outcomes == len(world.classes)) & bool(world.classes)
    known &= ~strange
    told = Outcomes(
        made,
        np.where(known, outcomes, np.nan),
        np.where(known, times + 3600.0, np.nan),
        strange=dict.fromkeys(np.flatnonzero(strange).tolist(), "other"),
    )
    return told, serving, more


def _at(frame: Frame, recent: Any, change: Change, random: np.random.Generator) -> Frame:
    """A change of the recent rows."""
    after = change(frame, random)
    mask = pl.Series(recent)
    return pl.DataFrame([after[name].zip_with(mask, frame[name]) for name in frame.columns])


def answer(
    incident: Incident, good: Bundle, bad: Bundle, *, counted: bool = True
) -> tuple[Action, ...]:
    """What is advised, on the findings of real counts or on the logged rows alone."""
    outcomes, serving, more = play(incident, good, bad)
    since = START + datetime.timedelta(days=BROKEN_FROM)
    found = findings(outcomes.predictions, serving) if counted else None
    return advise(serving, outcomes, since=since, findings=found, delay_days=0.0, **more)[1]


def findings(made: Predictions, bundle: Bundle) -> tuple[Finding, ...]:
    """What the counts say of the same rows, counted as a server counts them, in parts of a day."""
    reference = bundle.reference
    assert reference is not None
    counter = RowCounter(bundle.contract, bundle.plan, reference.layout)
    mine = made.take((made.keys["version"] == bundle.version).to_numpy())
    hours = (mine.times // 21600).astype(np.int64) * 6
    counts: dict[int, Counts] = {}
    for hour in np.unique(hours).tolist():
        rows = mine.take(hours == hour)
        matrix = encode_columns(rows.inputs, bundle.plan)
        counts[hour] = counter.count(matrix, noticed(rows.inputs, bundle.contract), rows.scores)
    days: dict[int, Any] = {}
    for hour, count in counts.items():
        days[hour // 24] = days.get(hour // 24, 0) + count.cells
    now = int((START.timestamp() + DAYS * 86400) // 3600)
    history = History(reference, counts, now, 0, days)
    classes = bundle.contract.target.class_names
    name, version = bundle.manifest.name, bundle.version
    return inspect_history(history, MonitorSection(), name, version, classes).findings


def noticed(frame: Frame, contract: Contract) -> dict[Note, Any]:
    """Blank and unseen cells, as a server notices them."""
    found: dict[Note, Any] = {}
    for place, column in enumerate(contract.columns):
        cells = frame[column.name]
        found[BLANK, place] = np.flatnonzero(cells.is_null().to_numpy())
        if column.kind == "category":
            strange = ~cells.is_in(list(column.categories)).fill_null(value=True)
            found[UNSEEN, place] = np.flatnonzero(strange.to_numpy())
    return found


def is_right(incident: Incident, actions: tuple[Action, ...]) -> bool:
    """Whether the first action is a right one, about the right thing."""
    first = actions[0]
    return first.kind in incident.right and incident.subject in ("", first.subject)


def column(name: str, change: Callable[[pl.Series, np.random.Generator], Any]) -> Change:
    """A change of one column."""

    def apply(frame: Frame, random: np.random.Generator) -> Frame:
        made = pl.Series(name, change(frame[name], random))
        return frame.with_columns(made.cast(frame[name].dtype, strict=False))

    return apply


def blanked(share: float) -> Callable[[pl.Series, np.random.Generator], Any]:
    def change(cells: pl.Series, random: np.random.Generator) -> Any:
        gone = pl.Series(random.random(len(cells)) < share)
        return cells.zip_with(~gone, pl.Series([None] * len(cells), dtype=cells.dtype))

    return change


def pipeline_breaks() -> Iterator[Incident]:
    changes: dict[str, tuple[str, Callable[[pl.Series, np.random.Generator], Any]]] = {
        "income arrives in thousands": ("income", lambda c, _: c / 1000),
        "income arrives in cents": ("income", lambda c, _: c * 100),
        "debt arrives in thousands": ("debt", lambda c, _: c / 1000),
        "temperature in Fahrenheit": ("temperature", lambda c, _: c * 1.8 + 32),
        "temperature in Kelvin times ten": ("temperature", lambda c, _: (c + 273.15) * 10),
        "age in months": ("age", lambda c, _: c * 12),
        "half of income blank": ("income", blanked(0.5)),
        "all of income blank": ("income", blanked(1.0)),
        "a fifth of regions blank": ("region", blanked(0.2)),
        "debt blank for three in ten": ("debt", blanked(0.3)),
        "temperature stands still": ("temperature", lambda c, _: np.full(len(c), 14.0)),
        "income filled with -1": ("income", lambda c, r: np.where(r.random(len(c)) < 0.8, -1, c)),
        "north is called N": ("region", lambda c, _: c.replace("north", "N")),
        "regions in capitals": ("region", lambda c, _: c.str.to_uppercase()),
        "web is called online": ("channel", lambda c, _: c.replace("web", "online")),
        "sign of temperature turned": ("temperature", lambda c, _: -c - 25),
    }
    for number, (name, (where, change)) in enumerate(changes.items()):
        yield Incident(
            name, "pipeline", ("fix_source",), where,
            broken=column(where, change), seed=100 + number,
        )  # fmt: skip
    for number, share in enumerate((0.0, 0.02)):
        yield Incident(
            f"income in cents, {share:.0%} labelled", "pipeline", ("fix_source",), "income",
            broken=column("income", lambda c, _: c * 100), labels=share, seed=130 + number,
        )  # fmt: skip


def healed_breaks() -> Iterator[Incident]:
    """Breaks that are over when advice is asked for: their labelled rows must teach nothing."""
    changes: dict[str, tuple[str, Callable[[pl.Series, np.random.Generator], Any]]] = {
        "income in thousands": ("income", lambda c, _: c / 1000),
        "debt blank": ("debt", blanked(1.0)),
        "temperature stands still": ("temperature", lambda c, _: np.full(len(c), 14.0)),
        "regions in capitals": ("region", lambda c, _: c.str.to_uppercase()),
    }
    for number, (name, (where, change)) in enumerate(changes.items()):
        days = 1 + 2 * (number % 3)
        yield Incident(
            f"{name} for {days} days", "healed", ("nothing",), until=BROKEN_FROM + days,
            broken=column(where, change), seed=140 + number,
        )  # fmt: skip
    yield Incident(
        "income in thousands for 3 days, and debt helps now", "healed", ("retrain",),
        until=BROKEN_FROM + 3, broken=column("income", lambda c, _: c / 1000),
        turned=lambda f: 10.0 * (f["debt"] / f["income"] - 0.19).to_numpy() * -1.0, seed=145,
    )  # fmt: skip


def older(share: float) -> Change:
    """A campaign among the old, of whom training saw few and of whom another truth holds."""

    def change(frame: Frame, random: np.random.Generator) -> Frame:
        old = random.random(frame.height) < share
        age = np.where(old, random.integers(63, 85, frame.height), frame["age"].to_numpy())
        return frame.with_columns(pl.Series("age", age.astype(float)))

    return change


def richer(by: float) -> Change:
    return column("income", lambda c, _: c * np.exp(by))


def covariate_shifts() -> Iterator[Incident]:
    for number, share in enumerate((0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        yield Incident(
            f"{share:.0%} of the customers are old now", "covariate", ("retrain",),
            world=older(share), seed=200 + number,
        )  # fmt: skip
    for number, by in enumerate((0.1, 0.15, 0.2)):
        yield Incident(
            f"incomes are {by:.0%} higher, and the model knows such", "covariate", ("nothing",),
            world=richer(by), seed=220 + number,
        )  # fmt: skip
    for number, share in enumerate((0.5, 0.7, 0.9)):
        yield Incident(
            f"{share:.0%} are old now, hardly a label yet", "covariate", ("collect_labels",),
            world=older(share), labels=0.03, seed=240 + number,
        )  # fmt: skip


def concept_drifts() -> Iterator[Incident]:
    def debt(strength: float) -> Callable[[Frame], Floats]:
        return lambda f: -strength * (f["debt"] / f["income"] - 0.19).to_numpy()

    def region(strength: float) -> Callable[[Frame], Floats]:
        return lambda f: strength * ((f["region"] == "north").to_numpy() * 1.5 - 0.45)

    def warm(strength: float) -> Callable[[Frame], Floats]:
        return lambda f: strength * (f["temperature"].to_numpy() - 12.0) / 6.0

    turns = {
        "debt matters no more": debt(6.5), "debt helps now": debt(10.0),
        "the north pays late now": region(1.2), "the north pays late as never": region(1.8),
        "warmth matters now": warm(1.0), "warmth matters much": warm(1.6),
        "debt and north": lambda f: debt(6.0)(f) + region(1.0)(f),
    }  # fmt: skip
    for number, (name, turned) in enumerate(turns.items()):
        yield Incident(name, "concept", ("retrain",), turned=turned, seed=300 + number)
    for number, share in enumerate((0.03, 0.05, 0.08)):
        yield Incident(
            f"debt helps now, {share:.0%} labelled", "labels", ("collect_labels",),
            turned=debt(14.0), labels=share, seed=320 + number,
        )  # fmt: skip


def calibrations() -> Iterator[Incident]:
    for number, by in enumerate((1.0, 1.3, 1.6, -1.0, -1.4, 2.0, 0.8)):
        yield Incident(
            f"log-odds of paying late {by:+g} for all", "calibration",
            ("move_threshold", "recalibrate"),
            turned=functools.partial(shifted, by), seed=400 + number,
        )  # fmt: skip


def shifted(by: float, frame: Frame) -> Floats:
    return np.full(frame.height, by)


def warmer(by: float, cells: pl.Series, _: np.random.Generator) -> pl.Series:
    return cells + by


def seasons() -> Iterator[Incident]:
    for number, by in enumerate((6.0, 8.0, -5.0, -7.0, 4.0, 10.0)):
        yield Incident(
            f"the season is {by:+g} degrees", "season", ("nothing",),
            world=column("temperature", functools.partial(warmer, by)), seed=500 + number,
        )  # fmt: skip


def releases() -> Iterator[Incident]:
    for number in range(5):
        yield Incident(
            f"a bad version, {number}", "release", ("roll_back",), release=True, seed=600 + number
        )


def quiet() -> Iterator[Incident]:
    for number in range(8):
        yield Incident(
            f"nothing, {number}", "nothing", ("nothing",), rows=(3000, 6000)[number % 2],
            labels=(1.0, 0.3, 0.0)[number % 3], seed=700 + number,
        )  # fmt: skip


def incidents(seed: int = 0) -> list[Incident]:
    """All of them; another seed gives other rows."""
    found = [
        *pipeline_breaks(), *healed_breaks(), *covariate_shifts(), *concept_drifts(),
        *calibrations(), *seasons(), *releases(), *quiet(),
    ]  # fmt: skip
    return reseeded(found, seed)


def main() -> None:
    judge_both_ways(incidents(int(sys.argv[1]) if len(sys.argv) > 1 else 0))


def reseeded(played: list[Incident], seed: int) -> list[Incident]:
    """The same incidents; another seed gives other rows."""
    return [dataclasses.replace(each, seed=each.seed + 10_000 * seed) for each in played]


def judge_both_ways(played: list[Incident]) -> None:
    """Ask for advice in all of them, which are of one world, on real counts and without."""
    with tempfile.TemporaryDirectory() as folder:
        good = make_bundle(Path(folder), played[0].of)
        bad = make_bundle(Path(folder), played[0].of, seed=2, good=False)
        for counted in (True, False):
            print("findings of the counts" if counted else "findings of the logged rows alone")
            judge(played, good, bad, counted=counted)


def judge(played: list[Incident], good: Bundle, bad: Bundle, *, counted: bool) -> None:
    right, total, harmful = Counter[str](), Counter[str](), 0
    for incident in played:
        actions = answer(incident, good, bad, counted=counted)
        good_advice = is_right(incident, actions)
        right[incident.kind] += good_advice
        total[incident.kind] += 1
        does_harm = any(action.kind in incident.harmful for action in actions)
        harmful += does_harm
        if not good_advice or does_harm:
            given = ", ".join(f"{a.kind} {a.subject}".strip() for a in actions[:3])
            said = "wrong and harmful" if does_harm else "wrong"
            print(f"{said}: {incident.kind}: {incident.name}: {given}")
    print(f"{'kind':12} {'right':>6} {'of':>4}")
    for kind, count in total.items():
        print(f"{kind:12} {right[kind]:6} {count:4}")
    print(f"{'all':12} {right.total():6} {total.total():4}  {right.total() / total.total():.0%}")
    print(f"harmful advice: {harmful}")


if __name__ == "__main__":
    main()
