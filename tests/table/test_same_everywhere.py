"""A cell means the same when a table is read to train, and when a file or a row is predicted."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.cells import CellError, NumberFormat, parse_number
from roadworthy.errors import InputError
from roadworthy.project import ColumnOptions, DataSection, Project
from roadworthy.table import Table, read_table
from roadworthy.table.conform import conform
from roadworthy.table.kinds import cast_number
from roadworthy.table.sources import read_frame

DASH = "\u2013"
CELLS = {
    "decimal commas": (["1,5", "1.234,5", "-7", "12"], ";"),
    "thousands": (['"1,234.5"', '"12"', '"-1,000"', '"3.25"'], ","),
    "euros": (["1.234,50 €", "-5 €", "0,99\u00a0€", "12 €"], ";"),
    "dollars": (['"$1,234.50"', "-$5", "$ 0.99", "+$12"], ","),
    "percents": (["12.5 %", "0%", "-3.25%", ""], ","),
    "codes of currencies": (["CHF 12.50", "CHF 3", "CHF -1.5", "CHF 7"], ","),
    "flags as floats": (["0.0", "1.0", "", "1.0"], ","),
    "flags": (["yes", "No", "YES", "no"], ","),
    "signs": (["+1", "-2", "3", "1e3"], ","),
    "unpadded dates": (["2020-1-5", "2020-11-30", "2019-2-28", "2020-1-6"], ","),
    "days first": (["31/12/2024", "01/02/2023", "15/06/2020", "2/3/2024"], ","),
    "moments": (["2024-02-29T13:45:10Z", "2023-01-31T00:00:00Z", "", "1969-07-20T20:17:40Z"], ","),
    "offsets": (["2024-02-29T13:45:10+02:00", "2023-01-31T00:00:00-11:00"] * 2, ","),
    "dates with and without a time": (
        ["2024-02-29", "2023-01-31T10:00:00", "", "2023-01-31 10:00:00+02:00"],
        ",",
    ),
    "fractions": (["2024-02-29 13:45:10.250", "2023-01-31 00:00:00.000001"] * 2, ","),
    "short months": (["29 Feb 2024", "31 Jan 2023", "1 May 2020", "2 Jun 2021"], ","),
    "levels": ([" red ", "blue", "?", "NA"], ","),
    "codes": (["007", "012", "", "100"], ","),
}


def write(folder: Path, cells: list[str], delimiter: str) -> Path:
    lines = [delimiter.join(("v", "x", "y"))]
    for i in range(60):
        number = f"{i}{',' if delimiter == ';' else '.'}5"
        lines.append(delimiter.join((cells[i % len(cells)], number, "ab"[i % 7 == 0])))
    file = folder / "t.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def read_back(file: Path, table: Table) -> None:
    source = read_frame(file, DataSection())
    again = conform(source.frame, table.contract, text=source.text)
    trained = table.frame.select(table.contract.names).cast(again.schema)
    assert again.equals(trained)


@pytest.mark.parametrize("name", CELLS)
def test_the_training_file_is_read_to_predict_as_it_was_to_train(tmp_path: Path, name: str) -> None:
    cells, delimiter = CELLS[name]
    file = write(tmp_path, cells, delimiter)
    table = read_table(file, "y")
    assert "v" in table.contract.names
    read_back(file, table)


@pytest.mark.parametrize("cells", [["1.0", "2.0"], ["0.0", "1.0"], ["1", "+2"], ["1.50", "2.5"]])
def test_numbers_taken_for_levels_are_the_same_levels_however_written(
    tmp_path: Path, cells: list[str]
) -> None:
    file = write(tmp_path, cells, ",")
    columns = {"v": ColumnOptions(kind="category")}
    table = read_table(file, "y", project=Project(data=DataSection(columns=columns)))
    read_back(file, table)
    column = {c.name: c for c in table.contract.columns}["v"]
    assert {column.read_value(float(cell), ("",)) for cell in cells} == set(column.categories)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.5", NumberFormat(",", ".")),
        ("1.23.4", NumberFormat(",", ".")),
        ("1,5", NumberFormat(".", ",")),
        ("12,34", NumberFormat(".", ",")),
        ("1,234,5", NumberFormat(".", ",")),
    ],
)
def test_a_number_written_otherwise_is_refused_and_not_read_as_ten_times_as_much(
    text: str, written: NumberFormat
) -> None:
    with pytest.raises(CellError, match="written like"):
        parse_number(text, written)


@pytest.mark.parametrize("name", ["euros", "dollars", "percents", "codes of currencies"])
def test_a_unit_is_taken_off_and_a_file_may_leave_it_out(tmp_path: Path, name: str) -> None:
    cells, delimiter = CELLS[name]
    table = read_table(write(tmp_path, cells, delimiter), "y")
    column = {c.name: c for c in table.contract.columns}["v"]
    assert column.kind == "number"
    unit = column.number_format.unit
    assert unit in cells[0]
    bare = [cell.strip('"').replace(unit, "").strip() for cell in cells]
    read = [column.read_text(cell.strip('"'), ("",)) for cell in cells]
    assert [column.read_text(cell, ("",)) for cell in bare] == read
    assert read[1] == [-5.0, -5.0, 0.0, 3.0][list(CELLS).index(name) - 2]


@pytest.mark.parametrize(
    "cells", [["12 %", "0.12"], ["5 €", "5 $"], ["10% off", "5% off"], ["1 € 2", "3 €"]]
)
def test_what_is_no_number_with_one_unit_stays_text(tmp_path: Path, cells: list[str]) -> None:
    table = read_table(write(tmp_path, cells, ","), "y")
    assert table.frame["v"].dtype == pl.String


@given(
    number=st.decimals(-(10**9), 10**9, places=2),
    unit=st.sampled_from(["%", "€", "$", "CHF", "₹"]),
    form=st.sampled_from(["{n}{u}", "{n} {u}", "{u}{n}", "{u} {n}", "{n}\u202f{u}"]),
    marks=st.sampled_from([(".", ""), (".", ","), (",", ".")]),
)
def test_numbers_with_units_are_read_alike_one_by_one_and_in_columns(
    number: Decimal, unit: str, form: str, marks: tuple[str, str]
) -> None:
    decimal, thousands = marks
    digits = f"{number:,.2f}".translate({ord(","): thousands, ord("."): decimal})
    text = form.format(n=digits, u=unit)
    written = NumberFormat(decimal, thousands, unit)
    assert parse_number(text, written) == float(number)
    cast = cast_number(pl.Series([text]), written)
    assert cast is not None
    assert cast[0] == float(number)


def options(**said: object) -> Project:
    return Project(data=DataSection(columns={"v": ColumnOptions(**said)}))


def test_a_date_format_that_is_said_goes_before_numbers(tmp_path: Path) -> None:
    file = write(tmp_path, ["20200131", "19991231"], ",")
    table = read_table(file, "y", project=options(date_format="%Y%m%d"))
    assert table.frame["v"][0] == datetime.datetime(2020, 1, 31)
    read_back(file, table)


@pytest.mark.parametrize("form", ["%Y-%d-%m", "%d.%m.%y"])
def test_a_date_format_that_requests_would_read_otherwise_is_refused(
    tmp_path: Path, form: str
) -> None:
    cells = {"%Y-%d-%m": ["2020-05-01", "2020-06-02"], "%d.%m.%y": ["01.05.69", "02.06.70"]}[form]
    with pytest.raises(InputError, match="more than one way"):
        read_table(write(tmp_path, cells, ","), "y", project=options(date_format=form))


def frame(cells: list[object]) -> pl.DataFrame:
    column = [cells[i % len(cells)] for i in range(60)]
    return pl.DataFrame(
        {"v": column, "x": [i * 0.5 for i in range(60)], "y": ["a", "b"] * 30}, strict=False
    )


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([True, False], "category"),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], "category"),
        (["yes", "no"], "number"),
        ([[1], [2]], "category"),
        ([b"\xff", b"a"], "category"),
        ([2**60, 2**60 + 1], "boolean"),
    ],
)
def test_a_kind_that_no_request_could_fill_is_refused(cells: list[object], kind: str) -> None:
    with pytest.raises(InputError, match="cannot be taken"):
        read_table(frame(cells), "y", project=options(kind=kind))


@pytest.mark.parametrize(
    "cells",
    [
        [datetime.timedelta(hours=3), datetime.timedelta(days=1)],
        [datetime.time(3), datetime.time(4)],
        [{"a": 1}, {"a": 2}],
    ],
)
def test_types_that_no_request_can_hold_are_left_out(cells: list[object]) -> None:
    table = read_table(frame(cells), "y")
    assert table.contract.names == ("x",)
    assert "not used" in str(table.profiles[0].why_not)


def test_dates_outside_the_calendar_are_blanks_to_train_on_and_errors_to_predict() -> None:
    sentinel = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
    days = [datetime.datetime(2020, 1, i + 1) for i in range(4)]
    table = read_table(frame([sentinel, *days]), "y")
    assert table.frame["v"].null_count() == 12
    assert "outside the years" in table.profiles[0].reason
    column = table.contract.columns[0]
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00",
                 "9999-12-31T23:59:59.999999"):  # fmt: skip
        with pytest.raises(CellError, match="years 1 to 9999"):
            column.read_value(text, ("",))


def test_python_values_of_every_library_are_taken() -> None:
    import numpy as np
    import pandas as pd

    table = read_table(frame([1.5, 2.5, None]), "y")
    column = table.contract.columns[0]
    for blank in (None, float("nan"), np.nan, pd.NA, pd.NaT):
        assert column.read_value(blank, ("",)) is None
    for number in (Decimal("1.5"), np.float32(1.5), np.array(1.5)):
        assert column.read_value(number, ("",)) == 1.5
    with pytest.raises(CellError):
        column.read_value(np.array([1.0, 2.0]), ("",))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (",,\nx,z,y\n", ["x", "z"]),
        ('"","",""\n\nx,z,y\n', ["x", "z"]),
        ("x^2,z,y\n", ["x^2", "z"]),
        ("2019,2020,y\n", ["2019", "2020"]),
        ("nan,inf,y\n", ["nan", "inf"]),
    ],
)
def test_odd_first_lines(tmp_path: Path, text: str, columns: list[str]) -> None:
    rows = "".join(f"{i}.5,{i * i},{3 + i % 2}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(text + rows)
    table = read_table(tmp_path / "t.csv", "y")
    assert table.frame.columns == columns
    assert len(table) == 40


def test_a_header_of_any_length(tmp_path: Path) -> None:
    names = [f"a column with quite a long name, number {i}".replace(",", "") for i in range(8000)]
    row = ",".join(["1.5"] * 8000)
    lines = [",".join([*names, "y"]), *(f"{row},{'ab'[i % 2]}" for i in range(25))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="no column is left"):  # read whole, and all constant
        read_table(tmp_path / "t.csv", "y")


def test_infinite_targets_are_dropped_with_a_note(tmp_path: Path) -> None:
    rows = "".join(f"{i * i},{i * 1.5}\n" for i in range(60)) + "1,inf\n2,1e999\n3,nan\n"
    (tmp_path / "t.csv").write_text("x,y\n" + rows)
    table = read_table(tmp_path / "t.csv", "y")
    assert len(table) == 60
    assert any("3 rows dropped" in note for note in table.notes)


def test_blanks_of_the_users_own_spelling(tmp_path: Path) -> None:
    file = write(tmp_path, ["1", "2", DASH, "4"], ",")
    project = Project(data=DataSection(blanks=("", DASH)))
    table = read_table(file, "y", project=project)
    assert table.frame["v"].null_count() == 15


def test_what_is_said_of_a_file_holds_for_files_to_predict(tmp_path: Path) -> None:
    text = "farbe:x:y\n" + "".join(f"{'éöß'[i % 3]}:{i}.5:{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "t.csv").write_bytes(text.encode("cp1250"))
    project = Project().override("data", delimiter=":", encoding="cp1250", header=True)
    table = read_table(tmp_path / "t.csv", "y", project=project)
    assert set(table.frame["farbe"]) == {"é", "ö", "ß"}
    assert (table.contract.text.delimiter, table.contract.text.encoding) == (":", "cp1250")


def test_classes_that_only_the_holdout_has_are_told_before_any_training() -> None:
    late = pl.DataFrame({"x": range(300), "t": range(300), "y": ["a", "b"] * 125 + ["c"] * 50})
    with pytest.raises(InputError, match="'c'"):
        read_table(late, "y", project=Project().override("data", time="t"))


def test_group_and_time_together_are_refused() -> None:
    both = pl.DataFrame({"x": range(60), "t": range(60), "g": [0, 1, 2] * 20, "y": ["a", "b"] * 30})
    with pytest.raises(InputError, match="group and time"):
        read_table(both, "y", project=Project().override("data", time="t", group="g"))


def test_a_holdout_has_a_row_however_many_classes_there_are() -> None:
    many = pl.DataFrame({"x": [i * 0.5 for i in range(60)], "y": [f"c{i // 2}" for i in range(60)]})
    table = read_table(many, "y")
    assert len(table.holdout) == 12
    assert len(set(table.training.labels)) == 30
