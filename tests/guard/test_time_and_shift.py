from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from roadworthy.guard import inspect
from roadworthy.project import GuardSection, Project
from roadworthy.table import read_table
from roadworthy.table.split import Split
from tests.conftest import DATA
from tests.guard.tables import ROWS, clean, found, names


def days(numbers: np.ndarray) -> pl.Series:
    return pl.Series(np.asarray(numbers)).cast(pl.Int32).cast(pl.Date)


def dated(seed: int = 0) -> pl.DataFrame:
    return clean(seed=seed).with_columns(days(np.arange(ROWS) * 2).alias("day"))


def test_a_date_and_a_random_split_are_a_warning_with_the_line_that_mends_it() -> None:
    findings = found(dated(), "time")
    assert names(findings, "warning") == {"time:day"}
    assert '[data] time = "day"' in findings[0].fix
    assert "time:day" not in names(found(dated(), "time", time="day"), "warning")
    assert found(dated().rename({"day": "birth_date"}), "time") == ()


def test_features_that_only_grow_with_time_are_told_apart_from_time_itself() -> None:
    frame = dated().with_columns(
        pl.Series("meter", np.cumsum(np.random.default_rng(0).random(ROWS))),
        pl.col("day").dt.year().alias("year"),
        pl.col("day").dt.month().alias("month"),
    )
    findings = found(frame, "time", time="day")
    assert names(findings, "note") >= {"time:day"}
    assert "time:meter" in names(findings, "warning")
    assert "time:month" not in names(findings)


def test_a_date_after_the_rows_own_time_is_a_warning() -> None:
    later = np.arange(ROWS) * 2 + np.random.default_rng(0).integers(-30, 30, ROWS)
    frame = dated().with_columns(days(later).alias("closed_on"))
    findings = [f for f in found(frame, "time", time="day") if f.columns == ("closed_on",)]
    assert findings[0].severity == "warning"
    assert 0.3 < findings[0].evidence["share"] < 0.7
    earlier = dated().with_columns(days(np.arange(ROWS) * 2 - 5).alias("opened_on"))
    assert not any("later than" in f.what for f in found(earlier, "time", time="day"))


def test_a_target_that_drifts_is_a_warning_by_time_and_a_note_by_rows() -> None:
    chance = np.random.default_rng(0).random(ROWS) < np.linspace(0.05, 0.95, ROWS)
    frame = dated().with_columns(pl.Series("y", np.where(chance, "late", "soon")))
    assert "time:y" in names(found(frame, "time", time="day"), "warning")
    sorted_by_target = clean().sort("y")
    assert names(found(sorted_by_target, "time")) == {"time:y"}
    assert found(sorted_by_target, "time")[0].severity == "note"
    assert found(clean(), "time") == ()


def test_a_split_by_time_after_a_change_is_a_warning_that_names_the_column() -> None:
    frame = dated().with_columns(pl.col("x3") + pl.Series(np.where(np.arange(ROWS) > 640, 2.0, 0)))
    (finding,) = found(frame, "shift", time="day")
    assert finding.columns[0] == "x3"
    assert finding.evidence["auc"] > finding.evidence["low"] > 0.6
    assert "future" in finding.what
    assert found(dated(), "shift", time="day") == ()  # the date itself is no shift


def test_a_holdout_of_another_kind_is_a_fault_of_the_table() -> None:
    table = read_table(clean(), "y")
    order = np.argsort(table.frame["x0"].to_numpy(), kind="stable")
    cut = Split(np.sort(order[:640]), np.sort(order[640:]), "random")
    (finding,) = inspect(dataclasses.replace(table, split=cut), GuardSection(checks=("shift",)))
    assert finding.columns == ("x0",)
    assert "should have made them alike" in finding.what


def test_random_splits_give_no_false_alarm() -> None:
    """25 splits of a real table: under 2 % of alarms leaves none."""
    frame = pl.read_csv(DATA / "titanic.csv", infer_schema_length=0)
    alarms = 0
    for seed in range(25):
        table = read_table(frame, "survived", project=Project().override("train", seed=seed))
        alarms += len(inspect(table, GuardSection(checks=("shift",)), seed=seed))
    assert alarms == 0


def test_whole_groups_held_out_are_judged_by_other_groups() -> None:
    group = np.arange(ROWS) // 20
    mark = np.random.default_rng(0).normal(size=40)[group]
    frame = clean().with_columns(pl.Series("shop", group), pl.Series("size", mark))
    assert found(frame, "shift", group="shop") == ()


@pytest.mark.parametrize("name", ["hotel_rates.csv.gz"])
def test_hotel_rates_shift_with_the_season(name: str) -> None:
    project = Project().override("data", time="arrival_date")
    table = read_table(DATA / name, "avg_price_per_room", project=project)
    findings = inspect(table, GuardSection(checks=("shift", "duplicates")))
    assert "shift" in {finding.check for finding in findings}
