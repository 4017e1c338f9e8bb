"""Slices, the search for weak ones, and fairness, against planted truth and formulas."""

from __future__ import annotations

import numpy as np
import pytest

from roadworthy.evaluate.fairness import fairness_report
from roadworthy.evaluate.scored import Scored
from roadworthy.evaluate.slices import slice_gains, slice_report
from roadworthy.evaluate.worst import holm, worst_slices
from tests.evaluate.rows import binary, table_of


def columns(random: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    return {
        "region": random.choice(["north", "south", "east"], rows),
        "plan": random.choice(["a", "b", "c", "d"], rows),
        "age": random.integers(18, 90, rows).astype(float) + random.random(rows),
    }


def flawed(rows: int, seed: int, weak: object) -> Scored:
    """Answers right 9 times in 10, and in the weak rows 6 times."""
    random = np.random.default_rng(seed)
    cells = columns(random, rows)
    truth = random.random(rows) < 0.5
    share = np.where(weak(cells), 0.6, 0.9)  # type: ignore[operator]
    right = random.random(rows) < share
    return binary(cells, truth, np.where(truth == right, 0.8, 0.2))


def test_a_planted_intersection_is_found_and_confirmed() -> None:
    scored = flawed(6000, 0, lambda c: (c["region"] == "north") & (c["plan"] == "b"))
    found = worst_slices(scored)
    assert found[0].conditions in (
        ("region = north", "plan = b"),
        ("plan = b", "region = north"),
    )
    assert found[0].confirmed
    assert found[0].gap.value == pytest.approx(0.3, abs=0.08)


def test_a_planted_range_of_a_number_is_found() -> None:
    scored = flawed(6000, 1, lambda c: c["age"] > 72)
    found = worst_slices(scored)
    assert any("age = above" in " ".join(entry.conditions) for entry in found[:2])
    assert found[0].confirmed


def test_where_nothing_is_weak_hardly_anything_is_confirmed() -> None:
    alarms = 0
    for seed in range(20):
        scored = flawed(2000, seed, lambda c: np.zeros(len(c["age"]), dtype=bool))
        alarms += any(entry.confirmed for entry in worst_slices(scored))
    assert alarms <= 3  # one in twenty is promised


def test_a_search_needs_rows_on_both_sides() -> None:
    assert worst_slices(flawed(60, 0, lambda c: c["age"] > 50)) == ()


def test_holms_correction_is_the_published_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_slices_hold_numbers_in_ranges_and_pairs_of_levels() -> None:
    scored = flawed(3000, 2, lambda c: (c["region"] == "north") & (c["plan"] == "b"))
    slices = slice_report(scored)
    assert {"region", "plan", "age", "region & plan"} <= {entry.column for entry in slices}
    for name in ("region", "age", "region & plan"):
        assert sum(entry.rows for entry in slices if entry.column == name) == 3000
    crossed = {e.value: e for e in slices if e.column == "region & plan"}
    worst = min(crossed.values(), key=lambda entry: entry.estimate.value or 1.0)
    assert worst.value == "north & b"
    gap = worst.gaps["accuracy"]
    assert gap.low is not None
    assert 0.15 < gap.low < 0.3 < (gap.high or 0)
    assert set(worst.metrics) >= {"roc_auc", "recall", "selection_rate", "calibration_gap"}


def test_a_gap_of_a_slice_is_covered_by_its_interval() -> None:
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        group = random.choice(["a", "b"], 400)
        truth = random.random(400) < 0.5
        right = random.random(400) < np.where(group == "a", 0.7, 0.9)
        x = random.normal(size=400)
        scored = binary({"g": group, "x": x}, truth, np.where(truth == right, 0.7, 0.3))
        entry = next(e for e in slice_report(scored) if (e.column, e.value) == ("g", "a"))
        gap = entry.gaps["accuracy"]
        held += (gap.low or 0) <= 0.2 <= (gap.high or 0)
    assert 53 <= held <= 60


def test_fairness_is_fairlearns() -> None:
    random = np.random.default_rng(0)
    group = random.choice(["a", "b", "c"], 3000)
    truth = random.random(3000) < np.where(group == "a", 0.3, 0.5)
    score = np.clip(0.5 * truth + 0.6 * random.random(3000), 0, 1)
    x = random.normal(size=3000)
    scored = binary({"g": group, "x": x}, truth, score)
    found = fairness_report(scored, ["g"])[0]
    chosen = score > 0.5
    select = [chosen[group == g].mean() for g in "abc"]
    true = [chosen[(group == g) & truth].mean() for g in "abc"]
    false = [chosen[(group == g) & ~truth].mean() for g in "abc"]
    expected = {
        "demographic_parity_difference": max(select) - min(select),
        "demographic_parity_ratio": min(select) / max(select),
        "equalized_odds_difference": max(max(true) - min(true), max(false) - min(false)),
        "equal_opportunity_difference": max(true) - min(true),
    }
    for name, value in expected.items():
        estimate = found.measures[name]
        assert estimate.value == pytest.approx(value), name
        assert (estimate.low or 0) <= value + 0.05
        assert value - 0.05 <= (estimate.high or 1)
    assert found.selection_rates == pytest.approx(dict(zip("abc", select, strict=True)))


def test_a_drop_against_the_champion_is_seen_on_its_slice() -> None:
    better = flawed(3000, 4, lambda c: np.zeros(len(c["age"]), dtype=bool))
    flip = (better.table.frame["region"] == "south").to_numpy()
    scores = np.where(flip[:, None], better.scores[:, ::-1], better.scores)
    gains = slice_gains(Scored(better.table, scores), better, ["region"])
    assert (gains["region = south"].high or 0) < -0.5
    assert gains["region = north"].value == 0


def test_a_regression_is_sliced_by_its_error() -> None:
    random = np.random.default_rng(0)
    cells = columns(random, 2000)
    truth = random.normal(size=2000) * 10
    error = random.normal(size=2000) * np.where(cells["plan"] == "c", 5.0, 1.0)
    scored = Scored(table_of(cells, truth), truth + error)
    found = worst_slices(scored)
    assert "plan = c" in found[0].conditions
    assert found[0].metric == "mae"
    worst = max(slice_report(scored, ["plan"]), key=lambda entry: entry.gap or 0)
    assert worst.value == "c"
    assert (worst.gaps["rmse"].low or 0) > 2
