"""Calibration: taken only where it surely helps, and then right."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB

from roadworthy.errors import InputError
from roadworthy.train.calibration import (
    Calibrated,
    Calibration,
    check_calibration,
    choose_calibration,
    fit_calibration,
)


def drawn(true: np.ndarray, seed: int = 0) -> np.ndarray:
    """Class positions drawn from true probabilities `[N, K]`."""
    random = np.random.default_rng(seed)
    return (true.cumsum(axis=1) < random.random((len(true), 1))).sum(axis=1).astype(float)


def binary(rows: int, distort, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are `distort` of the true probability, and labels."""
    margin = np.random.default_rng(seed).normal(size=rows) * 2
    p = 1 / (1 + np.exp(-margin))
    q = distort(margin)
    return np.column_stack([1 - q, q]), drawn(np.column_stack([1 - p, p]), seed)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def test_scores_that_are_right_are_left_alone_in_nearly_every_case() -> None:
    taken = [
        choose_calibration(*binary(1500, logistic, seed), seed=seed)[0].method for seed in range(40)
    ]
    assert taken.count("none") >= 37


def test_boasting_scores_are_calibrated_and_lose_less_on_new_rows() -> None:
    boast = lambda margin: logistic(3 * margin + 1)  # noqa: E731
    calibration, evidence = choose_calibration(*binary(1500, boast))
    assert calibration.method != "none"
    assert {e.method for e in evidence} == {"none", "sigmoid", "isotonic"}
    scores, y = binary(5000, boast, seed=1)
    assert log_loss(y, calibration.apply(scores)) < log_loss(y, scores) - 0.1
    best, _ = binary(5000, logistic, seed=1)
    assert log_loss(y, calibration.apply(scores)) < log_loss(y, best) + 0.01


def test_sigmoid_finds_the_very_slope_and_shift() -> None:
    scores, y = binary(40_000, lambda margin: logistic(2 * margin + 1))
    found = fit_calibration("sigmoid", scores, y, np.ones(len(y)))
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.shifts[1] == pytest.approx(-0.5, abs=0.05)


def test_isotonic_is_taken_where_no_sigmoid_fits() -> None:
    bent = lambda margin: np.where(margin < 0, 0.1, 0.8) + 0.1 * np.tanh(margin)  # noqa: E731
    calibration, _ = choose_calibration(*binary(6000, bent))
    assert calibration.method == "isotonic"
    scores, y = binary(6000, bent, seed=1)
    assert log_loss(y, calibration.apply(scores)) < log_loss(y, scores)


def test_several_classes_get_a_temperature_and_a_shift_each() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 4)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = np.exp(2.5 * logits + [0, 1, 0, 0])
    scores, y = wrong / wrong.sum(axis=1, keepdims=True), drawn(true)
    calibration, _ = choose_calibration(scores, y)
    assert calibration.method == "sigmoid"
    assert calibration.slope == pytest.approx(0.4, abs=0.05)
    np.testing.assert_allclose(calibration.apply(scores).sum(axis=1), 1)
    np.testing.assert_allclose(calibration.apply(scores), true, atol=0.06)


def test_groups_that_err_together_are_no_evidence() -> None:
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 200)
    shift = random.normal(size=12)[group]  # each group is off in its own way
    margin = random.normal(size=2400)
    q, p = logistic(margin), logistic(margin + shift)
    y = drawn(np.column_stack([1 - p, p]))
    scores = np.column_stack([1 - q, q])
    blind = choose_calibration(scores, y)[1][1]
    aware = choose_calibration(scores, y, groups=group)[1][1]
    assert aware.standard_error > 2 * blind.standard_error


def test_weights_count_as_rows() -> None:
    scores, y = binary(600, lambda margin: logistic(2 * margin))
    weights = np.random.default_rng(0).integers(0, 4, 600)
    twice = np.repeat(np.arange(600), weights)
    a = fit_calibration("sigmoid", scores, y, weights.astype(float))
    b = fit_calibration("sigmoid", scores[twice], y[twice], np.ones(len(twice)))
    assert a.slope == pytest.approx(b.slope, rel=1e-2)
    assert a.shifts[1] == pytest.approx(b.shifts[1], abs=1e-2)


def test_isotonic_is_scikit_learns() -> None:
    X, y = make_classification(4000, random_state=0)
    model = GaussianNB().fit(X[:1000], y[:1000])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="isotonic", cv=2)
    theirs.fit(X[1000:3000], y[1000:3000])
    scores = model.predict_proba(X[1000:3000])
    ours = Calibrated(
        model, fit_calibration("isotonic", scores, y[1000:3000].astype(float), np.ones(2000))
    )
    test, truth = X[3000:], y[3000:]
    assert log_loss(truth, ours.predict_proba(test)) == pytest.approx(
        log_loss(truth, theirs.predict_proba(test).clip(5e-4, 1 - 5e-4)), abs=0.02
    )


@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic"])
def test_a_calibrated_estimator_is_one_of_scikit_learns_and_can_be_pickled(method) -> None:
    X, y = make_classification(1500, random_state=0)
    model = LogisticRegression().fit(X, y)
    scores = model.predict_proba(X)
    both = Calibrated(model, fit_calibration(method, scores, y.astype(float), np.ones(1500)))
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(again.predict_proba(X), both.predict_proba(X))
    assert list(both.classes_) == [0, 1]
    assert both.score(X, y) > 0.8
    if method == "none":
        np.testing.assert_array_equal(both.predict_proba(X), scores)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=40),
    st.sampled_from(["sigmoid", "isotonic"]),
    st.integers(0, 1000),
)
def test_calibration_never_turns_the_order_of_rows_and_stays_a_probability(p, method, seed) -> None:
    second = np.sort(p)
    y = (np.random.default_rng(seed).random(len(p)) < second).astype(float)
    scores = np.column_stack([1 - second, second])
    found = fit_calibration(method, scores, y, np.ones(len(p))).apply(scores)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found[:, 1]) >= -1e-12).all()


def test_a_method_may_be_asked_for_or_forbidden() -> None:
    scores, y = binary(1500, logistic)
    assert choose_calibration(scores, y, "none") == (Calibration(), ())
    assert choose_calibration(scores, y, "sigmoid")[0].method == "sigmoid"
    assert choose_calibration(scores, y, "isotonic")[0].method == "isotonic"


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="no probabilities"):
        check_calibration("regression", "sigmoid")
    with pytest.raises(InputError, match="for two classes"):
        check_calibration("multiclass", "isotonic")
    scores, y = binary(300, logistic)
    with pytest.raises(InputError, match="needs 1000 out-of-fold rows, and there are 300"):
        choose_calibration(scores, y, "isotonic")
