from __future__ import annotations

import polars as pl
import pytest

from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import RowsError
from roadworthy.table.conform import conform

CONTRACT = Contract(
    target=Target(name="y", task="regression"),
    columns=(
        Column(name="n", kind="number", dtype="number"),
        Column(name="c", kind="category", dtype="string", categories={"a": 1}),
        Column(name="k", kind="category", dtype="integer", categories={"3": 1}),
        Column(name="b", kind="boolean", dtype="boolean"),
        Column(name="d", kind="date", dtype="date", date_format="%d.%m.%Y"),
    ),
    blanks=("", "na"),
)
GOOD = {"n": [1.5], "c": ["a"], "k": [3], "b": [True], "d": ["31.01.2026"]}


def test_text_and_typed_frames_come_out_the_same() -> None:
    text = {"n": ["1.5"], "c": [" a"], "k": ["3"], "b": ["yes"], "d": ["2026-01-31"]}
    typed = conform(pl.DataFrame(GOOD), CONTRACT)
    assert typed.equals(conform(pl.DataFrame(text), CONTRACT, text=True))
    assert typed.row(0)[:4] == (1.5, "a", "3", True)


def test_blanks_stay_blank() -> None:
    blank = {"n": ["NA"], "c": [""], "k": [None], "b": ["na"], "d": [""]}
    frame = conform(pl.DataFrame(blank), CONTRACT, text=True)
    assert frame.null_count().row(0) == (1, 1, 1, 1, 1)


def test_each_wrong_cell_is_named_by_row_and_column() -> None:
    bad = {"n": ["1", "x"], "c": ["a", "a"], "k": ["3", "3"], "b": ["1", "maybe"], "d": ["", "5"]}
    with pytest.raises(RowsError) as caught:
        conform(pl.DataFrame(bad), CONTRACT, text=True)
    assert {(p.row, p.column) for p in caught.value.problems} == {(1, "n"), (1, "b"), (1, "d")}


def test_an_absent_column_is_refused_or_blank() -> None:
    frame = pl.DataFrame({key: GOOD[key] for key in "ckbd"})
    with pytest.raises(RowsError, match="'n': is absent"):
        conform(frame, CONTRACT)
    assert conform(frame, CONTRACT, absent="blank")["n"].to_list() == [None]


def test_numbers_given_as_text_in_a_typed_frame_are_refused() -> None:
    with pytest.raises(RowsError, match="expected a number"):
        conform(pl.DataFrame(GOOD | {"n": ["1.5"]}), CONTRACT)


def test_infinity_is_refused_and_nan_is_blank() -> None:
    with pytest.raises(RowsError, match="not a finite number"):
        conform(pl.DataFrame(GOOD | {"n": [float("inf")]}), CONTRACT)
    assert conform(pl.DataFrame(GOOD | {"n": [float("nan")]}), CONTRACT)["n"][0] is None
