from __future__ import annotations

import datetime
import json
import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.cells import CellError, NumberFormat, parse_date, parse_number
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import Problem

BLANKS = ("", "na", "?")
NUMBER = Column(name="n", kind="number", dtype="number", minimum=0.0, maximum=9.0)
LEVEL = Column(name="c", kind="category", dtype="string", categories={"a": 3, "NA": 1})
CODE = Column(name="i", kind="category", dtype="integer", categories={"3": 2, "12": 1})
TRUTH = Column(name="b", kind="boolean", dtype="string")
DATE = Column(name="d", kind="date", dtype="date", date_format="%d.%m.%Y")


@pytest.mark.parametrize("value", ["30", True, [1], {}, math.inf, -math.inf, 10**400, b"1"])
def test_a_number_is_a_finite_number_and_nothing_else(value: object) -> None:
    with pytest.raises(CellError):
        NUMBER.read_value(value, BLANKS)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (NUMBER, 3, 3.0),
        (NUMBER, None, None),
        (NUMBER, math.nan, None),
        (LEVEL, " a ", "a"),
        (LEVEL, "NA", "NA"),  # a level goes before a blank
        (LEVEL, "na", None),
        (LEVEL, "?", None),
        (LEVEL, "new", "new"),
        (CODE, 3, "3"),
        (CODE, 3.0, "3"),
        (CODE, "12", "12"),
        (TRUTH, "Yes", True),
        (TRUTH, 0, False),
        (TRUTH, "", None),
        (DATE, "2026-01-31", 1769817600.0),
        (DATE, "31.01.2026", 1769817600.0),
        (DATE, datetime.date(2026, 1, 31), 1769817600.0),
        (DATE, "2026-01-31T02:00:00+02:00", 1769817600.0),
    ],
)
def test_values_are_read(column: Column, value: object, expected: object) -> None:
    assert column.read_value(value, BLANKS) == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [(LEVEL, 3), (LEVEL, True), (LEVEL, "a\0b"), (CODE, True), (CODE, 10**4000), (CODE, math.inf),
     (TRUTH, "perhaps"), (TRUTH, 2), (DATE, 5), (DATE, "31/31/2026"), (DATE, "soon")],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(column: Column, value: object) -> None:
    with pytest.raises(CellError) as caught:
        column.read_value(value, BLANKS)
    assert str(value) not in str(caught.value)  # the caller's data stays with the caller


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("1,234.5", NumberFormat(".", ","), 1234.5),
        ("1.234,5", NumberFormat(",", "."), 1234.5),
        (" -3e2 ", NumberFormat(), -300.0),
    ],
)
def test_numbers_in_text_follow_the_tables_format(
    text: str, written: NumberFormat, expected: float
) -> None:
    assert parse_number(text, written) == expected


@pytest.mark.parametrize("text", ["1_000", "nan", "inf", "1e999", "12a", "0x10", "", "\u0661x"])
def test_what_is_no_number_in_text_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        parse_number(text, NumberFormat())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_in_json_csv_and_python(number: float) -> None:
    from_json = NUMBER.read_value(json.loads(json.dumps(number)), BLANKS)
    assert from_json == NUMBER.read_text(repr(number), BLANKS) == number


@given(st.text())
def test_any_text_in_any_column_is_a_value_or_a_cell_error(text: str) -> None:
    for column in (NUMBER, LEVEL, CODE, TRUTH, DATE):
        for read in (column.read_value, column.read_text):
            try:
                value = read(text, BLANKS)
            except CellError:
                continue
            assert value is None or not isinstance(value, float) or math.isfinite(value)


@given(
    st.datetimes(min_value=datetime.datetime(1, 1, 2), max_value=datetime.datetime(9999, 12, 30))
)
def test_iso_dates_round_trip(moment: datetime.datetime) -> None:
    seconds = parse_date(moment.isoformat(), None)
    back = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    assert abs(back - moment) <= datetime.timedelta(microseconds=30)  # float64 far from 1970


def contract(**changes: object) -> Contract:
    columns = (NUMBER, LEVEL, CODE, TRUTH, DATE)
    return Contract(
        target=Target(name="y", task="binary", classes=("no", "yes")),
        columns=columns,
        ignored=("id",),
        blanks=BLANKS,
    )


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    problems: list[Problem] = []
    contract().read_row({"n": "x", "c": 1, "b": None, "d": "2026-01-01"}, problems, number=4)
    assert {(p.row, p.column) for p in problems} == {(4, "n"), (4, "c"), (4, "i")}


def test_an_absent_column_is_a_blank_only_when_the_project_says_so() -> None:
    problems: list[Problem] = []
    assert contract().read_row({}, problems, absent="blank") == [None] * 5
    assert problems == []


def test_a_refused_blank_and_a_refused_level() -> None:
    strict = Column(
        name="c", kind="category", dtype="string", categories={"a": 1}, on_blank="error",
        on_unseen="error",
    )  # fmt: skip
    for value in (None, "", "b"):
        with pytest.raises(CellError):
            strict.read_value(value, BLANKS)


def test_only_columns_that_the_table_never_had_are_unknown() -> None:
    assert contract().unknown_columns({"n": 1, "id": 2, "y": "no", "nn": 3}) == ["nn"]


def test_the_json_schema_is_valid_and_takes_the_example() -> None:
    schema = contract().json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validate = jsonschema.Draft202012Validator(schema).is_valid
    row = {"n": 1.5, "c": "a", "i": 3, "b": True, "d": "2026-01-31"}
    assert validate(row)
    assert validate({**row, "n": None})
    assert not validate({**row, "n": "1.5"})
    assert not validate({key: value for key, value in row.items() if key != "n"})


def test_a_date_is_asked_for_as_the_table_writes_it() -> None:
    for written, like in ((None, "2026-01-31"), ("%d.%m.%Y", "31.01.2026")):
        with pytest.raises(CellError, match=f"for example {like}$"):
            parse_date("soon", written)
