"""Prediction intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.contract import Interval
from roadworthy.errors import InputError
from roadworthy.train.intervals import check_interval, choose_interval

NOISE = {
    "normal": lambda p, random: p + random.normal(size=len(p)),
    "heavy tails": lambda p, random: p + random.standard_t(2, size=len(p)),
    "skewed": lambda p, random: p + random.exponential(2, size=len(p)),
    "two humps": lambda p, random: (
        p + random.choice([-3.0, 3.0], len(p)) + random.normal(size=len(p))
    ),
    "in proportion": lambda p, random: p * np.exp(0.4 * random.normal(size=len(p))),
    "counts": lambda p, random: random.poisson(p).astype(float),
    "biased": lambda p, random: p + 5 + random.normal(size=len(p)),
}


def drawn(noise: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    predictions = np.exp(random.normal(size=rows)) + 0.5
    return predictions, NOISE[noise](predictions, random)


def ends(interval: Interval, predictions: np.ndarray) -> np.ndarray:
    return np.array([interval.around(value) for value in predictions.tolist()])


def share_held(interval: Interval, predictions: np.ndarray, y: np.ndarray) -> float:
    low, high = ends(interval, predictions).T
    return float(((low <= y) & (y <= high)).mean())


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("noise", list(NOISE))
def test_new_rows_are_held_as_often_as_promised(noise: str, level: float) -> None:
    held = []
    for seed in range(8):
        interval, evidence = choose_interval(*drawn(noise, 1000, seed), level)
        held.append(share_held(interval, *drawn(noise, 4000, 100 + seed)))
        assert evidence.coverage == pytest.approx(held[-1], abs=0.06)
    assert np.mean(held) == pytest.approx(level, abs=0.03)


def test_the_width_grows_with_the_prediction_where_the_errors_do() -> None:
    growing, evidence = choose_interval(*drawn("in proportion", 1000, 0), 0.9)
    assert evidence.growing
    assert evidence.growing_score < evidence.constant_score
    small, large = ends(growing, np.array([1.0, 10.0]))
    assert (large[1] - large[0]) == pytest.approx(10 * (small[1] - small[0]))
    for noise in ("normal", "skewed", "heavy tails"):
        assert not choose_interval(*drawn(noise, 1000, 0), 0.9)[1].growing


def test_each_small_prediction_is_held_as_often_as_each_large_one() -> None:
    interval, _ = choose_interval(*drawn("in proportion", 1000, 0), 0.9)
    predictions, y = drawn("in proportion", 8000, 1)
    for part in (predictions < 1, predictions > 3):
        assert share_held(interval, predictions[part], y[part]) == pytest.approx(0.9, abs=0.04)


def test_lopsided_errors_make_lopsided_intervals() -> None:
    interval, _ = choose_interval(*drawn("skewed", 1000, 0), 0.9)
    assert interval.high > 5 * abs(interval.low)


def test_weights_count_as_rows() -> None:
    predictions, y = drawn("normal", 3000, 0)
    weights = np.random.default_rng(0).integers(0, 4, 3000)
    twice = np.repeat(np.arange(3000), weights)
    weighted, _ = choose_interval(predictions, y, 0.9, weights=weights.astype(float))
    repeated, _ = choose_interval(predictions[twice], y[twice], 0.9)
    assert weighted.low == pytest.approx(repeated.low, abs=0.1)
    assert weighted.high == pytest.approx(repeated.high, abs=0.1)


@settings(deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e308, 1e308),
    st.floats(0, 1e308),
    st.floats(1e-300, 1e10) | st.none(),
)
def test_an_interval_is_finite_and_its_ends_are_in_order(prediction, low, width, floor) -> None:
    high = min(low + width, 1e308)
    if floor is not None:
        low, high = sorted((math.fmod(low, 700), math.fmod(high, 700)))
    interval = Interval(level=0.9, low=low, high=high, floor=floor)
    found = interval.around(prediction)
    with np.errstate(over="ignore"):
        many = interval.around_many(np.array([prediction]))
    assert found == [many[0][0], many[1][0]]
    assert all(map(math.isfinite, found))
    assert found[0] <= found[1]


def test_the_ends_are_of_the_ranks_that_the_theory_names() -> None:
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))  # 99 errors
    interval, _ = choose_interval(np.zeros(99) - 50, errors - 100, 0.9)
    assert interval.high == pytest.approx(95 - 50)  # the ceil(0.95 x 100)th smallest
    assert interval.low == pytest.approx(5 - 50)


@pytest.mark.parametrize(
    ("task", "level", "rows", "message"),
    [
        ("binary", 0.9, 1000, "are for regression"),
        ("regression", 0.99, 150, "needs 200 training rows, and there are 150"),
        ("regression", 0.5, 10, "needs 20"),
    ],
)
def test_an_interval_that_cannot_be_drawn_is_refused(task, level, rows, message) -> None:
    with pytest.raises(InputError, match=message):
        check_interval(task, level, rows)
    check_interval(task, 0.0, rows)
