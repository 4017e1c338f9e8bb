"""One cell: numbers, dates and levels from texts and from Python values.

What a cell means is decided here once, for CSV, JSON and Python alike. The messages of a CellError
hold none of the caller's data.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

TRUE_WORDS = ("true", "yes", "y", "t", "1", "on")
FALSE_WORDS = ("false", "no", "n", "f", "0", "off")
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space, which is what the table's reader trims; `str.strip()` alone trims more."""
EPOCH = datetime(1970, 1, 1)
FIRST_SECOND = (datetime(1, 1, 1) - EPOCH).total_seconds()
END_SECOND = (datetime(9999, 12, 31) - EPOCH).total_seconds() + 86400.0


class CellError(ValueError):
    """A cell that its column cannot take; the message holds none of the caller's data."""


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user said of a text file; None is found out anew for each file."""

    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None


class NumberFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How numbers are written in text.

    Attributes:
        decimal: The decimal mark, `.` or `,`.
        thousands: The mark between thousands, or an empty string.
        unit: What stands before or behind them, as `€` or `%`; a number without it is the same.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""


NUMBER_SHAPES = {
    ",": r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?|[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    ".": r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?|[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?",
}
"""What numbers look like, by their mark between thousands: 1,5 is no 15 where commas part them."""


_UNIT = re.compile(r"%|[$¢£¤¥\u09f2\u09f3\u0e3f\u20a0-\u20c0]|\b(?:EUR|USD|GBP|CHF|JPY|CNY|INR)\b")


def found_unit(text: str) -> str:
    """The percent sign or currency in a text; empty when there is none."""
    found = _UNIT.search(text)
    return found[0] if found else ""


@functools.cache
def unit_pattern(unit: str) -> str:
    """A pattern whose groups are the sign and the digits of a number with or without its unit."""
    named, space = re.escape(unit), f"[{WHITE_SPACE}]*"
    return f"^([+-]?){space}(?:{named})?{space}(.*?){space}(?:{named})?$"


def canonical_text(value: float) -> str:
    """A number as the text of a category level: 3 and 3.0 are the level `3`."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def json_level(level: str) -> float | int | str:
    """A level of a numeric category as the number that a client sends."""
    try:
        number = float(level)
    except ValueError:
        return level
    return int(level) if number.is_integer() else number


def parse_number(text: str, written: NumberFormat) -> float:
    """A finite float from a text.

    Raises:
        CellError: The text is not a number in this format, or beyond float64.
    """
    plain = text.strip(WHITE_SPACE)
    if written.unit and (found := re.match(unit_pattern(written.unit), plain)):
        plain = found[1] + found[2]
    if (shape := NUMBER_SHAPES.get(written.thousands)) is not None:
        if re.fullmatch(shape, plain) is None:
            like = "1.234,5" if written.decimal == "," else "1,234.5"
            raise CellError(f"expected a number written like {like}")
        plain = plain.replace(written.thousands, "").replace(written.decimal, ".")
    try:
        number = float(plain) if "_" not in plain else math.nan
    except ValueError:
        raise CellError("expected a number") from None
    if not math.isfinite(number):
        raise CellError("is not a finite number")
    return number


def parse_date(text: str, written: str | None) -> float:
    """Seconds since 1970 (UTC; a text without offset is taken as UTC) from a text.

    Args:
        text: ISO 8601, or what `written` says.
        written: strptime format, or None.

    Raises:
        CellError: The text is not a date of the years 1 to 9999.
    """
    plain = text.strip(WHITE_SPACE)
    readers = [datetime.fromisoformat]
    if written is not None:
        readers.append(lambda text: datetime.strptime(text, written))
        if not written.startswith("%Y-"):
            readers.reverse()
    for read in readers:
        try:
            moment = read(plain)
        except ValueError:
            continue
        return epoch_seconds(moment)
    like = datetime(2026, 1, 31, 8, 30).strftime(written or "%Y-%m-%d")
    raise CellError(f"expected a date, for example {like}")


def epoch_seconds(moment: datetime) -> float:
    """Seconds since 1970; a moment without time zone is taken as UTC.

    Raises:
        CellError: In UTC the moment lies outside the years 1 to 9999.
    """
    try:
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        seconds = (moment - EPOCH).total_seconds()
    except OverflowError:
        seconds = math.inf
    if not FIRST_SECOND <= seconds < END_SECOND:  # rounding may reach the year 10000
        raise CellError("is a date outside the years 1 to 9999")
    return seconds


def iso_date(seconds: float) -> str:
    """The UTC date of seconds since 1970, in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def read_number(value: Any) -> float:
    """A finite float from a JSON or Python number; CellError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise CellError("expected a number")
    try:
        number = float(value)
    except OverflowError:
        raise CellError("is a number beyond the range of a 64-bit float") from None
    if not math.isfinite(number):
        if isinstance(value, Decimal) and value.is_finite():
            raise CellError("is a number beyond the range of a 64-bit float")
        raise CellError("is not a finite number")
    return number
