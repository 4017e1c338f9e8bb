"""Dates as nodes: from seconds since 1970 to parts of the date.

Whole numbers all the way: days since 1970 become year, month and day of the proleptic Gregorian
calendar by H. Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms", 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import Graph
from roadworthy.prepare.plan import Feature, circle

_MICROSECONDS = 1_000_000
_DAY = 86_400 * _MICROSECONDS


def write_date(graph: Graph, source: str, features: Sequence[Feature]) -> str:
    """Seconds since 1970, NaN for a blank: `[N, 1]` -> `[N, len(features)]`."""
    blank = graph.add("IsNaN", source)
    known = graph.add("Where", blank, graph.constant([[0.0]]), source)
    calendar = _Calendar(graph, known)
    parts = []
    for feature in features:
        if feature.part is None:
            parts.append(graph.add("Cast", blank, to=TensorProto.DOUBLE))
            continue
        made = calendar.part(feature.part)
        parts.append(graph.add("Where", blank, graph.constant([[feature.fill]]), made))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


class _Calendar:
    """The parts of some dates, each written once."""

    def __init__(self, graph: Graph, seconds: str) -> None:
        self._graph = graph
        self._seconds = seconds
        million = graph.constant([[float(_MICROSECONDS)]])
        rounded = graph.add("Round", graph.add("Mul", seconds, million))
        self._micros = graph.add("Cast", rounded, to=TensorProto.INT64)
        self._made: dict[str, str] = {}

    def part(self, name: str) -> str:
        """One part as the plan names it, double `[N, 1]`."""
        graph = self._graph
        if name == "days":
            return graph.add("Div", self._seconds, graph.constant([[86400.0]]))
        plain, _, turn = name.partition("_")
        whole = self._whole(plain)
        if not turn:
            return graph.add("Cast", whole, to=TensorProto.DOUBLE)
        return graph.add("Gather", graph.constant(circle(plain, turn)), whole, axis=0)

    def _whole(self, name: str) -> str:
        if name not in self._made:
            self._made[name] = _WHOLE[name](self)
        return self._made[name]

    def _operate(self, operation: str, left: str, right: str | int) -> str:
        if isinstance(right, int):
            right = self._graph.constant([[right]], np.int64)
        return self._graph.add(operation, left, right)

    def _floor(self, left: str, right: int) -> str:
        """Division that rounds down: ONNX's own rounds towards zero, its Mod is never negative."""
        less = self._operate("Sub", left, self._operate("Mod", left, right))
        return self._operate("Div", less, right)

    def days(self) -> str:
        """Days since 1970."""
        return self._floor(self._micros, _DAY)

    def hour(self) -> str:
        """Hour, 0 to 23."""
        return self._operate("Div", self._operate("Mod", self._micros, _DAY), _DAY // 24)

    def weekday(self) -> str:
        """Monday is 1: the first day of 1970 was a Thursday."""
        days = self._operate("Add", self._whole("days"), 3)
        return self._operate("Add", self._operate("Mod", days, 7), 1)

    def since_march(self) -> str:
        """Days since 1 March of year 0, by which the leap day is a year's last."""
        return self._operate("Add", self._whole("days"), 719_468)

    def day_of_era(self) -> str:
        """Day of an era of 400 years."""
        return self._operate("Mod", self._whole("since_march"), 146_097)

    def year_of_era(self) -> str:
        """Year of the era, from March."""
        day = self._whole("day_of_era")
        less = self._operate("Sub", day, self._operate("Div", day, 1460))
        less = self._operate("Add", less, self._operate("Div", day, 36_524))
        less = self._operate("Sub", less, self._operate("Div", day, 146_096))
        return self._operate("Div", less, 365)

    def march_day(self) -> str:
        """Day of the year from 1 March, 0 being the first."""
        return self._operate(
            "Sub", self._whole("day_of_era"), self._before(self._whole("year_of_era"))
        )

    def _before(self, year: str) -> str:
        """Days of an era before one of its years."""
        days = self._operate("Mul", year, 365)
        days = self._operate("Add", days, self._operate("Div", year, 4))
        return self._operate("Sub", days, self._operate("Div", year, 100))

    def march_month(self) -> str:
        """Month from March, 0 to 11."""
        day = self._operate("Mul", self._whole("march_day"), 5)
        return self._operate("Div", self._operate("Add", day, 2), 153)

    def day(self) -> str:
        """Day of the month, from 1."""
        month = self._operate("Mul", self._whole("march_month"), 153)
        before = self._operate("Div", self._operate("Add", month, 2), 5)
        return self._operate("Add", self._operate("Sub", self._whole("march_day"), before), 1)

    def month(self) -> str:
        """Month, from 1."""
        month = self._operate("Mod", self._operate("Add", self._whole("march_month"), 2), 12)
        return self._operate("Add", month, 1)

    def year(self) -> str:
        """Year of the calendar."""
        era = self._floor(self._whole("since_march"), 146_097)
        year = self._operate("Add", self._whole("year_of_era"), self._operate("Mul", era, 400))
        turned = self._operate("GreaterOrEqual", self._whole("march_month"), 10)
        return self._operate("Add", year, self._graph.add("Cast", turned, to=TensorProto.INT64))

    def yearday(self) -> str:
        """Day of the year, from 1."""
        day, year = self._whole("march_day"), self._whole("year")
        fourth = self._operate("Equal", self._operate("Mod", year, 4), 0)
        hundredth = self._operate("Equal", self._operate("Mod", year, 100), 0)
        four_hundredth = self._operate("Equal", self._operate("Mod", year, 400), 0)
        common = self._operate("And", hundredth, self._graph.add("Not", four_hundredth))
        leap = self._operate("And", fourth, self._graph.add("Not", common))
        leap = self._graph.add("Cast", leap, to=TensorProto.INT64)
        spring = self._operate("Add", self._operate("Add", day, 60), leap)
        winter = self._operate("Sub", day, 305)
        return self._graph.add("Where", self._operate("Less", day, 306), spring, winter)


_WHOLE: dict[str, Callable[[_Calendar], str]] = {
    "year": _Calendar.year,
    "month": _Calendar.month,
    "day": _Calendar.day,
    "weekday": _Calendar.weekday,
    "yearday": _Calendar.yearday,
    "hour": _Calendar.hour,
    "days": _Calendar.days,
    "since_march": _Calendar.since_march,
    "day_of_era": _Calendar.day_of_era,
    "year_of_era": _Calendar.year_of_era,
    "march_day": _Calendar.march_day,
    "march_month": _Calendar.march_month,
}
