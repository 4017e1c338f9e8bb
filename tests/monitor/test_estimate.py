"""Estimates without labels: right while the relation holds, blind when it turns, and found out."""

from __future__ import annotations

import numpy as np
import pytest

from roadworthy.contract import Target
from roadworthy.evaluate import Estimate
from roadworthy.monitor.estimate import (
    BLIND,
    ConfidenceEstimator,
    DirectEstimator,
    concept_gap,
    findings,
)
from roadworthy.monitor.estimate.direct import row_losses
from roadworthy.monitor.estimate.gap import drifted
from tests.monitor.made import BINARY, NUMBER, PLAN, THREE, outcomes


def realised(target: Target, window) -> dict[str, float]:
    losses = {name: float(loss.mean()) for name, loss in row_losses(window.scored()).items()}
    if target.task == "regression":
        return {"mae": losses["mae"], "rmse": losses["rmse"] ** 0.5}
    return {"accuracy": 1.0 - losses["accuracy"], "brier": losses["brier"]}


def estimator(target: Target, rows: int, seed: int, **world: float):
    reference = outcomes(target, rows, seed, **world).scored()
    if target.task == "regression":
        return DirectEstimator(reference, PLAN, seed=seed)
    return ConfidenceEstimator(reference, seed=seed)


@pytest.mark.parametrize("target", [BINARY, THREE, NUMBER], ids=lambda target: target.task)
def test_nine_of_ten_intervals_hold_the_realised_value_on_clean_data(target: Target) -> None:
    """96 windows of 400 rows; `benchmarks/estimate_coverage.py` takes five times as many."""
    hits: dict[str, list[bool]] = {}
    for block in range(24):
        made = estimator(target, 1500, 1000 + block)
        for number in range(4):
            window = outcomes(target, 400, 5000 + 100 * block + number)
            expected = made.estimate(window.predictions)
            for name, value in realised(target, window).items():
                inside = expected[name].low <= value <= expected[name].high
                hits.setdefault(name, []).append(inside)
    assert {name: len(inside) for name, inside in hits.items()} == dict.fromkeys(hits, 96)
    for name, inside in hits.items():
        assert 0.82 <= np.mean(inside) <= 0.98, name


@pytest.mark.parametrize("target", [BINARY, NUMBER], ids=lambda target: target.task)
def test_an_estimate_follows_a_change_of_the_inputs(target: Target) -> None:
    made = estimator(target, 4000, 1)
    metric = "mae" if target.task == "regression" else "accuracy"
    moved = outcomes(target, 3000, 2, shift=0.7 if target.task == "regression" else 2.5)
    before = realised(target, outcomes(target, 3000, 3))[metric]
    after = realised(target, moved)[metric]
    estimate = made.estimate(moved.predictions)[metric]
    assert abs(estimate.value - after) < abs(before - after) / 2


@pytest.mark.parametrize("target", [BINARY, THREE, NUMBER], ids=lambda target: target.task)
def test_realised_less_estimated_finds_a_turned_relation_to_which_the_estimate_is_blind(
    target: Target,
) -> None:
    made = estimator(target, 3000, 1)
    metric = "mae" if target.task == "regression" else "accuracy"
    turned = outcomes(target, 600, 2, turned=1.0)
    clean = made.estimate(outcomes(target, 600, 3).predictions)[metric]
    blind = made.estimate(turned.predictions)[metric]
    assert abs(blind.value - clean.value) < 0.05 * abs(clean.value)
    assert drifted(concept_gap(turned, made)) is not None
    told = findings(concept_gap(turned, made), {}, {})
    assert [entry.kind for entry in told] == ["concept_drift"]
    shifted = outcomes(target, 600, 4, shift=1.0)
    assert drifted(concept_gap(shifted, made)) is None


def test_clean_windows_are_hardly_ever_called_concept_drift() -> None:
    made = estimator(BINARY, 3000, 1)
    alarms = sum(
        drifted(concept_gap(outcomes(BINARY, 300, 100 + number), made)) is not None
        for number in range(200)
    )
    assert alarms <= 3


def test_a_calibration_that_was_off_in_the_reference_is_no_surprise_later() -> None:
    made = estimator(BINARY, 4000, 1, overconfident=3.0)
    window = outcomes(BINARY, 3000, 2, overconfident=3.0)
    expected = made.estimate(window.predictions)["accuracy"]
    assert expected.low <= realised(BINARY, window)["accuracy"] <= expected.high


def test_the_calibration_curve_of_a_report_is_reference_enough() -> None:
    reference = outcomes(BINARY, 3000, 1).scored()
    claimed = reference.scores[:, 1]
    bins = np.searchsorted(np.quantile(claimed, np.arange(1, 10) / 10), claimed)
    each = [bins == code for code in range(10)]
    made = ConfidenceEstimator.from_bins(
        BINARY,
        np.array([claimed[rows].mean() for rows in each]),
        np.array([reference.codes[rows].mean() for rows in each]),
        np.array([rows.sum() for rows in each], dtype=float),
    )
    window = outcomes(BINARY, 2000, 2, shift=0.8)
    expected = made.estimate(window.predictions)["accuracy"]
    assert expected.low <= realised(BINARY, window)["accuracy"] <= expected.high


def test_direct_estimation_is_an_option_for_classes_too() -> None:
    made = DirectEstimator(outcomes(BINARY, 4000, 1).scored(), PLAN)
    moved = outcomes(BINARY, 3000, 2, shift=1.0)
    expected = made.estimate(moved.predictions)["accuracy"]
    assert expected.value == pytest.approx(realised(BINARY, moved)["accuracy"], abs=0.03)


def test_every_estimate_that_is_told_says_what_it_is_blind_to() -> None:
    made = estimator(BINARY, 3000, 1)
    easy = made.estimate(outcomes(BINARY, 500, 2, shift=3.0).predictions)
    told = findings(
        (),
        made.estimate(outcomes(BINARY, 500, 3).predictions),
        {"accuracy": Estimate(easy["accuracy"].value)},
    )
    assert [entry.kind for entry in told] == ["estimated_drop"]
    assert BLIND in told[0].what


def test_no_rows_and_a_single_row_are_no_faults() -> None:
    made = estimator(BINARY, 500, 1)
    some = outcomes(BINARY, 5, 2)
    assert made.estimate(some.take(np.zeros(5, dtype=bool)).predictions) == {}
    assert made.estimate(some.take(np.arange(5) == 1).predictions)["accuracy"].low >= 0
    assert concept_gap(some.take(np.zeros(5, dtype=bool)), made) == ()
