"""Rows of a database's driver as typed columns, and parts of a table brought to one type each."""

from __future__ import annotations

import datetime
import ipaddress
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from roadworthy.errors import InputError

_ADDRESSES = (
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Interface, ipaddress.IPv6Interface,
    ipaddress.IPv4Network, ipaddress.IPv6Network, uuid.UUID,
)  # fmt: skip
_NUMBERS = (int, float, Decimal)
_SIMPLE: dict[type, Any] = {
    bool: pl.Boolean,
    datetime.date: pl.Date,
    datetime.time: pl.Time,
    datetime.timedelta: pl.Duration("us"),
    str: pl.String,
}
_EXACT = 1 << 53


class Cells(NamedTuple):
    """A column of some rows.

    Attributes:
        series: The cells; of type Null when all are blank.
        rounded: Whether a number has more digits than a float64.
        mixed: Whether they are texts of which some were something else.
        odd: What the cells are, when a table cannot hold them.
    """

    series: pl.Series
    rounded: bool = False
    mixed: bool = False
    odd: str | None = None


def type_cells(name: str, cells: Sequence[Any]) -> Cells:
    """Type a column by what the driver made of its cells.

    Numbers of any precision become Int64, or Float64; moments with a zone are brought to UTC; what
    is neither number, text, truth nor time is odd.

    Args:
        name: Of the column.
        cells: Its cells, None where they are NULL.

    Raises:
        InputError: A moment is beyond what a column can hold.
    """
    kinds = {type(cell) for cell in cells}
    kinds.discard(type(None))
    if not kinds:
        return Cells(pl.Series(name, [None] * len(cells), dtype=pl.Null))
    try:
        if len(kinds) == 1 and (found := _SIMPLE.get(next(iter(kinds)))) is not None:
            return Cells(pl.Series(name, cells, dtype=found))
        if kinds == {datetime.datetime}:
            return Cells(_moments(name, cells))
    except (OverflowError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"cannot be read: {(str(error).splitlines() or [''])[0]:.200}",
            where=f"column {name!r}",
        ) from None
    if kinds <= set(_NUMBERS):
        return _numbers(name, cells, kinds)
    if all(issubclass(kind, (str, *_ADDRESSES, *_NUMBERS)) for kind in kinds):
        texts = [None if cell is None else str(cell) for cell in cells]
        return Cells(pl.Series(name, texts, dtype=pl.String), mixed=len(kinds) > 1)
    odd = sorted(kind.__name__ for kind in kinds)
    blank = pl.Series(name, [None] * len(cells), dtype=pl.Null)
    return Cells(blank, odd=" and ".join(odd))


def _moments(name: str, cells: Sequence[Any]) -> pl.Series:
    zoned = [cell is not None and cell.tzinfo is not None for cell in cells]
    if not any(zoned):
        return pl.Series(name, cells, dtype=pl.Datetime("us"))
    utc = [
        cell.astimezone(datetime.UTC) if zone else cell
        for cell, zone in zip(cells, zoned, strict=True)
    ]
    return pl.Series(name, utc, dtype=pl.Datetime("us", "UTC"))


def _numbers(name: str, cells: Sequence[Any], kinds: set[type]) -> Cells:
    if kinds == {int} and all(cell is None or -(1 << 63) <= cell < 1 << 63 for cell in cells):
        return Cells(pl.Series(name, cells, dtype=pl.Int64))
    floats = [None if cell is None else float(cell) for cell in cells]
    rounded = any(
        not _same(cell, number)
        for cell, number in zip(cells, floats, strict=True)
        if number is not None
    )
    return Cells(pl.Series(name, floats, dtype=pl.Float64), rounded)


def _same(cell: Any, number: float) -> bool:
    """Whether the number is written as the cell is."""
    if isinstance(cell, float) or number != number:
        return True
    if isinstance(cell, int):
        return abs(cell) <= _EXACT or cell == int(number)
    if number in (float("inf"), float("-inf")):
        return bool(cell.is_infinite())
    return bool(Decimal(repr(number)) == cell)


def common_type(types: Sequence[Any]) -> Any:
    """The type that holds all of them: of the parts of a column, in which a cell may be anything.

    Args:
        types: Of a column in each part.
    """
    found = [each for each in dict.fromkeys(types) if each != pl.Null]
    if len(found) <= 1:
        return found[0] if found else pl.Null
    if set(found) <= {pl.Int64, pl.Float64}:
        return pl.Float64
    return pl.String
