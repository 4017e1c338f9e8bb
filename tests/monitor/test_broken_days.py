"""Breaks that are over: their rows are left out, and only theirs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.incident_worlds import make_bundle
from benchmarks.incidents import BROKEN_FROM, DAYS, Incident, column, incidents, play

from roadworthy.bundle import Bundle
from roadworthy.monitor.broken_days import healed_days
from roadworthy.monitor.feedback import Outcomes
from roadworthy.monitor.retrain import split_rows


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("healed"))


def played(bundle: Bundle, **changes: object) -> Outcomes:
    incident = Incident("", "healed", (), seed=5, broken=column("income", lambda c, _: c * 100))
    return play(dataclasses.replace(incident, **changes), bundle, bundle)[0]


def days_of(outcomes: Outcomes) -> np.ndarray:
    times = outcomes.predictions.times
    return ((times - times[0]) // 86400).astype(int)


@pytest.mark.parametrize("days", [1, 4])
def test_the_days_of_a_break_that_is_over_are_named(bundle: Bundle, days: int) -> None:
    outcomes = played(bundle, until=BROKEN_FROM + days)
    rows, (finding,) = healed_days(outcomes.predictions)
    assert set(days_of(outcomes)[rows]) == {int(BROKEN_FROM) + day for day in range(days)}
    assert (finding.kind, finding.severity, finding.subject) == ("healed", "info", "income")
    assert finding.evidence == {"rows": int(rows.sum()), "days": days}
    assert "2026-02-10" in finding.what


def test_a_break_that_lasts_to_the_newest_day_is_not_over(bundle: Bundle) -> None:
    rows, findings = healed_days(played(bundle).predictions)
    assert not rows.any()
    assert findings == []


def test_what_comes_back_every_week_is_no_accident(bundle: Bundle) -> None:
    quiet = played(bundle, broken=None)
    income = quiet.predictions.inputs["income"].to_numpy().copy()
    income[days_of(quiet) % 7 == 6] *= 100
    inputs = quiet.predictions.inputs.with_columns(income=income)
    rows, findings = healed_days(dataclasses.replace(quiet.predictions, inputs=inputs))
    assert not rows.any()
    assert findings == []


def test_a_world_that_is_as_it_was_or_merely_moved_loses_no_row(bundle: Bundle) -> None:
    usual = [each for each in incidents() if each.kind in ("nothing", "season", "covariate")]
    for incident in usual:
        rows, _ = healed_days(play(incident, bundle, bundle)[0].predictions)
        assert not rows.any(), incident.name


def test_rows_of_a_break_are_not_learned_from_however_late_their_labels_come(
    bundle: Bundle,
) -> None:
    outcomes = played(bundle, until=BROKEN_FROM + 2)
    parts = split_rows(outcomes, None, None, 0.3)
    broken = int(np.isin(days_of(outcomes), [BROKEN_FROM, BROKEN_FROM + 1]).sum())
    assert parts.learn.height + parts.test.height == len(outcomes) - broken
    assert parts.learn["income"].max() < 1e6
    (why,) = parts.left_out
    assert "income" in why


def test_no_rows_and_one_day_are_no_case(bundle: Bundle) -> None:
    outcomes = played(bundle, until=BROKEN_FROM + 1)
    none = outcomes.predictions.take(np.zeros(len(outcomes), dtype=bool))
    assert healed_days(none)[1] == []
    one = outcomes.predictions.take(days_of(outcomes) == int(DAYS) - 1)
    assert healed_days(one)[1] == []
