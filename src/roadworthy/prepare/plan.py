"""FeaturePlan: how a row becomes a numeric vector, as plain data without code."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

_EPOCH = datetime(1970, 1, 1)

DatePart = Literal[
    "days", "year", "month", "day", "weekday", "yearday", "hour", "month_sin", "month_cos",
    "day_sin", "day_cos", "weekday_sin", "weekday_cos", "yearday_sin", "yearday_cos", "hour_sin",
    "hour_cos",
]  # fmt: skip
Scale = Literal["none", "standard", "min_max", "robust", "quantile", "log", "power"]
Read = Literal["number", "boolean", "category", "hash", "date", "word", "ngram", "blank"]

_PERIODS = {"month": 12, "day": 31, "weekday": 7, "yearday": 366, "hour": 24}
_WHOLE: dict[str, Callable[[datetime], int]] = {
    "year": lambda moment: moment.year,
    "month": lambda moment: moment.month,
    "day": lambda moment: moment.day,
    "weekday": lambda moment: moment.isoweekday(),
    "yearday": lambda moment: moment.timetuple().tm_yday,
    "hour": lambda moment: moment.hour,
}


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number of the vector.

    Attributes:
        column: The column it is read from.
        read: How: the number itself; a boolean as 0 or 1; a category through a table of levels
            or as a hash bucket; a part of a date; the tf-idf weight of a word or the weight of
            a bucket of hashed letter triples in a text; 1 for a blank and 0 for anything else.
        label: What tells it from other features of its column.
        blank: What a blank becomes; None leaves it blank (NaN) to the model, which decides:
            trees send it the better way at each branch, linear models impute it.
        part: The date part, for dates.
        levels: The table of a category's levels; the word, for words.
        values: What each level becomes; when empty, its position. The inverse document
            frequency, for words.
        unseen: What a level becomes that is not in the table.
        bucket: Which bucket of hashed triples.
        buckets: How many buckets there are.
        code: Whether the number is a mere code, whose size means nothing: a linear model gives
            each code a weight of its own.
        scale: How a model that needs its numbers on one scale brings this one there.
    """

    column: str
    read: Read
    label: str = ""
    blank: float | None = None
    part: DatePart | None = None
    levels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    unseen: float = -1.0
    bucket: int = 0
    buckets: int = 0
    code: bool = False
    scale: Scale = "standard"

    @property
    def name(self) -> str:
        """The feature's name for people."""
        return f"{self.column}:{self.label}" if self.label else self.column

    @property
    def fill(self) -> float:
        """What a blank becomes, as a float."""
        return math.nan if self.blank is None else self.blank

    def table(self) -> dict[str, float]:
        """Level -> value."""
        values = self.values or tuple(float(code) for code in range(len(self.levels)))
        return dict(zip(self.levels, values, strict=True))

    def reader(self) -> Callable[[str], float]:
        """What a level that is not blank becomes."""
        if self.read == "hash":
            return lambda level: float(hash_bucket(level, self.buckets))
        if self.read == "blank":
            return lambda _: 0.0
        table, unseen = self.table(), self.unseen
        return lambda level: table.get(level, unseen)


class FeaturePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole vector: float64, `width` numbers a row, features of a column side by side."""

    features: tuple[Feature, ...]

    @property
    def width(self) -> int:
        """Numbers in the vector."""
        return len(self.features)

    def by_column(self) -> dict[str, list[Feature]]:
        """The features of each column, in the vector's order."""
        columns: dict[str, list[Feature]] = {}
        for feature in self.features:
            columns.setdefault(feature.column, []).append(feature)
        return columns


def hash_bucket(text: str, buckets: int) -> int:
    """The bucket of a text: CRC-32 of its UTF-8 bytes, the same on every machine."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % buckets


def date_part(seconds: float, part: DatePart) -> float:
    """One part of a date.

    Args:
        seconds: Seconds since 1970, UTC.
        part: Which part; `days` are days since 1970 with their fraction, `weekday` is 1
            (Monday) to 7; `_sin` and `_cos` place a part on the circle of its period, so that
            December lies beside January.
    """
    if part == "days":
        return seconds / 86400.0
    moment = _EPOCH + timedelta(seconds=seconds)
    name, _, turn = part.partition("_")
    whole = _WHOLE[name](moment)
    return circle(name, turn)[whole] if turn else float(whole)


@functools.cache
def circle(part: str, turn: str) -> list[float]:
    """Sine or cosine of each value 0, 1, … of a date part."""
    wave = math.sin if turn == "sin" else math.cos
    period = _PERIODS[part]
    return [wave(2.0 * math.pi * value / period) for value in range(period + 1)]
