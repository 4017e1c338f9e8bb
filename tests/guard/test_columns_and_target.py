from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from roadworthy.guard import inspect
from roadworthy.guard.units import mixed_units
from roadworthy.project import GuardSection
from roadworthy.table import read_table
from roadworthy.table.split import Split
from tests.guard.tables import ROWS, clean, found, names

COLUMNS = GuardSection(checks=("columns",))


def test_a_rare_class_names_what_helps() -> None:
    frame = clean(2000).with_columns(
        pl.Series("y", np.where(np.arange(2000) % 50 == 0, "fraud", "fine"))
    )
    (finding,) = found(frame, "imbalance")
    assert finding.evidence["share"] == pytest.approx(0.02, abs=0.001)
    for line in ('metric = "pr_auc"', 'class_weight = "balanced"', "[train.decision]"):
        assert line in finding.fix


def test_classes_smaller_than_the_folds_and_absent_from_the_holdout() -> None:
    kinds = np.array(["a", "b"])[np.arange(ROWS) % 2].astype(object)
    kinds[:3] = "rare"
    findings = found(clean().with_columns(pl.Series("y", kinds.tolist())), "imbalance")
    tiny = next(f for f in findings if "folds" in f.what)
    assert tiny.evidence["classes"] == ["rare"]
    table = read_table(clean(), "y")
    yes = np.flatnonzero(table.labels == 1)[:100]
    one_class = Split(np.setdiff1d(np.arange(ROWS), yes), yes, "random")
    (absent,) = inspect(
        dataclasses.replace(table, split=one_class), GuardSection(checks=("imbalance",))
    )
    assert "'no'" in absent.what


def test_balanced_classes_are_no_finding() -> None:
    assert found(clean(), "imbalance") == ()


def test_classes_written_in_two_ways_are_named() -> None:
    words = np.array(["Yes", "no", "YES", "in  part", "In part"])[np.arange(ROWS) % 5]
    (finding,) = found(clean().with_columns(pl.Series("y", words)), "target")
    assert finding.evidence["classes"] == [["In part", "in  part"], ["YES", "Yes"]]


def test_one_value_that_carries_the_variance_is_named_with_its_row() -> None:
    values = np.random.default_rng(0).normal(size=ROWS)
    values[[3, 4, 5, 6, 7]] = 1e9, 1e3, 1e3, 1e3, 1e3
    findings = found(clean().with_columns(pl.Series("y", values)), "target")
    held = 3 in read_table(clean().with_columns(pl.Series("y", values)), "y").split.holdout
    assert held or findings[0].evidence["row"] == 3
    assert held or findings[0].evidence["share"] > 0.99
    assert found(clean(numbers=True), "target") == ()


def test_a_target_that_is_constant_within_groups_counts_groups() -> None:
    group = np.arange(ROWS) // 10
    frame = clean().with_columns(pl.Series("who", group), pl.Series("y", np.where(group % 3, 5, 7)))
    (finding,) = found(frame, "target", group="who")
    assert finding.evidence["groups"] <= 80
    assert found(clean().with_columns(pl.Series("who", group)), "target", group="who") == ()


def test_columns_that_a_part_does_not_fill() -> None:
    table = read_table(
        clean().with_columns(pl.Series("new", [None] * 640 + [1.5, 2.5] * 80),
                             pl.Series("same", [1.0] * 640 + [2.0, 3.0] * 80)), "y"
    )  # fmt: skip
    cut = Split(np.arange(640), np.arange(640, ROWS), "random")
    findings = inspect(dataclasses.replace(table, split=cut), COLUMNS)
    assert names(findings, "warning") == {"columns:new", "columns:same"}
    assert {f.columns[0]: f.what.split("column")[1][:30] for f in findings}
    assert any("every one of the training rows" in f.what for f in findings)
    assert any("one value in all training rows" in f.what for f in findings)


def test_copies_in_other_words_and_other_units_are_notes() -> None:
    frame = clean().with_columns(
        (pl.col("x0") * -1.8 + 32).alias("warm"),
        pl.col("town").str.to_uppercase().alias("city"),
        (pl.col("x1") + 1e-3 * pl.col("x2")).alias("nearly"),
    )
    findings = found(frame, "columns")
    assert names(findings, "note") == {"columns:warm", "columns:city"}
    assert {f.columns for f in findings} == {("warm", "x0"), ("city", "town")}


def test_numbers_with_a_few_bad_cells_are_shown() -> None:
    cells = [f"{value:.2f}" for value in np.random.default_rng(0).random(ROWS) * 90]
    cells[5], cells[50], cells[99] = "12,5 kg", "unknown", "unknown"
    (finding,) = found(clean().with_columns(pl.Series("weight", cells)), "columns")
    assert finding.evidence["bad_cells"] == 3
    assert finding.evidence["examples"] == ["12,5 kg", "unknown"]
    assert '"12,5 kg"' in finding.fix
    codes = [f"{i:05d}" for i in range(ROWS)]
    assert found(clean().with_columns(pl.Series("zip", codes)), "columns") == ()


@pytest.mark.parametrize("factor", [2.54, 10.0, 1000.0])
def test_two_units_in_one_column_are_a_note(factor: float) -> None:
    random = np.random.default_rng(0)
    height = random.normal(170, 8, 1000)
    other = random.random(1000) < 0.3
    mixed = mixed_units(np.where(other, height / factor, height))
    assert mixed is not None
    assert mixed.factor == factor
    assert mixed.large_share == pytest.approx(0.7, abs=0.05)


def test_honest_shapes_are_not_two_units() -> None:
    random = np.random.default_rng(0)
    shapes = [
        random.lognormal(0, 2, 2000), random.random(2000), random.exponential(5, 2000),
        np.concatenate([random.normal(10, 1, 1000), random.normal(100, 60, 1000)]) + 200,
        random.integers(1, 1000, 2000).astype(float),
        np.concatenate([random.normal(50, 3, 1000), random.normal(65, 3, 1000)]),
    ]  # fmt: skip
    assert [mixed_units(shape) for shape in shapes] == [None] * len(shapes)
