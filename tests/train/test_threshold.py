"""The threshold serves the stated aim, with an honest account of what it gains."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from roadworthy.contract import Target
from roadworthy.errors import InputError
from roadworthy.project import DecisionOptions, Project
from roadworthy.project.decision import Cost
from roadworthy.table import read_table
from roadworthy.train.threshold import check_decision, choose_threshold, decided_target

TARGET = Target(name="y", task="binary", classes=("no", "yes"))


def scored(rows: int = 2000, seed: int = 0, tilt: float = -1.5) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of a rare class, and labels."""
    random = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-(random.normal(size=rows) * 1.5 + tilt)))
    return np.column_stack([1 - p, p]), (random.random(rows) < p).astype(float)


def answers(scores: np.ndarray, threshold: float) -> np.ndarray:
    return (scores[:, 1] >= threshold).astype(float)


def test_without_an_aim_the_more_probable_class_is_answered() -> None:
    assert choose_threshold(*scored(), TARGET, DecisionOptions()) is None
    target = decided_target(TARGET, DecisionOptions(), None)
    assert (target.threshold, target.positive) == (None, None)


def test_a_fixed_threshold_is_taken_as_it_is() -> None:
    options = DecisionOptions(threshold=0.3, positive="no")
    choice = choose_threshold(*scored(), TARGET, options)
    target = decided_target(TARGET, options, choice)
    assert (target.threshold, target.positive) == (0.3, "no")
    scores = np.array([[0.3, 0.7], [0.29, 0.71], [0.6, 0.4]])
    assert target.predicted_codes(scores).tolist() == [0, 1, 0]


def test_costs_find_the_threshold_that_theory_knows() -> None:
    options = DecisionOptions(cost=Cost(false_positive=1, false_negative=4))
    scores, y = scored(40_000)
    choice = choose_threshold(scores, y, TARGET, options)
    assert choice.threshold == pytest.approx(1 / 5, abs=0.05)  # Elkan (2001)
    assert choice.low < choice.threshold < choice.high
    new, truth = scored(40_000, seed=1)
    cost = lambda cut: np.mean(  # noqa: E731
        np.where(truth == 1, 4.0 * (new[:, 1] < cut), new[:, 1] >= cut)
    )
    assert choice.gain == pytest.approx(cost(0.5) - cost(choice.threshold), abs=0.03)
    assert choice.gain_low > 0


def test_the_threshold_may_be_of_the_first_class() -> None:
    scores, y = scored()
    options = DecisionOptions(positive="no", cost=Cost(false_positive=4, false_negative=1))
    choice = choose_threshold(scores, y, TARGET, options)
    mirrored = choose_threshold(
        scores, y, TARGET, DecisionOptions(cost=Cost(false_positive=1, false_negative=4))
    )
    assert choice.positive == "no"
    first = decided_target(TARGET, options, choice).predicted_codes(scores)
    np.testing.assert_array_equal(first, answers(scores, mirrored.threshold))


@pytest.mark.parametrize("floor", [0.6, 0.9, 1.0])
def test_a_recall_floor_is_kept_at_the_best_precision(floor: float) -> None:
    scores, y = scored()
    choice = choose_threshold(scores, y, TARGET, DecisionOptions(recall_floor=floor))
    found = answers(scores, choice.threshold)
    assert metrics.recall_score(y, found) >= floor
    assert choice.recall == pytest.approx(metrics.recall_score(y, found))
    assert choice.precision == pytest.approx(metrics.precision_score(y, found))
    precision, recall, _ = metrics.precision_recall_curve(y, scores[:, 1])
    assert choice.precision == pytest.approx(precision[recall >= floor].max())


def test_a_precision_floor_is_kept_at_the_best_recall() -> None:
    scores, y = scored()
    choice = choose_threshold(scores, y, TARGET, DecisionOptions(precision_floor=0.7))
    found = answers(scores, choice.threshold)
    assert metrics.precision_score(y, found) >= 0.7
    assert found.sum() >= 10


def test_a_floor_that_nothing_reaches_says_what_can_be_had() -> None:
    random = np.random.default_rng(0)
    p = random.random(500)
    noise = np.column_stack([1 - p, p])
    y = (random.random(500) < 0.2).astype(float)
    with pytest.raises(InputError, match=r"precision of 0\.95: the best is 0\.\d+") as caught:
        choose_threshold(noise, y, TARGET, DecisionOptions(precision_floor=0.95))
    assert "say precision_floor = 0." in str(caught.value)


@pytest.mark.parametrize("measure", ["f1", "balanced_accuracy", "accuracy"])
def test_a_metric_is_made_as_good_as_any_threshold_can(measure: str) -> None:
    scores, y = scored()
    function = {
        "f1": metrics.f1_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "accuracy": metrics.accuracy_score,
    }[measure]
    choice = choose_threshold(scores, y, TARGET, DecisionOptions(maximise=measure))
    best = max(function(y, answers(scores, cut)) for cut in np.unique(scores[:, 1]))
    assert choice.value == pytest.approx(best)
    assert function(y, answers(scores, choice.threshold)) == pytest.approx(best)
    assert choice.default == pytest.approx(function(y, answers(scores, 0.5)))


def test_a_gain_that_is_only_chance_is_shown_as_such() -> None:
    random = np.random.default_rng(0)
    p = random.random(200) * 0.2 + 0.4
    y = (random.random(200) < 0.5).astype(float)
    choice = choose_threshold(
        np.column_stack([1 - p, p]), y, TARGET, DecisionOptions(maximise="accuracy")
    )
    assert choice.value >= choice.default
    assert choice.gain_low < 0 < choice.gain_high


def test_weights_count_as_rows() -> None:
    scores, y = scored(400)
    weights = np.random.default_rng(0).integers(0, 4, 400)
    twice = np.repeat(np.arange(400), weights)
    options = DecisionOptions(recall_floor=0.8)
    weighted = choose_threshold(scores, y, TARGET, options, weights=weights.astype(float))
    repeated = choose_threshold(scores[twice], y[twice], TARGET, options)
    assert weighted.recall == pytest.approx(repeated.recall)
    assert weighted.precision == pytest.approx(repeated.precision)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.booleans()), min_size=2),
    st.sampled_from(
        [
            {"recall_floor": 0.8},
            {"precision_floor": 0.5},
            {"maximise": "f1"},
            {"cost": Cost(false_negative=3)},
        ]
    ),
)
def test_the_counts_at_the_chosen_threshold_are_those_of_serving_it(rows, aim) -> None:
    p, y = np.array(rows, dtype=float).T
    scores = np.column_stack([1 - p, p])
    try:
        choice = choose_threshold(scores, y, TARGET, DecisionOptions(**aim))
    except InputError:
        return
    found = decided_target(TARGET, DecisionOptions(**aim), choice).predicted_codes(scores)
    assert choice.recall == pytest.approx(metrics.recall_score(y, found, zero_division=0))
    assert choice.precision == pytest.approx(metrics.precision_score(y, found, zero_division=0))
    assert 0 <= choice.threshold < 1


def test_folds_of_one_class_decide_nothing() -> None:
    scores, _ = scored(50)
    with pytest.raises(InputError, match="all of one class"):
        choose_threshold(scores, np.zeros(50), TARGET, DecisionOptions(maximise="f1"))


@pytest.mark.parametrize(
    ("goals", "options", "message"),
    [
        (["a", "b", "c"] * 20, {"recall_floor": 0.9}, "recall_floor decides between two classes"),
        (list(np.arange(60) / 7), {"threshold": 0.2}, "threshold decides between two classes"),
        (["a", "b", "c"] * 20, {"positive": "a"}, "positive decides between two classes"),
        (["no", "yes"] * 30, {"positive": "ja"}, "no class 'ja'"),
    ],
)
def test_a_decision_that_the_task_does_not_have_is_refused(goals, options, message) -> None:
    table = read_table(pl.DataFrame({"x": np.arange(60) / 3, "y": goals}), "y")
    with pytest.raises(InputError, match=message):
        check_decision(table, DecisionOptions(**options))


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ({"threshold": 0.3, "recall_floor": 0.9}, "one of a fixed threshold, cost"),
        ({"maximise": "f1", "cost": {"false_negative": 2.0}}, "one of a fixed threshold, cost"),
        ({"threshold": 1.5}, "between 0 and 1"),
        ({"recall_floor": 0.0}, "above 0 and at most 1"),
        ({"cost": {"false_negative": -1.0}}, "0 or more"),
        ({"cost": {"false_negativ": 1.0}}, "false_negativ"),
        ({"maximise": "joy"}, "joy"),
        ({"thresold": 0.4}, "thresold"),
    ],
)
def test_a_decision_that_contradicts_itself_is_refused(decision: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Project().override("train", decision=decision)
