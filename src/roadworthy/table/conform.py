"""Bring a new frame into the types of a contract, as a request's rows are."""

from __future__ import annotations

from typing import Any, Literal

import polars as pl

from roadworthy.cells import CellError
from roadworthy.contract import Column, Contract
from roadworthy.errors import Problem, RowsError
from roadworthy.table.kinds import level_text, naive_utc, out_of_calendar

_MAX_PROBLEMS = 100
_FEW = 5
POLARS_TYPES: dict[str, Any] = {
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Datetime("us"),
    "category": pl.String,
    "text": pl.String,
}
"""The type of a conformed column, by its kind."""


def conform(
    frame: pl.DataFrame,
    contract: Contract,
    *,
    text: bool = False,
    absent: Literal["error", "blank"] = "error",
    every: bool = False,
) -> pl.DataFrame:
    """Check and type the columns that a contract names.

    Args:
        frame: Rows as read; other columns are left out.
        contract: What the columns must be.
        text: The cells are CSV texts, in which numbers too are strings.
        absent: Whether an absent column is an error or blank.
        every: Find every cell that breaks the contract, not the first ones alone.

    Returns:
        A frame with the contract's columns, typed as `Table.frame`.

    Raises:
        RowsError: With each column and the first rows that break the contract.
    """
    problems: list[Problem] = []
    columns = []
    for column in contract.columns:
        if column.name in frame.columns:
            few = None if every else _FEW
            columns.append(_conform(frame[column.name], column, contract, text, problems, few))
        else:
            if absent == "error" or column.on_blank == "error":
                problems.append(Problem("is absent", column.name))
            blank = pl.Series(column.name, [None] * frame.height, dtype=POLARS_TYPES[column.kind])
            columns.append(blank)
    if problems:
        raise RowsError(problems if every else problems[:_MAX_PROBLEMS])
    return pl.DataFrame(columns)


def _conform(
    series: pl.Series,
    column: Column,
    contract: Contract,
    text: bool,
    problems: list[Problem],
    few: int | None,
) -> pl.Series:
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    typed = None if text else _fast(series, column)
    if typed is None:
        typed = _by_value(series, column, contract, text, problems, few)
    if column.kind == "date":
        beyond = out_of_calendar(typed).arg_true()[:few]
        reason = "is a date outside the years 1 to 9999"
        problems += [Problem(reason, column.name, row) for row in beyond]
    if column.kind == "category" and column.on_unseen == "error":
        strange = (~typed.is_in(list(column.categories))).fill_null(value=False).arg_true()[:few]
        reason = "is not one of the levels that the contract lists"
        known = {(problem.row, problem.column) for problem in problems}
        problems += [
            Problem(reason, column.name, row) for row in strange if (row, column.name) not in known
        ]
    if column.on_blank == "error" and typed.null_count():
        rows = typed.is_null().arg_true()[:few]
        problems += [Problem("may not be blank", column.name, row) for row in rows]
    return typed


def _fast(series: pl.Series, column: Column) -> pl.Series | None:
    """The column in its type where a cast alone is right; None where cells must be looked at."""
    if column.kind == "number" and series.dtype.is_numeric():
        number = series.cast(pl.Float64).fill_nan(None)
        return None if number.is_infinite().any() else number
    if column.kind == "boolean" and series.dtype == pl.Boolean:
        return series
    if column.kind == "date" and series.dtype == pl.Date:
        days = series.cast(pl.Int32)  # days that no microseconds can hold are told as out of range
        return days.clip(-800_000, 3_000_000).cast(pl.Date).cast(pl.Datetime("us"))
    if column.kind == "date" and isinstance(series.dtype, pl.Datetime):
        return naive_utc(series)
    if column.kind == "category" and column.dtype != "string" and series.dtype.is_numeric():
        return level_text(series)
    return None


def _by_value(
    series: pl.Series,
    column: Column,
    contract: Contract,
    text: bool,
    problems: list[Problem],
    few: int | None,
) -> pl.Series:
    """Read each distinct cell once, the way a request's cell is read."""
    if series.dtype.is_nested():
        problems.append(Problem(f"cells of type {series.dtype} cannot be read", column.name))
        return pl.Series(series.name, [None] * len(series), dtype=POLARS_TYPES[column.kind])
    read = column.read_text if text else column.read_value
    codes = series.rank("dense")
    distinct = pl.DataFrame({"cell": series, "code": codes}).unique("code", maintain_order=True)
    values: dict[int, Any] = {}
    for cell, code in distinct.iter_rows():
        if code is None:
            continue
        try:
            values[code] = read(cell, contract.blanks)
        except CellError as error:
            rows = (codes == code).arg_true()[:few]
            if str(error) != "may not be blank":
                problems += [Problem(str(error), column.name, row) for row in rows]
            values[code] = None
        if few is not None and len(problems) >= _MAX_PROBLEMS:
            break
    cells = [values.get(code) for code in codes]
    if column.kind == "date":
        micros = [None if value is None else round(value * 1e6) for value in cells]
        return pl.Series(series.name, micros, dtype=pl.Int64).cast(pl.Datetime("us"))
    return pl.Series(series.name, cells, dtype=POLARS_TYPES[column.kind])
