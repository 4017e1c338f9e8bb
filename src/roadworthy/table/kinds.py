"""Infer a column's kind and bring its cells into that kind's type.

Text becomes numbers (decimal comma, thousands, a currency or percent sign), booleans (yes/no,
true/false, 0/1), dates (ISO and the usual day-month orders) or stays text. Nothing is guessed in
silence: every column gets a reason that the summary shows.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
import polars as pl

from roadworthy.cells import (
    END_SECOND,
    FALSE_WORDS,
    FIRST_SECOND,
    NUMBER_SHAPES,
    TRUE_WORDS,
    CellError,
    NumberFormat,
    canonical_text,
    found_unit,
    parse_date,
    unit_pattern,
)
from roadworthy.errors import InputError
from roadworthy.project import ColumnOptions, Kind

DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S%z",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%B %d, %Y",
)
_ID_NAME = re.compile(r"(^|[_\-. ])(id|uuid|guid|key|index|rownames?|record|nr|no|number)$", re.I)
_TIME_MARKS = ("%H", "%I", "%p", "%M", "%S", "%T", "%R", "%r", "%X", "%c")
_TEXT_WORDS = 3.0  # mean words a cell from which a column of differing cells is text
_MANY = 50  # distinct values below which a column is never taken for an identifier


class Typed(NamedTuple):
    """One column after inference.

    Attributes:
        series: Float64 or Int64 (number), Boolean, Datetime (date) or String.
        kind: What the column is taken for.
        dtype: How its values are written, as in `contract.Column`.
        reason: Why it is taken for that.
        number_format: How numbers were written in the text.
        date_format: How dates were written in the text, for Python's strptime; None where only
            ISO 8601 reads them.
    """

    series: pl.Series
    kind: Kind
    dtype: str
    reason: str
    number_format: NumberFormat = NumberFormat()
    date_format: str | None = None


def infer(series: pl.Series, *, text: bool, semicolons: bool, options: ColumnOptions) -> Typed:
    """Infer one column.

    Args:
        series: The cells; strings are already trimmed and blanks are null.
        text: The cells come from a text file, in which numbers too are strings.
        semicolons: The file is cut at semicolons, as files with decimal commas are.
        options: What the user says of the column.

    Returns:
        The column in its type, with its kind and the reason.

    Raises:
        InputError: The user names a kind that the cells do not fit.
    """
    typed = _type(series, text, semicolons, options)
    if options.kind is not None and options.kind != typed.kind:
        return _force(typed, series, options.kind)
    if options.kind is not None:
        return typed._replace(reason="said in the project file")
    return typed


def _type(series: pl.Series, text: bool, semicolons: bool, options: ColumnOptions) -> Typed:
    if series.null_count() == len(series):
        return Typed(series.cast(pl.String), "constant", "string", "every cell is blank")
    if series.dtype == pl.String:
        typed = _from_text(series, text, semicolons, options)
    elif series.dtype == pl.Boolean:
        typed = Typed(series, "boolean", "boolean", "booleans")
    elif series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        typed = _from_temporal(series)
    elif series.dtype.is_numeric():
        typed = _from_number(series, NumberFormat())
    else:
        blank = pl.Series(series.name, [None] * len(series), dtype=pl.String)
        return Typed(blank, "constant", "string", f"cells of type {series.dtype} are not used")
    if typed.series.drop_nulls().n_unique() == 1 and typed.kind != "text":
        return typed._replace(kind="constant", reason="one value in every row")
    return typed


def _from_number(series: pl.Series, written: NumberFormat) -> Typed:
    infinite = 0
    if series.dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64):
        number = series.cast(pl.Int64)
    else:
        number = series.cast(pl.Float64)
        infinite = int((~number.is_finite()).sum() or 0)
        number = number.set(~number.is_finite(), None)
        if number.null_count() == len(number):
            return Typed(number, "constant", "number", "every cell is blank")
        whole = bool((number.drop_nulls() % 1 == 0).all())
        if whole and bool((number.abs() < 2**53).all()):
            number = number.cast(pl.Int64)
    dtype = "integer" if number.dtype == pl.Int64 else "number"
    if dtype == "integer":
        if set(number.drop_nulls().unique().head(3)) == {0, 1}:
            return Typed(number.cast(pl.Boolean), "boolean", "integer", "only 0 and 1", written)
        if reason := _identifier_numbers(number):
            return Typed(number, "identifier", dtype, reason, written)
    marks = f", decimal mark {written.decimal!r}" if written.thousands else ""
    marks += f", written with {written.unit!r}" if written.unit else ""
    lost = f", {infinite:,} infinite or NaN cells count as blank" if infinite else ""
    return Typed(number, "number", dtype, f"{dtype}s{marks}{lost}", written)


def _identifier_numbers(number: pl.Series) -> str | None:
    values = number.drop_nulls()
    if len(values) < _MANY or values.n_unique() < len(values):
        return None
    if bool((values.diff().drop_nulls() == 1).all()):
        return "counts the rows one by one"
    return (
        "a different number in every row, and named like a key"
        if _ID_NAME.search(number.name)
        else None
    )


def _from_temporal(series: pl.Series) -> Typed:
    if series.dtype == pl.Date:
        return _bounded(Typed(series.cast(pl.Datetime("us")), "date", "date", "dates"))
    return _bounded(Typed(naive_utc(series), "date", "datetime", "dates with a time"))


def naive_utc(moments: pl.Series) -> pl.Series:
    """Datetimes in microseconds without a time zone, those with one brought to UTC."""
    if getattr(moments.dtype, "time_zone", None) is not None:
        moments = moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return moments.cast(pl.Datetime("us"))


def out_of_calendar(moments: pl.Series) -> pl.Series:
    """Which datetimes lie outside the years 1 to 9999, beyond which no client can write a date."""
    seconds = moments.cast(pl.Int64).cast(pl.Float64) / 1e6
    return ~seconds.is_between(FIRST_SECOND, END_SECOND, closed="left")


def _bounded(typed: Typed) -> Typed:
    beyond = out_of_calendar(typed.series).fill_null(value=False)
    if not beyond.any():
        return typed
    lost = f"{typed.reason}; {int(beyond.sum()):,} outside the years 1 to 9999 count as blank"
    return typed._replace(series=typed.series.set(beyond, None), reason=lost)


def _from_text(series: pl.Series, text: bool, semicolons: bool, options: ColumnOptions) -> Typed:
    values = series.drop_nulls()
    plain = NumberFormat()
    cast = cast_number(series, plain) if text and options.date_format is None else None
    if cast is not None and not _has_codes(values):
        return _from_number(cast, plain)
    words = (set(TRUE_WORDS) | set(FALSE_WORDS)) - {"0", "1"}
    levels = set(values.head(1000).str.to_lowercase().unique())
    if levels <= words:
        levels = set(values.str.to_lowercase().unique())
    if len(levels) == 2 and levels <= words and len(levels & set(TRUE_WORDS)) == 1:
        truth = series.str.to_lowercase().is_in(list(TRUE_WORDS))
        reason = f"only {' and '.join(sorted(values.unique().head(4)))}"
        return Typed(truth, "boolean", "string", reason)
    said = options.date_format
    if text and said is None and (found := _numbers(series, values, semicolons)) is not None:
        return _from_number(found[0], found[1])
    if (dated := _dates(series, values, said)) is not None:
        return _bounded(dated)
    return _words(series, values)


def _numbers(
    series: pl.Series, values: pl.Series, semicolons: bool
) -> tuple[pl.Series, NumberFormat] | None:
    head = values.head(2000)
    if _has_codes(values):
        return None
    orders = [NumberFormat(",", "."), NumberFormat(".", ",")]
    formats = orders if semicolons else orders[::-1]
    if unit := found_unit(str(values[0])):
        if not bool(values.str.contains(unit, literal=True).all()):
            return None  # 12 % and 0.12 in one column are two things
        formats = [NumberFormat(unit=unit), *formats]
        formats = [msgspec.structs.replace(each, unit=unit) for each in formats]
    for written in formats:
        for part in (head, series):
            cast = cast_number(part, written)
            if cast is None:
                break
        else:
            assert cast is not None
            return cast, written
    return None


def _has_codes(values: pl.Series) -> bool:
    """Whether there are cells like 0123, which are codes and not numbers."""
    return bool(values.head(2000).str.contains(r"^0\d+$").any())


def cast_number(series: pl.Series, written: NumberFormat) -> pl.Series | None:
    """Texts as numbers; None when one is not written so."""
    if written.unit:
        series = series.str.replace(unit_pattern(written.unit), "${1}${2}")
    if written.thousands:
        shape = f"^(?:{NUMBER_SHAPES[written.thousands]})$"
        if not bool(series.drop_nulls().str.contains(shape).all()):
            return None
        series = series.str.replace_all(written.thousands, "", literal=True)
        series = series.str.replace_all(written.decimal, ".", literal=True)
    for dtype in (pl.Int64, pl.Float64):
        cast = series.cast(dtype, strict=False)
        if cast.null_count() == series.null_count():
            return cast
    return None


def _dates(series: pl.Series, values: pl.Series, said: str | None) -> Typed | None:
    head = values.head(1000)
    if said is None and not bool(head.head(20).str.contains(r"\d").all()):
        return None
    fitting = [
        form for form in ((said,) if said else DATE_FORMATS) if _strptime(head, form) is not None
    ]
    parsed = [
        (form, date)
        for form in fitting
        if (date := _strptime(series, form)) is not None and _read_alike(series, date, form)
    ]
    if not parsed:
        if said:
            raise InputError(
                f"cells do not fit date_format {said!r}, or it is read in more than one way",
                where=f"column {series.name!r}",
                fix="use Python's strptime directives, with a four-digit year",
            )
        return _mixed_dates(series)
    form, moment = parsed[0]
    if len(parsed) > 1 and form.startswith("%m/%d"):
        also = f"; could also be {parsed[1][0]}: set date_format in [data.columns]"
    else:
        also = ""
    dtype = "datetime" if any(mark in form for mark in _TIME_MARKS) else "date"
    return Typed(
        moment,
        "date",
        dtype,
        f"dates written {form}{also}",
        date_format=_python_format(form),
    )


def _mixed_dates(series: pl.Series) -> Typed | None:
    """Dates in ISO 8601 of which some have a time or an offset and some have none."""
    if not bool(series.drop_nulls().str.contains(r"^\d{4}-\d\d-\d\d").all()):
        return None
    read = (_cells_as(series, form) for form in DATE_FORMATS if form.startswith("%Y-"))
    moment = pl.DataFrame([each.alias(str(n)) for n, each in enumerate(read)]).select(
        pl.coalesce(pl.all()).alias(series.name)
    )[series.name]
    if moment.null_count() > series.null_count() or not _read_alike(series, moment, "%.f"):
        return None
    reason = "dates in ISO 8601, some with a time and some without; without an offset as UTC"
    return Typed(moment, "date", "datetime", reason)


def _python_format(form: str) -> str | None:
    """The same for Python's strptime; None for fractions, which ISO 8601 reads."""
    return None if "%.f" in form else form


def _read_alike(series: pl.Series, moments: pl.Series, form: str) -> bool:
    """Whether requests, which Python reads, will be read as this table was."""
    sample = pl.DataFrame({"text": series, "moment": moments}).drop_nulls().unique("text").head(200)
    for text, micros in sample.with_columns(pl.col("moment").cast(pl.Int64)).iter_rows():
        try:
            if parse_date(text, _python_format(form)) != micros / 1e6:
                return False
        except CellError:
            if FIRST_SECOND <= micros / 1e6 < END_SECOND:
                return False
    return True


def _strptime(series: pl.Series, form: str) -> pl.Series | None:
    """A column of texts as moments; None when a cell is not written so."""
    try:
        moment = _cells_as(series, form)
    except pl.exceptions.PolarsError:
        return None
    return moment if moment.null_count() == series.null_count() else None


def _cells_as(series: pl.Series, form: str) -> pl.Series:
    """Texts as moments in UTC, blank where they are not written so."""
    zone = "UTC" if "%z" in form else None
    moment = series.str.strptime(pl.Datetime("us", zone), form, strict=False)
    return moment.dt.replace_time_zone(None) if zone else moment


def _words(series: pl.Series, values: pl.Series) -> Typed:
    distinct = values.n_unique()
    share = distinct / len(values)
    words = float((values.head(2000).str.count_matches(r"\s+") + 1).mean() or 1)  # type: ignore[arg-type]
    if distinct > _MANY and share > 0.3 and words >= _TEXT_WORDS:
        return Typed(series, "text", "string", f"{words:.0f} words a cell, {share:.0%} different")
    if distinct > _MANY and share > 0.5:
        return Typed(series, "identifier", "string", f"{share:.0%} of the cells are different")
    return Typed(series, "category", "string", f"{distinct:,} levels")


def _force(typed: Typed, series: pl.Series, kind: Kind) -> Typed:
    reason = "said in the project file"
    cells, text = typed.series, series.dtype == pl.String
    zero_one = cells.dtype == pl.Boolean and typed.dtype == "integer"
    if kind in ("identifier", "constant"):
        return typed._replace(kind=kind, reason=reason)
    if kind == "text" and text:
        return Typed(series, "text", "string", reason)
    if kind == "category" and (text or cells.dtype.is_numeric() or zero_one):
        if text and typed.dtype not in ("integer", "number"):
            return Typed(series, "category", "string", reason)
        large = cells.dtype.is_float() and bool((cells.abs() >= 2**53).any())
        if not large:
            levels = level_text(cells)
            return Typed(levels, "category", typed.dtype, reason, typed.number_format)
    if kind == "number" and (cells.dtype.is_numeric() or zero_one):
        number = cells.cast(pl.Int64) if zero_one else cells
        return Typed(number, "number", typed.dtype, reason, typed.number_format)
    if (
        kind == "boolean"
        and cells.dtype.is_numeric()
        and set(cells.drop_nulls().unique().head(3)) <= {0, 1}
    ):
        truth = cells.cast(pl.Boolean)
        return Typed(truth, "boolean", "integer", reason, typed.number_format)
    raise InputError(
        f"the cells cannot be taken for kind {kind!r}: they look like {typed.kind} "
        f"({typed.reason})",
        where=f"column {series.name!r}",
        fix="leave out kind in [data.columns], or clean the column (date_format for dates)",
    )


def level_text(numbers: pl.Series) -> pl.Series:
    """The levels of a category of numbers as text; 3 and 3.0 are the level `3`."""
    if not numbers.dtype.is_float():
        return numbers.cast(pl.Int64).cast(pl.String)
    levels = numbers.drop_nulls().unique()
    texts = pl.Series([canonical_text(level) for level in levels], dtype=pl.String)
    return numbers.replace_strict(levels, texts, default=None, return_dtype=pl.String)
