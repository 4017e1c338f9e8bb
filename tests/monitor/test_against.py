"""What days are compared with: a season is no drift where last week or the weekday is the usual."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.drift_cases import Change, World, encoded, reference_of

from roadworthy.errors import RoadworthyError
from roadworthy.monitor.against import compared, lagged
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.history import History
from roadworthy.monitor.inspection import inspect_history
from roadworthy.monitor.measures import Measure, Measured
from roadworthy.observe.reference import Reference
from roadworthy.project import Project

DAY = 20_001  # 5 October 2024


def served(shifts: list[float]) -> History:
    """A day of rows for each shift of the first number; the training table has none."""
    world = World(2)
    reference, counter = reference_of(world, world.rows(4000))
    hours, days = {}, {}
    for place, shift in enumerate(shifts):
        matrix, noticed, scores = encoded(world.rows(400, Change(shift=shift)))
        counts = counter.count(matrix, noticed, scores)
        hours[(DAY + place) * 24 + 12] = counts
        days[DAY + place] = counts.cells
    return History(reference, hours, (DAY + len(shifts)) * 24, 0, days)


def about(history: History, against: str, subject: str = "number0") -> list[Finding]:
    options = Project().override("monitor", against=against, learn_days=28).monitor
    found = inspect_history(history, options, "m", "v").findings
    return [finding for finding in found if finding.subject == subject]


def test_a_season_is_drift_from_training_and_none_from_last_week() -> None:
    slow = served([0.012 * day for day in range(60)])
    assert about(slow, "training")
    assert not about(slow, "last-week")
    assert not about(slow, "weekday")


@pytest.mark.parametrize("against", ["last-week", "weekday"])
def test_a_step_is_found_beside_a_season(against: str) -> None:
    stepped = served([*(0.012 * day for day in range(59)), 1.6])
    (finding,) = about(stepped, against)
    assert finding.kind == "drift"
    assert finding.severity == "warning"
    assert "higher" in finding.what


def test_dates_are_compared_with_whatever_came_since() -> None:
    moved = served([0.0] * 20 + [0.8] * 20)
    assert not about(moved, "2024-10-27..2024-11-02")
    first = compared(moved, "2024-10-05..2024-10-18")
    assert first is not None
    assert first.reference.cells[0] == 14 * 400
    assert len(first.reference.day_cells) == 14
    assert about(moved, "2024-10-05..2024-10-18")


def test_where_nothing_was_counted_the_training_table_is_taken_and_it_is_said() -> None:
    short = served([0.0, 0.0])
    for against in ("last-week", "weekday", "1999-01-01..1999-12-31"):
        assert compared(short, against) is None
        told = about(short, against, "service")
        assert "training table is taken" in told[0].what
    empty = History(short.reference, {}, DAY * 24)
    assert compared(empty, "last-week") is None
    assert about(empty, "last-week", "service") == []


def test_less_the_days_before_a_slope_is_level() -> None:
    days = np.arange(DAY, DAY + 40)
    slope = np.arange(40.0)[:, None]
    measured = Measured((Measure("a", "shift"),), slope, np.ones((40, 1)))
    assert np.allclose(lagged(days, measured, "last-week").values[7:], 4.0)
    assert np.allclose(lagged(days, measured, "weekday").values[28:], 17.5)
    assert np.isnan(lagged(days, measured, "last-week").values[:4]).all()
    assert lagged(days, measured, "training") is measured


def test_pairs_of_columns_are_those_of_the_chosen_days() -> None:
    history = served([0.0] * 10)
    beside = compared(history, "last-week")
    assert beside is not None

    def pairs(reference: Reference) -> int:
        return int(reference.layout.pair_tables(reference.cells).sum())

    assert 0 < pairs(beside.reference) < pairs(history.reference)


@pytest.mark.parametrize("wrong", ["yesterday", "2026-02-01..2026-01-01", "2026-01-01", "a..b"])
def test_other_words_are_refused(wrong: str) -> None:
    with pytest.raises(RoadworthyError, match="against"):
        Project().override("monitor", against=wrong)
