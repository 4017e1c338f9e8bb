"""Recent rows against those before: breaks are told, a world that merely changes is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.incident_worlds import make_bundle
from benchmarks.incidents import BROKEN_FROM, Incident, incidents, play
from benchmarks.incidents import START as FIRST_DAY
from benchmarks.unseen_incidents import unseen_incidents

from roadworthy.bundle import Bundle
from roadworthy.monitor.before import findings_against_older
from roadworthy.monitor.broken_labels import missing_class
from roadworthy.monitor.feedback import Outcomes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("model"), rows=3000)


def parts(incident: Incident, model: Bundle) -> tuple[Outcomes, Outcomes]:
    made, _, _ = play(incident, model, model)
    recent = made.predictions.times >= FIRST_DAY.timestamp() + BROKEN_FROM * 86400
    return made.take(recent), made.take(~recent)


def named(name: str) -> Incident:
    return next(each for each in unseen_incidents() if each.name == name)


@pytest.mark.parametrize(
    ("name", "kind", "subjects"),
    [
        ("temperature is cut to whole degrees", "type_change", {"temperature"}),
        ("a join trebles the rows", "duplicates", {"rows"}),
        ("debt is that of a day before", "misplaced", {"income", "debt"}),
        ("debt is that of one day, every day", "misplaced", {"debt"}),
        ("income and debt are swapped", "misplaced", {"income", "debt"}),
        ("the new sensor shows 15 degrees more", "unit_change", {"temperature"}),
        ("codes of the regions were sorted anew", "renamed_category", {"region"}),
    ],
)
def test_a_break_is_told_by_its_kind_and_its_column(
    model: Bundle, name: str, kind: str, subjects: set[str]
) -> None:
    (found,) = findings_against_older(model, *parts(named(name), model))
    assert (found.kind, found.severity) == (kind, "serious")
    assert found.subject in subjects
    assert found.what


def test_a_world_that_changes_or_stays_is_no_break(model: Bundle) -> None:
    kinds = ("nothing", "season", "covariate", "concept", "calibration")
    for incident in incidents(3) + unseen_incidents():
        if incident.kind in kinds:
            recent, older = parts(incident, model)
            assert findings_against_older(model, recent, older) == [], incident.name
            assert missing_class(recent, older) is None


def test_a_moved_column_without_labels_is_not_called_broken(model: Bundle) -> None:
    sensor = dataclasses.replace(named("the new sensor shows 15 degrees more"), labels=0.0)
    assert findings_against_older(model, *parts(sensor, model)) == []


def test_a_class_of_which_no_label_comes_any_more_is_named(model: Bundle) -> None:
    recent, older = parts(named("labels arrive only of those who paid late"), model)
    assert missing_class(recent, older) == "no"
    assert missing_class(recent.take(np.arange(150)), older) is None


def test_blank_columns_and_too_few_rows_are_findings_of_others(model: Bundle) -> None:
    (blank,) = [each for each in incidents() if each.name == "all of income blank"]
    recent, older = parts(blank, model)
    assert findings_against_older(model, recent, older) == []
    few = np.arange(20)
    assert findings_against_older(model, recent.take(few), older) == []
    assert findings_against_older(model, recent, older.take(few[:0])) == []
