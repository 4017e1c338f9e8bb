"""Drift and breaks: found when they are there, silent when they are not, told apart.

The same cases as `benchmarks/drift_power.py`, on fewer repeats, from fixed seeds.
"""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from benchmarks.drift_cases import (
    NOTHING,
    Change,
    World,
    day_effects,
    encoded,
    joined,
    reference_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.monitor.days import moderated
from roadworthy.monitor.drift import judge
from roadworthy.monitor.findings import BROKEN_DATA, KINDS, Finding
from roadworthy.monitor.history import History
from roadworthy.monitor.inspection import inspect_history
from roadworthy.monitor.rows import broken_pairs, compare_rows
from roadworthy.observe.counting import RowCounter
from roadworthy.observe.counts import Counts
from roadworthy.observe.reference import Reference
from roadworthy.project.monitor import MonitorSection

OPTIONS = MonitorSection()
DAY = 20_000
"""The first day of serving, since 1970."""


def counted(counter: RowCounter, world: World, rows: int, change: Change = NOTHING) -> Counts:
    matrix, noticed, scores = encoded(world.rows(rows, change))
    return counter.count(matrix, noticed, scores)


def history(reference: Reference, hours: dict[int, Counts], now: int | None = None) -> History:
    days: dict[int, np.ndarray] = {}
    for hour, counts in hours.items():
        days[hour // 24] = days.get(hour // 24, 0) + counts.cells
    return History(reference, hours, max(hours) if now is None else now, 0, days)


def findings(
    reference: Reference, hours: dict[int, Counts], now: int | None = None
) -> tuple[Finding, ...]:
    return inspect_history(history(reference, hours, now), OPTIONS, "m", "v").findings


@pytest.fixture(scope="module")
def learned() -> tuple[World, Reference, RowCounter]:
    world = World(7)
    return world, *reference_of(world, world.rows(50_000))


@pytest.fixture
def independent(
    learned: tuple[World, Reference, RowCounter],
) -> tuple[World, Reference, RowCounter]:
    """A world in the same state for each test, whichever ran before."""
    learned[0].random = np.random.default_rng(8)
    return learned


CHANGES = {
    "number0": Change(shift=0.3),
    "level2": Change(move=0.1),
    "number1": Change(blank=0.2),
}


@pytest.mark.parametrize("subject", CHANGES)
def test_a_change_among_a_thousand_independent_rows_is_found(
    independent: tuple[World, Reference, RowCounter], subject: str
) -> None:
    world, reference, counter = independent
    for _ in range(40):
        told = compare_rows(reference, counted(counter, world, 1000, CHANGES[subject]).cells)
        assert subject in {shift.subject for shift in told if shift.p_value < 0.005}


@pytest.mark.parametrize("rows", [100, 1000, 10_000])
def test_independent_rows_without_a_change_are_silent(
    independent: tuple[World, Reference, RowCounter], rows: int
) -> None:
    world, reference, counter = independent
    told = [
        min(shift.p_value for shift in compare_rows(reference, counts.cells)) < 0.005
        for counts in (counted(counter, world, rows) for _ in range(100))
    ]
    assert sum(told) <= 3


@pytest.mark.parametrize(
    ("kind", "subject", "change"),
    [
        ("unit_change", "number2", Change(factor=1000.0)),
        ("unit_change", "number2", Change(factor=1.0 / 100)),
        ("blank_rate", "number1", Change(blank=0.5)),
        ("blank_rate", "number1", Change(blank=1.0)),
        ("unseen", "level3", Change(unseen=0.15)),
    ],
)
def test_a_break_is_found_within_200_rows_and_told_for_what_it_is(
    independent: tuple[World, Reference, RowCounter], kind: str, subject: str, change: Change
) -> None:
    world, reference, counter = independent
    for _ in range(20):
        found = findings(reference, {DAY * 24: counted(counter, world, 200, change)})
        about = {finding.kind for finding in found if finding.subject == subject}
        assert about == {kind}, found
        assert not {"drift", "range"} & about


def test_usual_windows_hold_no_break(independent: tuple[World, Reference, RowCounter]) -> None:
    world, reference, counter = independent
    for _ in range(150):
        found = findings(reference, {DAY * 24: counted(counter, world, 200)})
        assert not [finding for finding in found if finding.kind in BROKEN_DATA]


def test_celsius_sent_as_fahrenheit_is_named(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    rows = world.rows(300)
    rows.numbers[:, 2] = rows.numbers[:, 2] * 1.8 + 32
    matrix, noticed, scores = encoded(rows)
    found = findings(reference, {DAY * 24: counter.count(matrix, noticed, scores)})
    (unit,) = [finding for finding in found if finding.kind == "unit_change"]
    assert "Fahrenheit" in unit.what


def test_a_correlation_that_breaks_with_unchanged_margins_is_found(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    for _ in range(30):
        broken = broken_pairs(
            reference, counted(counter, world, 1000, Change(correlation=0.2)).cells
        )
        assert {"number3", "number4"} == {broken[0].first, broken[0].second}
    for _ in range(60):
        assert broken_pairs(reference, counted(counter, world, 1000).cells) == []


def test_a_break_is_told_though_only_refusals_came_since(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    hours = {DAY * 24: counted(counter, world, 300, Change(factor=1000.0))}
    hours[DAY * 24 + 30] = Counts.empty(reference.layout.size)
    hours[DAY * 24 + 30].cells[2] = 5
    assert "unit_change" in {finding.kind for finding in findings(reference, hours)}


def test_a_renamed_level_is_told_from_an_unseen_one(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    rows = world.rows(300)
    largest = int(np.bincount(rows.codes[:, 3]).argmax())
    rows.codes[rows.codes[:, 3] == largest, 3] = 12
    matrix, noticed, scores = encoded(rows)
    found = findings(reference, {DAY * 24: counter.count(matrix, noticed, scores)})
    (about,) = [finding for finding in found if finding.subject == "level3"]
    assert (about.kind, about.evidence["level"]) == ("renamed_category", f"level{largest}")


def test_a_stuck_column_and_repeated_rows_are_told_apart(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    rows = world.rows(300)
    rows.numbers[:, 5] = np.nanmedian(rows.numbers[:, 5])
    matrix, noticed, scores = encoded(rows)
    found = findings(reference, {DAY * 24: counter.count(matrix, noticed, scores)})
    assert {finding.subject for finding in found if finding.kind == "stuck"} == {"number5"}
    again = np.repeat(np.arange(100), 3)
    matrix, noticed, scores = encoded(joined([world.rows(100)]))
    repeated = {note: np.flatnonzero(np.isin(again, rows)) for note, rows in noticed.items()}
    counts = counter.count(matrix[again], repeated, scores[again])
    kinds = {finding.kind for finding in findings(reference, {DAY * 24: counts})}
    assert "duplicates" in kinds
    assert "stuck" not in kinds


def test_refused_cells_are_a_change_of_type(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    counts = counted(counter, world, 300)
    counts.cells[reference.layout.blocks[0].refused] = 60
    kinds = {finding.kind: finding for finding in findings(reference, {DAY * 24: counts})}
    assert kinds["type_change"].subject == "number0"
    assert kinds["type_change"].severity == "serious"


def days_of(
    world: World, days: int, rows: int, daily: float, weekly: float, *, shift: float = 0.0, at: int
) -> tuple[Reference, dict[int, Counts]]:
    """A reference of `at` days, and the days after it as hours at noon."""
    effects = day_effects(world.random, days, daily, weekly)
    parts = [world.rows(rows, effects=effects[day]) for day in range(at)]
    first = DAY - at
    times = np.repeat((first + np.arange(at)) * 86_400e6, rows)
    reference, counter = reference_of(world, joined(parts), times)
    hours = {}
    for day in range(at, days):
        change = Change(shift=shift)
        matrix, noticed, scores = encoded(world.rows(rows, change, effects[day]))
        hours[(first + day) * 24 + 12] = counter.count(matrix, noticed, scores)
    return reference, hours


def judged(reference: Reference, hours: dict[int, Counts]) -> np.ndarray:
    """Alarms of the days of serving `[D, S]`, of the shifted column only where told so."""
    past = history(reference, hours, max(hours) + 24)
    verdict = judge(past, learn_days=28, false_alarms=OPTIONS.false_alarms)
    assert verdict is not None
    return verdict.verdict.alarms[verdict.first :]


def test_days_that_differ_from_each_other_are_no_drift() -> None:
    episodes = 0
    for seed in range(8):
        reference, hours = days_of(World(seed), 91 + 45, 500, 0.06, 0.1, at=91)
        alarms = judged(reference, hours).any(axis=1)
        episodes += int((np.diff(np.concatenate([[False], alarms]).astype(int)) == 1).sum())
    assert episodes <= 2


@pytest.mark.parametrize(("shift", "within"), [(0.2, 7), (0.4, 2)])
def test_a_shift_among_days_that_differ_is_found(shift: float, within: int) -> None:
    found = 0
    for seed in range(8):
        reference, hours = days_of(World(seed), 91 + within, 2000, 0.06, 0.1, shift=shift, at=91)
        found += judged(reference, hours).any()
    assert found >= 7


def test_the_first_days_of_serving_are_the_usual_where_the_table_has_no_days(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    effects = day_effects(world.random, 45, 0.2, 0.1) + 0.5  # nothing like the training table
    hours = {}
    for day in range(45):
        shift = Change(shift=1.5 if day >= 40 else 0.0)
        matrix, noticed, scores = encoded(world.rows(500, shift, effects[day]))
        hours[(DAY + day) * 24] = counter.count(matrix, noticed, scores)
    early = {hour: counts for hour, counts in hours.items() if hour < (DAY + 10) * 24}
    found = findings(reference, early, max(early) + 24)
    drifting = [finding for finding in found if finding.kind == "drift"]
    assert drifting
    assert all(finding.severity == "info" for finding in drifting)
    assert "not yet enough days" in drifting[0].what
    quiet = {hour: counts for hour, counts in hours.items() if hour < (DAY + 40) * 24}
    found = findings(reference, quiet, max(quiet) + 24)
    assert len([finding for finding in found if finding.kind == "drift"]) <= 1
    found = findings(reference, hours, max(hours) + 24)
    (first,) = [finding for finding in found if finding.subject == "number0"]
    assert (first.kind, first.severity) == ("drift", "warning")
    began = datetime.datetime.fromtimestamp((DAY + 40) * 86400, datetime.UTC)
    assert abs(first.since - began) <= datetime.timedelta(days=1)


@pytest.mark.parametrize("rows", [0, 1, 2, 49])
def test_windows_with_hardly_a_row_are_silent_and_harmless(
    independent: tuple[World, Reference, RowCounter], rows: int
) -> None:
    world, reference, counter = independent
    assert findings(reference, {DAY * 24: counted(counter, world, rows)}) == ()


def test_nothing_counted_is_no_finding(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    empty = inspect_history(History(independent[1], {}, DAY * 24), OPTIONS, "m", "v")
    assert empty.findings == ()


def test_everything_blank_is_told_once_a_column(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    rows = world.rows(500)
    rows.numbers[:] = np.nan
    matrix, noticed, scores = encoded(rows)
    found = findings(reference, {DAY * 24: counter.count(matrix, noticed, scores)})
    blank = [finding.subject for finding in found if finding.kind == "blank_rate"]
    assert sorted(blank) == [f"number{place}" for place in range(9)]


def test_gaps_and_collapses_of_traffic_are_told(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    one = counted(counter, world, 200)
    nights = {
        DAY * 24 + hour: one for hour in range(24 * 21) if 6 <= hour % 24 < 22
    }  # every night is empty, and usual
    kinds = [finding.kind for finding in findings(reference, nights, max(nights) + 2)]
    assert "time_gap" not in kinds
    found = findings(reference, nights, max(nights) + 40)
    (gap,) = [finding for finding in found if finding.kind == "time_gap"]
    assert (gap.severity, gap.evidence["hours"]) == ("serious", 39)
    fewer = {
        hour: counts
        for hour, counts in nights.items()
        if hour < (DAY + 20) * 24 or hour % 24 in (8, 20)
    }
    found = findings(reference, fewer, (DAY + 21) * 24 + 1)
    assert "traffic" in [finding.kind for finding in found]


def test_failing_requests_are_serious(
    independent: tuple[World, Reference, RowCounter],
) -> None:
    world, reference, counter = independent
    counts = counted(counter, world, 100)
    counts.cells[3] = 20
    counts.cells[reference.layout.latencies] = 5
    (errors,) = [
        finding for finding in findings(reference, {DAY * 24: counts}) if finding.kind == "errors"
    ]
    assert errors.severity == "serious"


@given(
    st.lists(st.integers(0, 1), min_size=14, max_size=14).map(
        lambda chosen: [place for place, one in enumerate(chosen) if one]
    ),
    st.integers(0, 2**31),
)
@settings(max_examples=30, deadline=None)
def test_no_counts_whatever_make_an_inspection_fail(
    learned: tuple[World, Reference, RowCounter], columns: list[int], seed: int
) -> None:
    _, reference, _counter = learned
    random = np.random.default_rng(seed)
    cells = np.zeros(reference.layout.size, dtype=np.int64)
    cells[0] = int(random.integers(0, 500))
    for place in columns:
        block = reference.layout.blocks[place]
        width = block.end - block.start
        cells[block.start : block.end] = random.integers(0, 2 ** int(random.integers(1, 40)), width)
    hours = {DAY * 24 + int(random.integers(0, 999)): Counts(cells, Counts.empty(0).sketch)}
    for finding in findings(reference, hours):
        assert finding.kind in KINDS
        assert finding.what


def test_variances_that_are_alike_borrow_and_others_do_not() -> None:
    random = np.random.default_rng(1)
    freedom = np.full(20, 30.0)
    alike = random.chisquare(30, 20) / 30
    pooled, grown = moderated(alike, freedom)
    assert pooled.std() < 0.5 * alike.std()
    assert grown.min() > 100
    apart = alike * np.exp(random.normal(0, 3, 20))
    pooled, grown = moderated(apart, freedom)
    assert grown.max() < 35
    assert np.allclose(np.log(pooled), np.log(apart), atol=0.6)
