"""The plan compiled three ways: all agree bit for bit, on real and on invented tables."""

from __future__ import annotations

import datetime

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundle.frames import json_rows
from roadworthy.bundle.hostile import generated_rows
from roadworthy.contract import Column, Contract, Target
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.fit import fit_plan
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.prepare.reference import reference_frame, reference_transformer
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN, compile_rows
from roadworthy.project import PrepareSection
from roadworthy.table import read_table
from roadworthy.table.conform import conform
from tests.conftest import DATA

TABLES = [
    ("adult.csv", "income"), ("churn.csv", "churn"), ("titanic.csv", "survived"),
    ("storms.parquet", "status"), ("diamonds.parquet", "price"),
    ("hotel_rates.csv.gz", "avg_price_per_room"), ("flights.parquet", "late"),
]  # fmt: skip


def three_ways(frame: pl.DataFrame, contract: Contract, plan: FeaturePlan) -> None:
    matrix = encode_columns(frame, plan)
    assert not np.isinf(matrix).any()
    theirs = reference_transformer(plan, contract).transform(reference_frame(frame, contract))
    np.testing.assert_array_equal(np.asarray(theirs, dtype=float), matrix)
    encoder = compile_rows(contract, plan)
    decode = msgspec.json.Decoder(encoder.record).decode
    rows = json_rows(frame, contract)
    vectors = [encoder.encode(decode(msgspec.json.encode(row)))[0] for row in rows]
    np.testing.assert_array_equal(np.array(vectors), matrix)
    problems: list = []
    checked = [contract.read_row(row, problems) for row in rows]
    assert problems == []
    slow = [encoder.encode(encoder.record(*values))[0] for values in checked]
    np.testing.assert_array_equal(np.array(slow), matrix)


@pytest.mark.parametrize(("name", "target"), TABLES)
def test_rows_columns_and_scikit_learn_agree_on_real_tables(name: str, target: str) -> None:
    table = read_table(DATA / name, target)
    training = table.training
    plan = fit_plan(training.frame, training.labels, table.contract, PrepareSection())
    held = table.holdout.frame.select(table.contract.names).head(3000)
    hostile = conform(generated_rows(held, table.contract), table.contract)
    three_ways(pl.concat([held.cast(hostile.schema), hostile]), table.contract, plan)


CELLS = {
    "number": st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**60), 2**60).map(float),
    "category": st.none() | st.sampled_from(["a", "b", "ß", "x y", "🚗"]),
    "boolean": st.none() | st.booleans(),
    "date": st.none() | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    "text": st.none() | st.lists(
        st.sampled_from(["the", "Red", "house", "ǅ", "it's", "42", "é", "x"]) | st.text(max_size=5),
        min_size=1, max_size=5,
    ).map(lambda words: "".join(c for c in " ".join(words) if c.isprintable()).strip() or "w"),
}  # fmt: skip
TYPES = {
    "text": pl.String,
    "number": pl.Float64, "category": pl.String, "boolean": pl.Boolean, "date": pl.Datetime("us"),
}  # fmt: skip
DTYPES = {
    "text": "string",
    "number": "number",
    "category": "string",
    "boolean": "boolean",
    "date": "datetime",
}


@st.composite
def invented(draw: st.DrawFn) -> tuple[pl.DataFrame, Contract]:
    kinds = draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=6))
    rows = draw(st.integers(2, 12))
    series = [
        pl.Series(
            f"{kind} {i}",
            draw(st.lists(CELLS[kind], min_size=rows, max_size=rows)),
            TYPES[kind],
        )
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    columns = tuple(
        Column(
            name=cells.name, kind=kind, dtype=DTYPES[kind], minimum=-1.0, maximum=1.0,
            categories=dict.fromkeys(cells.drop_nulls().unique(), 1) if kind == "category" else {},
        )
        for kind, cells in zip(kinds, series, strict=True)
    )  # fmt: skip
    contract = Contract(target=Target(name="y", task="regression"), columns=columns, blanks=("",))
    return pl.DataFrame(series), contract


IMPUTE = ["auto", "keep", "mean", "median", "most_frequent"]


@st.composite
def preparations(draw: st.DrawFn) -> PrepareSection:
    return PrepareSection(
        number_impute=draw(st.sampled_from(IMPUTE)),
        category_impute=draw(st.sampled_from(["auto", "keep", "most_frequent"])),
        indicator=draw(st.booleans()),
        encode=draw(st.sampled_from(
            ["auto", "one_hot", "ordinal", "target", "frequency", "hash"]
        )),
        rare_rows=draw(st.integers(1, 3)),
        max_levels=draw(st.integers(2, 5)),
        buckets=draw(st.integers(2, 5)),
        date=draw(st.sampled_from(["parts", "cyclic"])),
        text=draw(st.sampled_from(["tf_idf", "hash"])),
        text_features=draw(st.integers(2, 8)),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(invented(), st.integers(1, 11), preparations())
def test_rows_columns_and_scikit_learn_agree_on_invented_tables(made, cut: int, options) -> None:
    frame, contract = made
    part = frame.head(max(1, cut % frame.height))  # levels of the rest may be unseen
    plan = fit_plan(part, np.arange(float(part.height)), contract, options)
    three_ways(frame, contract, plan)


def test_what_is_noticed_in_a_row() -> None:
    columns = (
        Column(name="n", kind="number", dtype="number", minimum=0.0, maximum=1.0),
        Column(name="c", kind="category", dtype="string", categories={"a": 1}),
    )
    contract = Contract(target=Target(name="y", task="regression"), columns=columns, blanks=("",))
    plan = FeaturePlan((
        Feature(column="n", read="number", blank=0.5),
        Feature(column="c", read="category", blank=0.0, levels=("a",)),
    ))  # fmt: skip
    rows = compile_rows(contract, plan)
    assert rows.encode(rows.record(0.2, "a")) == ((0.2, 0.0), None)
    assert rows.encode(rows.record(None, "")) == ((0.5, 0.0), [(BLANK, 0), (BLANK, 1)])
    assert rows.encode(rows.record(7.0, "z")) == ((7.0, -1.0), [(RANGE, 0), (UNSEEN, 1)])
    assert rows.encode(rows.record(0.2, " a ")) == ((0.2, 0.0), None)


def test_a_level_that_was_folded_away_is_not_told_as_unseen() -> None:
    columns = (Column(name="c", kind="category", dtype="string", categories={"a": 9, "rare": 1}),)
    contract = Contract(target=Target(name="y", task="regression"), columns=columns, blanks=("",))
    plan = FeaturePlan((Feature(column="c", read="category", blank=0.0, levels=("a",)),))
    rows = compile_rows(contract, plan)
    assert rows.encode(rows.record("rare")) == ((-1.0,), None)
    assert rows.encode(rows.record("new")) == ((-1.0,), [(UNSEEN, 0)])


def test_no_name_of_a_table_becomes_code() -> None:
    evil = "x: int = __import__('os').system('touch /tmp/owned') #"
    columns = (
        Column(name=evil, kind="number", dtype="number", minimum=0.0, maximum=1.0),
        Column(name='"""', kind="category", dtype="string", categories={"'+1": 1}),
    )
    contract = Contract(target=Target(name="def", task="regression"), columns=columns)
    plan = FeaturePlan((
        Feature(column=evil, read="number", blank=0.0),
        Feature(column='"""', read="category", blank=0.0, levels=("'+1",)),
    ))  # fmt: skip
    rows = compile_rows(contract, plan)
    decode = msgspec.json.Decoder(rows.record).decode
    row = {evil: 0.5, '"""': "'+1"}
    with pytest.raises(msgspec.ValidationError):  # no key that msgspec can look for
        decode(msgspec.json.encode(row))
    assert rows.encode(rows.record(*contract.read_row(row, []))) == ((0.5, 0.0), None)
