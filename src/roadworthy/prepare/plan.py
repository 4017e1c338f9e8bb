"""FeaturePlan: how a row becomes a numeric vector, as plain data without code."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

_EPOCH = datetime(1970, 1, 1)

DatePart = Literal["days", "year", "month", "day", "weekday", "yearday", "hour"]

DATE_PARTS: dict[DatePart, Callable[[datetime, float], float]] = {
    "days": lambda moment, seconds: seconds / 86400.0,
    "year": lambda moment, seconds: float(moment.year),
    "month": lambda moment, seconds: float(moment.month),
    "day": lambda moment, seconds: float(moment.day),
    "weekday": lambda moment, seconds: float(moment.isoweekday()),
    "yearday": lambda moment, seconds: float(moment.timetuple().tm_yday),
    "hour": lambda moment, seconds: float(moment.hour),
}


Scale = Literal["none", "standard", "min_max", "robust", "quantile", "log", "power"]


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number of the vector.

    Attributes:
        column: The column it is read from.
        read: How: the number itself, a boolean as 0 or 1, a category through a table of levels,
            a part of a date.
        blank: What a blank becomes; None leaves it blank (NaN) to the model, which decides:
            trees send it the better way at each branch, linear models impute it.
        part: The date part, for dates.
        levels: The category table.
        values: What each level becomes; when empty, its position.
        unseen: What a level becomes that is not in the table.
        code: Whether the number is a mere code, whose size means nothing: a linear model gives
            each code a weight of its own.
        scale: How a model that needs its numbers on one scale brings this one there.
    """

    column: str
    read: Literal["number", "boolean", "category", "date"]
    blank: float | None = None
    part: DatePart | None = None
    levels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    unseen: float = -1.0
    code: bool = False
    scale: Scale = "standard"

    @property
    def name(self) -> str:
        """The feature's name for people."""
        return f"{self.column}:{self.part}" if self.part else self.column

    @property
    def fill(self) -> float:
        """What a blank becomes, as a float."""
        return math.nan if self.blank is None else self.blank


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


def date_part(seconds: float, part: DatePart) -> float:
    """One part of a date.

    Args:
        seconds: Seconds since 1970, UTC.
        part: Which part; `days` are days since 1970 with their fraction, `weekday` is 1
            (Monday) to 7.
    """
    return DATE_PARTS[part](_EPOCH + timedelta(seconds=seconds), seconds)
