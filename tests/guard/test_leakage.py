from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from roadworthy.guard import inspect
from roadworthy.project import GuardSection
from roadworthy.table import read_table
from tests.conftest import DATA
from tests.guard.tables import ROWS, clean, found, names

RANDOM = np.random.default_rng(5)
NOISE = RANDOM.normal(size=ROWS)
HIT = (clean()["y"] == "yes").to_numpy().astype(float)
GOAL = clean(numbers=True)["y"].to_numpy()
SOME = RANDOM.random(ROWS) < 0.4


def blanked(values: np.ndarray, rows: np.ndarray) -> pl.Series:
    return pl.Series([None if gone else value for value, gone in zip(values, rows, strict=True)])


OF_CLASSES = {
    "target copied": HIT,
    "target recoded to texts": np.where(HIT == 1, "churned", "stayed"),
    "target plus noise": HIT + 0.15 * NOISE,
    "the class in many words": [f"{'won' if hit else 'lost'} {i % 9}" for i, hit in enumerate(HIT)],
    "near copy with blanks": blanked(HIT + 0.1 * NOISE, SOME),
    "missingness that tells": blanked(np.abs(NOISE), HIT == 0),
    "mostly filled for one class": blanked(
        np.abs(NOISE), (HIT == 0) ^ (RANDOM.random(ROWS) < 0.04)
    ),
}
OF_NUMBERS = {
    "target copied": GOAL,
    "target in another unit": 2.54 * GOAL + 3,
    "target plus noise": GOAL + 0.1 * NOISE,
    "a function of the target": np.exp(GOAL),
    "target in texts": [f"band {2 * value:.0f}" for value in GOAL],
    "target binned": np.floor(GOAL * 4),
    "near copy with blanks": blanked(GOAL + 0.05 * NOISE, SOME),
}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_planted_leak_of_a_class_is_serious(name: str) -> None:
    findings = found(clean().with_columns(pl.Series("leak", OF_CLASSES[name])), "leakage")
    assert names(findings, "serious") == {"leakage:leak"}
    assert '[data] drop = ["leak"]' in findings[0].fix
    assert findings[0].evidence["score"] > 0.6


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_planted_leak_of_a_number_is_serious(name: str) -> None:
    frame = clean(numbers=True).with_columns(pl.Series("leak", OF_NUMBERS[name]))
    assert names(found(frame, "leakage"), "serious") == {"leakage:leak"}


def test_a_rare_class_copied_is_found() -> None:
    rare = (np.arange(4000) % 80 == 0).astype(float)
    frame = clean(4000).with_columns(
        pl.Series("y", np.where(rare == 1, "fraud", "fine")),
        pl.Series("leak", rare * 5 + np.random.default_rng(0).random(4000)),
    )
    assert "leakage:leak" in names(found(frame, "leakage"), "serious")


def test_two_copies_of_the_target_are_both_listed() -> None:
    frame = clean().with_columns(pl.Series("a", HIT * 3), pl.Series("b", np.where(HIT, "u", "v")))
    assert names(found(frame, "leakage"), "serious") == {"leakage:a", "leakage:b"}


def test_a_column_filled_only_for_one_class_is_a_warning() -> None:
    mark = [7.0 + i if hit and i % 5 == 0 else None for i, hit in enumerate(HIT)]
    findings = found(clean().with_columns(pl.Series("closed", mark)), "leakage")
    assert names(findings, "warning") == {"leakage:closed"}
    assert findings[0].evidence["class_share"] == 1.0


def test_a_number_that_orders_the_target_is_serious_and_one_that_is_not_used_is_a_note() -> None:
    frame = clean().sort("y")
    counted = frame.with_columns(pl.Series("record", np.arange(ROWS) + 100_000))
    assert names(found(counted, "leakage")) == {"leakage:record"}
    assert found(counted, "leakage")[0].severity == "note"  # an identifier is left out anyway
    jumping = frame.with_columns(pl.Series("batch", np.arange(ROWS) * 7 // 2))
    assert names(found(jumping, "leakage"), "serious") == {"leakage:batch"}


def test_strong_columns_in_strong_company_do_not_stop() -> None:
    """Several honest measurements of one thing, as in medicine: all near an AUC of 0.97."""
    random = np.random.default_rng(3)
    sick = random.random(1500) < 0.4
    columns = {f"m{k}": 3.0 * sick + random.normal(size=1500) for k in range(6)}
    columns["weak"] = 1.5 * sick + random.normal(size=1500)
    columns |= {f"n{k}": 2.2 * sick + random.normal(size=1500) for k in range(3)}
    findings = found(pl.DataFrame({**columns, "y": np.where(sick, "M", "B")}), "leakage")
    assert names(findings, "serious") == set()
    assert names(findings, "warning") >= {"leakage:m0", "leakage:m1"}


def test_a_rule_over_several_columns_does_not_stop() -> None:
    random = np.random.default_rng(4)
    a, b, c = random.random((3, 600))
    rule = pl.DataFrame({"a": a, "b": b, "c": c, "y": (a + b > 1) ^ (c > 0.5)})
    assert names(found(rule, "leakage")) == set()


@pytest.mark.parametrize("rows", [20, 24, 30])
def test_tiny_tables_prove_nothing(rows: int) -> None:
    for seed in range(20):
        frame = clean(rows, seed, numbers=bool(seed % 2))
        assert names(found(frame, "leakage"), "serious") == set()


def test_clean_tables_give_no_alarm() -> None:
    for seed in range(12):
        findings = found(clean(300 + 50 * seed, seed, numbers=bool(seed % 2)))
        assert names(findings, "serious") | names(findings, "warning") == set()


def test_a_trend_is_not_a_leak_when_the_split_is_by_time() -> None:
    day = np.arange(ROWS)
    frame = clean(numbers=True).with_columns(
        pl.Series("day", day).cast(pl.Int32).cast(pl.Date),
        pl.Series("y", 0.1 * day + np.random.default_rng(0).normal(size=ROWS)),
    )
    assert names(found(frame, "leakage", time="day"), "serious") == set()
    by_chance = found(frame, "leakage")
    assert names(by_chance, "warning") == {"leakage:day"}
    assert '[data] time = "day"' in by_chance[0].fix


def test_a_group_that_names_its_outcome_is_not_a_leak_when_groups_are_held_out() -> None:
    group = np.arange(ROWS) % 40
    outcome = np.random.default_rng(0).permutation(40) % 2
    frame = clean().with_columns(
        pl.Series("shop", group), pl.Series("street", [f"s{g}" for g in group]),
        pl.Series("y", np.where(outcome[group] == 1, "a", "b")),
    )  # fmt: skip
    assert "leakage:street" in names(found(frame, "leakage"), "serious")
    assert names(found(frame, "leakage", group="shop"), "serious") == set()


@pytest.mark.parametrize(
    ("name", "target", "leaks"),
    [
        ("adult.csv", "income", set()),
        ("churn.csv", "churn", set()),
        ("titanic.csv", "survived", {"leakage:boat"}),
        ("storms.parquet", "status", set()),
        ("diamonds.parquet", "price", set()),
        ("hotel_rates.csv.gz", "avg_price_per_room", set()),
        ("flights.parquet", "late", set()),
    ],
)
def test_of_the_real_tables_only_titanic_stops(name: str, target: str, leaks: set[str]) -> None:
    findings = inspect(read_table(DATA / name, target), GuardSection(checks=("leakage",)))
    assert names(findings, "serious") == leaks
    if leaks:
        assert names(findings, "warning") == {"leakage:body"}
