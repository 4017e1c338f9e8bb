"""New data: what breaks the contract, what drifts, what can be told from the training rows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.evaluate import backtest, learning_curve
from roadworthy.evaluate.incoming import read_incoming
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.scored import Scored
from roadworthy.evaluate.shift import adversarial_validation, contract_shift
from roadworthy.evaluate.stability import compare_parts, periods, robustness
from roadworthy.project import ColumnOptions, DataSection, GatesSection, Project
from roadworthy.table import Table, read_table
from tests.evaluate.rows import table_of


def shop(seed: int, rows: int = 2000) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    start = datetime.date(2024, 1, 1)
    days = random.integers(0, 300, rows)
    amount = np.round(random.lognormal(3, 1, rows), 2)
    return pl.DataFrame(
        {
            "amount": amount,
            "items": random.poisson(1.0, rows),
            "shop": random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]),
            "day": [start + datetime.timedelta(days=int(day)) for day in days],
            "member": random.random(rows) < 0.3,
            "y": np.where(amount > 20, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table(shop(0), "y")


def test_rows_of_the_same_kind_have_not_drifted(table: Table) -> None:
    for seed in range(1, 6):
        new = read_incoming(shop(seed), table.contract)
        shift = contract_shift(new.frame, table.contract)
        assert (shift.drift.value or 0) < 0.03
        assert min(entry.p_value for entry in shift.columns) > 0.01
        assert max(entry.area for entry in shift.columns) < 0.56


def test_a_moved_column_is_the_one_that_has_drifted(table: Table) -> None:
    moved = shop(1).with_columns(pl.col("amount") * 3)
    shift = contract_shift(read_incoming(moved, table.contract).frame, table.contract)
    assert shift.columns[0].column == "amount"
    assert shift.columns[0].p_value < 1e-6
    assert (shift.drift.low or 0) > 0.25
    assert shift.columns[0].area > 0.7


def test_a_new_mix_of_levels_and_blanks_is_drift_too(table: Table) -> None:
    mixed = shop(1).with_columns(
        shop=pl.Series(np.random.default_rng(0).choice(["a", "b", "c"], 2000)),
        items=pl.when(pl.int_range(2000) % 2 == 0).then(pl.col("items")),
    )
    found = contract_shift(read_incoming(mixed, table.contract).frame, table.contract).columns
    assert {entry.column for entry in found[:2]} == {"shop", "items"}
    assert next(e for e in found if e.column == "items").blank_share == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 999), st.floats(0.0, 0.9))
def test_a_heap_of_one_value_is_no_drift(seed: int, share: float) -> None:
    def heaped(seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        return np.where(random.random(1500) < share, 0.0, random.normal(5, 1, 1500))

    label = np.random.default_rng(0).choice(["a", "b"], 1500)
    old = table_of({"x": heaped(0), "z": np.arange(1500) % 7}, label)
    frame = pl.DataFrame({"x": heaped(seed), "z": np.arange(1500) % 7})
    assert (contract_shift(frame, old.contract).drift.value or 0) < 0.05


def test_a_classifier_tells_new_rows_by_the_columns_that_moved(table: Table) -> None:
    known = read_incoming(shop(1, 800), table.contract).frame
    moved = shop(2, 800).with_columns(pl.col("amount") * 2)
    told = adversarial_validation(known, read_incoming(moved, table.contract).frame, table.contract)
    assert told.adversarial is not None
    assert (told.adversarial.low or 0) > 0.6
    assert next(iter(told.tellers)) == "amount"
    same = read_incoming(shop(3, 800), table.contract).frame
    alike = adversarial_validation(known, same, table.contract)
    assert alike.adversarial is not None
    assert (alike.adversarial.low or 1) < 0.54
    assert alike.tellers == {}


def test_new_data_that_breaks_the_contract_is_told_column_by_column(
    table: Table, tmp_path: Path
) -> None:
    raw = shop(1, 200).with_columns(pl.col("amount").cast(pl.String)).drop("items")
    row = pl.int_range(200)
    messy = raw.with_columns(
        pl.when(row == 7).then(pl.lit("twelve")).otherwise(pl.col("amount")).alias("amount"),
        pl.when(row < 4).then(pl.lit("z")).otherwise(pl.col("shop")).alias("shop"),
        pl.when(row % 2 == 0).then(None).otherwise(pl.col("member")).alias("member"),
        pl.when(row == 9).then(pl.lit("maybe")).otherwise(pl.col("y")).alias("y"),
        pl.lit(1).alias("surprise"),
    )
    messy.write_csv(tmp_path / "new.csv")
    found = read_incoming(tmp_path / "new.csv", table.contract)
    by = {(entry.column, entry.kind): entry for entry in found.findings}
    assert by["items", "absent"].rows == 200
    assert by["amount", "refused"].first == (7,)
    assert (by["shop", "unseen"].rows, by["shop", "unseen"].first) == (4, (0, 1, 2, 3))
    assert "'z'" in by["shop", "unseen"].what
    assert by["member", "blank"].rows == 100
    assert by["y", "target"].first == (9,)
    assert ("surprise", "extra") in by
    assert found.table is not None
    assert (found.read, found.frame.height, len(found.table)) == (200, 199, 198)
    assert set(range(200)) - set(found.rows.tolist()) == {7, 9}


def test_what_the_contract_refuses_is_left_out_and_counted() -> None:
    options = {"shop": ColumnOptions(unseen="error", blank="error")}
    strict = read_table(shop(0), "y", project=Project(data=DataSection(columns=options)))
    row = pl.int_range(100)
    cells = pl.when(row < 3).then(pl.lit("z")).when(row < 5).then(None).otherwise(pl.col("shop"))
    found = read_incoming(shop(1, 100).with_columns(cells.alias("shop")), strict.contract)
    assert found.rows.tolist() == list(range(5, 100))
    assert sorted(e.rows for e in found.findings if e.kind == "refused") == [2, 3]


def test_rows_without_labels_can_still_be_looked_at(table: Table) -> None:
    found = read_incoming(shop(1, 50).drop("y"), table.contract)
    assert found.table is None
    assert found.frame.height == 50
    assert [entry.kind for entry in found.findings if entry.column == "y"] == ["target"]


cell = st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["1", "a", "2024-05-05", "true"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(cell, min_size=6, max_size=6), min_size=1, max_size=5))
def test_any_cells_are_read_or_told_and_never_crash(table: Table, rows: list[list[Any]]) -> None:
    names = ["amount", "items", "shop", "day", "member", "y"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    found = read_incoming(frame, table.contract)
    assert found.read == len(rows)
    assert found.frame.columns == list(table.contract.names)
    refused = {e.column for e in found.findings if e.kind == "refused"}
    assert (found.frame.height < len(rows)) == bool(refused)


@pytest.mark.parametrize(
    ("classes", "written"),
    [([0, 1], ["0.0", "1.0"]), ([True, False], ["TRUE", "no"]), ([3, 7, 12], ["3", "7", "12"])],
)
def test_classes_are_known_however_they_are_written(classes: list, written: list[str]) -> None:
    random = np.random.default_rng(0)
    label = random.choice(classes, 300)
    old = table_of({"x": random.normal(size=300)}, label)
    new = pl.DataFrame({"x": np.zeros(len(written)), "y": written})
    found = read_incoming(new, old.contract)
    assert found.table is not None
    names = [old.contract.target.class_names[int(code)] for code in found.table.labels]
    assert names == [str(value).lower() for value in classes]


def test_columns_that_the_model_does_not_take_can_be_sliced_by(table: Table) -> None:
    new = shop(1, 100).with_columns(sex=pl.Series(["f", "m"] * 50))
    project = Project(gates=GatesSection(slices=("sex",)))
    found = read_incoming(new, table.contract, project)
    assert found.table is not None
    assert found.table.frame["sex"].to_list() == ["f", "m"] * 50


def test_a_drop_to_other_rows_has_a_p_value() -> None:
    sure = compare_parts(
        "accuracy", "holdout", "new data", Estimate(0.9, 0.88, 0.92), Estimate(0.8, 0.78, 0.82)
    )
    assert sure.drop.value == pytest.approx(0.1)
    assert (sure.p_value or 1) < 1e-6
    less = compare_parts("rmse", "a", "b", Estimate(1.0, 0.9, 1.1), Estimate(0.98, 0.9, 1.06))
    assert less.drop.value == pytest.approx(-0.02)
    assert (less.p_value or 0) > 0.5


class Constant:
    """Predicts the mean of what it saw, better the more it saw."""

    def __init__(self, table: Table) -> None:
        self.mean = float(table.labels.mean())

    def scores(self, frame: pl.DataFrame) -> np.ndarray:
        return np.full(frame.height, self.mean)


def test_backtests_never_train_on_what_comes_later() -> None:
    random = np.random.default_rng(0)
    when = random.permutation(1000).astype(float)
    frame = pl.DataFrame(
        {"t": when, "x": random.normal(size=1000), "y": when / 10 + random.random(1000)}
    )
    table = read_table(frame, "y", project=Project(data=DataSection(time="t")))
    latest: list[float] = []

    def fit(part: Table) -> Constant:
        assert part.times is not None
        latest.append(float(part.times.max()))
        return Constant(part)

    points = backtest(table, fit, "mae", cuts=4)
    assert [point.training_rows for point in points] == [500, 625, 750, 875]
    assert latest == [499.0, 624.0, 749.0, 874.0]
    assert all(point.estimate.value is not None for point in points)
    curve = learning_curve(table, fit, "mae", shares=(0.1, 1.0))
    assert [point.training_rows for point in curve] == [80, 800]
    with pytest.raises(ValueError, match="time"):
        backtest(read_table(frame, "y"), fit, "mae")


def test_quality_over_time_shows_where_it_breaks() -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"t": np.arange(600.0), "x": random.normal(size=600), "y": random.normal(size=600)}
    )
    table = read_table(frame, "y", project=Project(data=DataSection(time="t")))
    table = table.take(np.arange(600))
    error = np.where(np.arange(600) < 500, 0.1, 5.0) * random.normal(size=600)
    found = periods(Scored(table, table.labels + error), "mae")
    values = [entry.estimate.value or 0.0 for entry in found]
    assert len(values) == 6
    assert values[-1] > 10 * max(values[:-1])
    assert (
        periods(Scored(table_of({"x": random.normal(size=600)}, table.labels), table.labels), "mae")
        == ()
    )


def test_a_model_of_one_number_loses_by_noise_on_it() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=800)
    table = table_of({"x": x, "z": random.normal(size=800)}, x)

    def predict(frame: pl.DataFrame) -> np.ndarray:
        return frame["x"].fill_null(0.0).to_numpy()

    found = {e.change: e for e in robustness(Scored(table, predict(table.frame)), predict, "rmse")}
    assert len(found) == 6
    noisy = [found[f"noise of {share}% on numbers"].after or 0 for share in (1, 5, 10)]
    assert noisy == sorted(noisy)
    assert noisy[2] == pytest.approx(0.1, rel=0.2)
    assert (found["25% of cells blank"].after or 0) > 0.3
