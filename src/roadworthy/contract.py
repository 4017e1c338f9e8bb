"""The contract: which columns a model takes, what they may hold, and how a row is checked.

A contract is learned from the training table, travels in the bundle, and says the same to
every caller: `read_value` for JSON and Python, `read_text` for CSV. It is plain data and needs
nothing but msgspec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

import msgspec

from roadworthy.cells import (
    FALSE_WORDS,
    TRUE_WORDS,
    WHITE_SPACE,
    CellError,
    NumberFormat,
    TextOptions,
    canonical_text,
    epoch_seconds,
    iso_date,
    json_level,
    parse_date,
    parse_number,
    read_number,
)
from roadworthy.errors import Problem
from roadworthy.target import ClassValue as ClassValue
from roadworthy.target import Interval as Interval
from roadworthy.target import Target as Target
from roadworthy.target import Task as Task
from roadworthy.target import class_name as class_name

ColumnKind = Literal["number", "category", "boolean", "date", "text"]

_BLANK_TYPES = ("NAType", "NaTType")  # pandas' blanks, known by name: pandas is not needed


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column that the model takes.

    Attributes:
        name: As in the table's header.
        kind: How the column is used.
        dtype: How its values are written: what JSON type a client sends.
        blank_share: Share of blank cells in the training table, 0 to 1.
        minimum: Smallest training value (numbers; dates in seconds since 1970).
        maximum: Largest training value.
        quantiles: The 5, 25, 50, 75 and 95 % quantiles of the training values.
        categories: Level -> count in the training table, in no order to rely on.
        on_blank: `impute` answers with a warning, `error` refuses.
        on_unseen: `warn` answers and says so, `error` refuses a level not in `categories`.
        number_format: How numbers are written in CSV.
        date_format: strptime format of dates in the table; ISO 8601 is always taken.
    """

    name: str
    kind: ColumnKind
    dtype: Literal["integer", "number", "string", "boolean", "date", "datetime"]
    blank_share: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    quantiles: tuple[float, ...] = ()
    categories: dict[str, int] = {}
    on_blank: Literal["impute", "error"] = "impute"
    on_unseen: Literal["warn", "error"] = "warn"
    number_format: NumberFormat = NumberFormat()
    date_format: str | None = None

    @property
    def nullable(self) -> bool:
        """Whether the training table had a blank in this column."""
        return self.blank_share > 0

    def levels(self) -> list[str]:
        """The levels of a category, the most frequent first."""
        return sorted(self.categories, key=lambda level: (-self.categories[level], level))

    def read_value(self, value: Any, blanks: Sequence[str]) -> float | str | bool | None:
        """Check a JSON or Python value.

        Args:
            value: The cell.
            blanks: Lower-case texts that mean a blank, unless they are a known level.

        Returns:
            None for a blank, else a finite float (number; date in seconds since 1970 UTC), a
            level (category) or a bool.

        Raises:
            CellError: The value is of the wrong type or out of float64's range.
        """
        if hasattr(value, "item") and not isinstance(value, (str, bytes)):
            try:
                value = value.item()  # a NumPy scalar
            except ValueError:
                raise CellError("expected one value") from None
        is_nan = isinstance(value, float) and math.isnan(value)
        if value is None or is_nan or type(value).__name__ in _BLANK_TYPES:
            self.check_blank()
            return None
        if self.kind == "number":
            return read_number(value)
        if self.kind == "boolean":
            return self._boolean(value, blanks)
        if self.kind == "date":
            return self._date(value, blanks)
        return self._text(value, blanks) if self.kind == "text" else self._level(value, blanks)

    def read_text(self, text: str | None, blanks: Sequence[str]) -> float | str | bool | None:
        """Check a CSV cell; arguments, result and errors as `read_value`."""
        text = "" if text is None else text.strip(WHITE_SPACE)
        if self.kind == "category" and text in self.categories:
            return text
        if text.lower() in blanks:
            self.check_blank()
            return None
        if self.kind == "number":
            return parse_number(text, self.number_format)
        if self.kind in ("boolean", "category") and self.dtype in ("integer", "number"):
            return self._read_code(text, blanks)
        return self.read_value(text, blanks)

    def _read_code(self, text: str, blanks: Sequence[str]) -> float | str | bool | None:
        """A boolean or a level that is a number, however the text writes it: 1, 1.0, +1."""
        try:
            number = parse_number(text, self.number_format)
        except CellError:
            return self.read_value(text, blanks)
        return self.read_value(number, blanks)

    def check_blank(self) -> None:
        """Raise CellError when the contract refuses blanks."""
        if self.on_blank == "error":
            raise CellError("may not be blank")

    def _boolean(self, value: Any, blanks: Sequence[str]) -> bool | None:
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, float)) and value in (0, 1):
            return bool(value)
        if isinstance(value, str):
            word = value.strip(WHITE_SPACE).lower()
            if word in TRUE_WORDS:
                return True
            if word in FALSE_WORDS:
                return False
            if word in blanks:
                self.check_blank()
                return None
        raise CellError("expected true or false")

    def _date(self, value: Any, blanks: Sequence[str]) -> float | None:
        if isinstance(value, datetime):
            return epoch_seconds(value)
        if isinstance(value, date):
            return epoch_seconds(datetime(value.year, value.month, value.day))
        if isinstance(value, str):
            if value.strip(WHITE_SPACE).lower() in blanks:
                self.check_blank()
                return None
            return parse_date(value, self.date_format)
        raise CellError("expected a date as text, for example 2026-01-31 or 2026-01-31T08:30:00")

    def _text(self, value: Any, blanks: Sequence[str]) -> str | None:
        if not isinstance(value, str):
            raise CellError("expected text")
        text = value.strip(WHITE_SPACE)
        if text.lower() in blanks:
            self.check_blank()
            return None
        return text

    def _level(self, value: Any, blanks: Sequence[str]) -> str | None:
        if not isinstance(value, str):
            return self._level_of_number(value)
        text = value if value in self.categories else value.strip(WHITE_SPACE)
        if text not in self.categories:
            if text.lower() in blanks:
                self.check_blank()
                return None
            if "\0" in text:
                raise CellError("holds a NUL character")
            self.check_unseen()
        return text

    def _level_of_number(self, value: Any) -> str:
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not numeric or self.dtype == "string":
            raise CellError("expected text")
        if not abs(value) < 2**63:
            raise CellError("is not a number that a level can have")
        text = canonical_text(value)
        if text not in self.categories:
            self.check_unseen()
        return text

    def check_unseen(self) -> None:
        """Raise CellError when the contract refuses unseen levels."""
        if self.on_unseen == "error":
            raise CellError("is not one of the levels that the contract lists")


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns a model takes.

    Attributes:
        target: What is predicted.
        columns: The columns it takes, in the table's order.
        ignored: Columns of the training table that are accepted and not used.
        blanks: Lower-case texts that mean a blank in CSV.
        rows: Rows the contract was learned from.
        text: What the user said of the text file; holds for files to predict too.
    """

    target: Target
    columns: tuple[Column, ...]
    ignored: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ("",)
    rows: int = 0
    text: TextOptions = TextOptions()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that the model takes."""
        return tuple(column.name for column in self.columns)

    def read_row(
        self,
        row: Mapping[str, Any],
        problems: list[Problem],
        *,
        number: int | None = None,
        text: bool = False,
        absent: Literal["error", "blank"] = "error",
    ) -> list[float | str | bool | None]:
        """Check one row, value by value.

        Args:
            row: Column name -> cell.
            problems: What is wrong is appended here.
            number: The row's zero-based number, for messages.
            text: The cells are CSV texts.
            absent: Whether an absent column is an error or a blank.

        Returns:
            One value a column of the contract, as `Column.read_value` makes them; blank where
            a problem was found.
        """
        values: list[float | str | bool | None] = []
        for column in self.columns:
            value: float | str | bool | None = None
            try:
                if column.name in row:
                    read = column.read_text if text else column.read_value
                    value = read(row[column.name], self.blanks)
                elif absent == "error":
                    raise CellError("is absent")
                else:
                    column.read_value(None, self.blanks)
            except CellError as error:
                problems.append(Problem(str(error), column.name, number))
            values.append(value)
        return values

    def unknown_columns(self, row: Mapping[str, Any]) -> list[str]:
        """Names in the row that the training table did not have."""
        known = {*self.names, *self.ignored, self.target.name}
        return [name for name in row if name not in known]

    def json_schema(self, absent: Literal["error", "blank"] = "error") -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of one row."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {column.name: column_schema(column) for column in self.columns},
            "additionalProperties": True,
        }
        if absent == "error":
            schema["required"] = list(self.names)
        return schema

    def example(self) -> dict[str, Any]:
        """A typical row: median numbers, most frequent levels."""
        return {column.name: _example(column) for column in self.columns}


def column_schema(column: Column) -> dict[str, Any]:
    """JSON Schema of one column's cell."""
    types: dict[str, list[str]] = {
        "number": ["number"],
        "boolean": ["boolean"],
        "date": ["string"],
        "text": ["string"],
        "category": ["string"] if column.dtype == "string" else [column.dtype, "string"],
    }
    nullable = column.on_blank == "impute"
    allowed = types[column.kind] + (["null"] if nullable else [])
    schema: dict[str, Any] = {"type": allowed if len(allowed) > 1 else allowed[0]}
    if column.kind == "date":
        schema["format"] = "date" if column.dtype == "date" else "date-time"
    if column.kind == "category":
        schema["pattern"] = "^[^\\u0000]*$"
    if column.kind == "category" and column.on_unseen == "error":
        schema["enum"] = [*column.categories, *([None] if nullable else [])]
        if column.dtype != "string":
            schema["enum"] += [json_level(level) for level in column.categories]
    schema["examples"] = [_example(column)]
    schema["description"] = describe(column)
    return schema


def describe(column: Column) -> str:
    """One sentence on what the training table held in this column."""
    blank = f"{column.blank_share:.1%} blank" if column.nullable else "never blank"
    if column.kind == "category":
        return f"category, {len(column.categories)} levels, {blank} in training"
    if column.kind in ("boolean", "text") or column.minimum is None or column.maximum is None:
        return f"{column.kind}, {blank} in training"
    if column.kind == "date":
        low, high = iso_date(column.minimum), iso_date(column.maximum)
        return f"date from {low} to {high}, {blank} in training"
    return f"number from {column.minimum:,.10g} to {column.maximum:,.10g}, {blank} in training"


def _example(column: Column) -> Any:
    if column.kind == "category":
        level = next(iter(column.levels()), None)
        return level if level is None or column.dtype == "string" else json_level(level)
    if column.kind == "boolean":
        return True
    if column.kind == "text":
        return "a few words"
    if not column.quantiles:
        return None
    middle = column.quantiles[len(column.quantiles) // 2]
    if column.kind == "number":
        return int(middle) if column.dtype == "integer" and middle.is_integer() else middle
    moment = datetime.fromtimestamp(middle, UTC).replace(tzinfo=None, microsecond=0)
    return moment.date().isoformat() if column.dtype == "date" else moment.isoformat()
