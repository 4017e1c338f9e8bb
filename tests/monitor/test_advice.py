"""Advice: right on scripted incidents, the same every time, never retraining on broken data."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks.class_incidents import class_incidents
from benchmarks.incident_worlds import make_bundle
from benchmarks.incidents import (
    BROKEN_FROM,
    Incident,
    answer,
    findings,
    incidents,
    is_right,
    play,
)
from benchmarks.later_incidents import later_incidents
from benchmarks.number_incidents import number_incidents
from benchmarks.unseen_incidents import unseen_incidents

from roadworthy.bundle import Bundle
from roadworthy.evaluate import Estimate
from roadworthy.monitor.advice import Gain, Gains, Situation, Swap, advise, decide
from roadworthy.monitor.advice.advise import change_point
from roadworthy.monitor.findings import BROKEN_DATA, Finding
from tests.monitor.made import BINARY, DAY, NUMBER, START, outcomes


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    folder = tmp_path_factory.mktemp("models")
    return make_bundle(folder), make_bundle(folder, seed=2, good=False)


def test_at_least_nine_of_ten_of_fifty_incidents_are_answered_right(
    models: tuple[Bundle, Bundle],
) -> None:
    played = incidents()
    assert len(played) >= 50
    wrong = []
    for number, incident in enumerate(played):
        actions = answer(
            incident, *models, counted=number % 3 == 0
        )  # the benchmark does all both ways
        if incident.kind == "pipeline":
            assert not [a for a in actions if a.kind in ("retrain", "recalibrate")], incident.name
        if not is_right(incident, actions):
            wrong.append((incident.name, actions[0].kind, actions[0].subject))
        for action in actions:
            assert action.what
            assert action.evidence
            if action.kind in ("retrain", "move_threshold", "roll_back"):
                assert action.gain is not None
                assert action.gain.low < action.gain.high
                assert action.command.startswith("roadworthy ")
    assert len(wrong) <= len(played) // 10, wrong


def test_incidents_that_were_written_after_the_rules_are_answered_right(
    models: tuple[Bundle, Bundle],
) -> None:
    wrong = []
    for number, incident in enumerate(later_incidents()):
        actions = answer(incident, *models, counted=number % 2 == 0)
        if not is_right(incident, actions):
            wrong.append((incident.name, actions[0].kind, actions[0].subject))
    assert wrong == []


def test_incidents_from_post_mortems_are_answered_right_and_broken_data_never_by_learning(
    models: tuple[Bundle, Bundle],
) -> None:
    wrong = []
    for number, incident in enumerate(unseen_incidents()):
        actions = answer(incident, *models, counted=number % 4 == 0)
        if incident.kind == "pipeline" or incident.reported is not None:
            learned = [a for a in actions if a.kind in ("retrain", "recalibrate", "move_threshold")]
            assert not learned, incident.name
        if not is_right(incident, actions):
            wrong.append((incident.name, actions[0].kind, actions[0].subject))
    assert wrong == []


@pytest.mark.parametrize(
    ("played", "names"),
    [
        (
            number_incidents(),
            {
                "price and competitor are swapped", "labels arrive only of small sales",
                "the season is 7 degrees warmer",
            },
        ),
        (
            class_incidents(),
            {
                "labels of family and premium changed places", "labels of a new plan",
                "premium is in fashion",
            },
        ),
    ],
    ids=["numbers", "four classes"],
)  # fmt: skip
def test_models_of_numbers_and_of_more_classes_are_advised_right(
    tmp_path: Path, played: list[Incident], names: set[str]
) -> None:
    model = make_bundle(tmp_path, played[0].of, rows=1500)
    chosen = [each for each in played if each.name in names]
    assert len(chosen) == len(names)
    for incident in chosen:
        actions = answer(incident, model, model, counted=False)
        assert is_right(incident, actions), (incident.name, actions[0])
        assert not incident.harmful & {each.kind for each in actions}, incident.name


def test_a_break_that_began_among_the_recent_rows_is_not_hidden_by_those_that_were_well(
    models: tuple[Bundle, Bundle],
) -> None:
    swapped = next(e for e in unseen_incidents() if e.name == "income and debt are swapped")
    made, serving, _ = play(swapped, *models)
    early = datetime.fromtimestamp(START, UTC) + timedelta(days=BROKEN_FROM - 15)
    unlabelled = dataclasses.replace(made, labels=np.full(len(made), np.nan))
    counted = findings(made.predictions, serving)
    for rows, noticed in ((made, None), (unlabelled, counted)):
        (first, *_) = advise(serving, rows, since=early, findings=noticed, delay_days=0.0)[1]
        assert first.kind == "fix_source"
        assert first.subject in ("income", "debt")


@pytest.mark.parametrize("counted", [True, False], ids=["counts", "log"])
def test_a_break_in_a_part_of_the_rows_is_told_for_what_it_is(
    models: tuple[Bundle, Bundle], counted: bool
) -> None:
    kinds = {
        "income in thousands by phone only": "unit_change",
        "temperature stands still at times": "stuck",
        "every channel is web": "stuck",
    }
    for incident in later_incidents():
        if incident.name in kinds:
            (first, *_) = answer(incident, *models, counted=counted)
            assert (first.kind, first.subject) == ("fix_source", incident.subject)
            assert kinds[incident.name].replace("_", " ") in first.what


def test_the_same_situation_gives_the_same_advice(models: tuple[Bundle, Bundle]) -> None:
    (incident,) = [each for each in incidents() if each.name == "debt helps now"]
    first, second = (answer(incident, *models) for _ in range(2))
    assert first == second
    assert "--since 2026-02-" in first[0].command


BETTER = Estimate(0.05, 0.04, 0.06)
GOOD = Gain(metric="accuracy", value=BETTER, loss=BETTER, rows=900)
EVERYTHING = Gains(
    threshold=msgspec.structs.replace(GOOD, setting=0.4),
    recalibrate=GOOD, retrain=GOOD, beyond=GOOD, roll_back=GOOD,
)  # fmt: skip


@pytest.mark.parametrize("kind", sorted(BROKEN_DATA))
def test_broken_data_of_any_kind_are_never_answered_by_retraining(kind: str) -> None:
    broken = Finding(kind, "serious", "income", "it broke")  # type: ignore[arg-type]
    drift = Finding("concept_drift", "serious", "prediction", "it turned")
    situation = Situation("m", BINARY, 5000, 5000, (drift, broken), gains=EVERYTHING)
    actions = decide(situation)
    assert (actions[0].kind, actions[0].subject) == ("fix_source", "income")
    assert {action.kind for action in actions} <= {"fix_source", "roll_back"}


def test_a_bad_release_comes_before_retraining() -> None:
    swap = Swap("b" * 64, "a" * 64, datetime(2026, 1, 5, tzinfo=UTC))
    drift = Finding("concept_drift", "serious", "prediction", "it turned")
    actions = decide(Situation("m", BINARY, 900, 900, (drift,), gains=EVERYTHING, swap=swap))
    assert [action.kind for action in actions][:2] == ["roll_back", "retrain"]


def test_without_anything_to_tell_the_advice_is_to_do_nothing() -> None:
    (action,) = decide(Situation("m", BINARY, 0, 0))
    assert (action.kind, action.command) == ("nothing", "")


def test_no_rows_a_blank_column_and_one_class_only_end_in_advice(
    models: tuple[Bundle, Bundle],
) -> None:
    (incident,) = [each for each in incidents() if each.name == "all of income blank"]
    made, serving, _ = play(incident, *models)
    for rows in (np.zeros(len(made), dtype=bool), np.arange(len(made)) == 3, made.labels == 1.0):
        _, actions = advise(serving, made.take(rows))
        assert actions


def test_the_day_on_which_losses_changed_is_found_and_none_in_a_steady_world() -> None:
    for target in (BINARY, NUMBER):
        steady = outcomes(target, 2000, 1, days=20.0)
        assert change_point(steady) is None
        turned = outcomes(target, 2000, 2, days=20.0, turned=2.0)
        late = np.arange(2000) >= 1000
        labels = np.where(late, turned.labels, _known_truth(turned))
        moment = change_point(dataclasses.replace(turned, labels=labels))
        assert moment is not None
        assert abs(moment.timestamp() - (START + 10 * DAY)) < 2 * DAY


def _known_truth(made) -> np.ndarray:
    """Labels of the world that the model knows."""
    random = np.random.default_rng(0)
    scores = made.predictions.scores
    if made.target.task == "regression":
        spread = 0.3 + np.abs(made.predictions.inputs["a"].to_numpy())
        return scores + random.normal(0, 1, len(scores)) * spread
    return (random.random(len(scores)) < scores[:, 1]).astype(float)
