"""The plan for whole columns of a request: each distinct cell is read once, numbers all at once.

What a cell means is `Column.read_value` and `read_text`'s business, here as everywhere; this only
saves asking the same thing twice. NumPy alone is used: a server has no data frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.cells import CellError, NumberFormat
from roadworthy.contract import Column, Contract
from roadworthy.errors import Problem
from roadworthy.prepare.plan import Feature, FeaturePlan, date_part
from roadworthy.prepare.rows import BLANK, RANGE, UNSEEN, Note

MAX_PROBLEMS = 50
_KINDS = {"number": "number", "category": "category", "boolean": "boolean", "date": "date"}
_NOTES = (None, BLANK, UNSEEN, RANGE)
_NUMBERS = {int, float, type(None)}
_read_numbers = msgspec.json.Decoder(list[float | None]).decode
_ALIKE = (_NUMBERS, {str, type(None)}, {bool, type(None)})
"""Types among which equal cells mean the same; True and 1 do not."""


class Coded(NamedTuple):
    """A column as positions in a list of its distinct cells."""

    cells: Sequence[Any]
    codes: NDArray[np.int64]


Cells = Sequence[Any] | NDArray[np.float64] | Coded
"""A column: its cells one by one, numbers with NaN for a blank, or coded."""


class Inputs(NamedTuple):
    """Rows as they were sent, for the prediction log.

    Attributes:
        cells: Columns by name, or one record a row with fields `c0`, `c1`, … by the contract.
        text: Whether the cells of columns are texts of CSV.
        size: Bytes that they came in; None where nobody knows.
    """

    cells: Mapping[str, Cells] | Sequence[Any]
    text: bool = False
    size: int | None = None


class Encoded(NamedTuple):
    """Rows as the core takes them.

    Attributes:
        matrix: `[N, width]`, float64.
        noticed: What was noticed, with the numbers of the rows.
        unknown: Names of columns that the training table did not have.
        inputs: What they were made of.
    """

    matrix: NDArray[np.float64]
    noticed: dict[Note, Sequence[int]]
    unknown: tuple[str, ...] = ()
    inputs: Inputs = Inputs(())


class ColumnEncoder:
    """Encodes columns by a contract and its plan.

    Args:
        contract: The columns.
        plan: The vector.

    Raises:
        ValueError: The plan reads a column in a way that is only known for single rows.
    """

    def __init__(self, contract: Contract, plan: FeaturePlan) -> None:
        self.contract = contract
        features = plan.by_column()
        self._features = [features[column.name] for column in contract.columns]
        for column, its in zip(contract.columns, self._features, strict=True):
            if any(feature.read != _KINDS.get(column.kind) for feature in its):
                raise ValueError(column.kind)
            if column.kind == "category" and len(its) > 1:
                raise ValueError("a level that becomes several numbers")
        self._width = plan.width
        self._codes = [its[0].table() for its in self._features]
        self._known = [self._known_levels(place) for place in range(len(self._features))]
        self._parses = [self._is_plain(place) for place in range(len(self._features))]
        self._longest = max((len(level) for known in self._known for level in known), default=0)

    def encode(
        self, table: Mapping[str, Cells], rows: int, *, text: bool = False, limit: int = 2**31
    ) -> Encoded:
        """Encode a table.

        Args:
            table: Column name -> its cells; absent columns are blank throughout.
            rows: Number of rows.
            text: The cells are CSV texts.
            limit: Characters that one cell may hold.

        Raises:
            ColumnProblems: Cells break the contract.
        """
        matrix = np.empty((rows, self._width))
        levels = self._known if limit >= self._longest else [{}] * len(self._known)
        noticed: dict[Note, Sequence[int]] = {}
        problems: list[Problem] = []
        start = 0
        for place, column in enumerate(self.contract.columns):
            end = start + len(self._features[place])
            cells = table.get(column.name, Coded([None], np.zeros(rows, np.int64)))
            reader = _Reader(self, place, levels[place], text, limit, noticed, problems)
            matrix[:, start:end] = reader.column(cells)
            start = end
        if problems:
            raise ColumnProblems(problems)
        known = {*self.contract.names, *self.contract.ignored, self.contract.target.name}
        unknown = tuple(name for name in table if name not in known)
        return Encoded(matrix, noticed, unknown)

    def features(self, place: int) -> list[Feature]:
        """The features of a column."""
        return self._features[place]

    def codes(self, place: int) -> dict[str, float]:
        """The codes of a category's levels."""
        return self._codes[place]

    def parses(self, place: int) -> bool:
        """Whether a column's numbers are written as JSON has them, and nothing else is one."""
        return self._parses[place]

    def _is_plain(self, place: int) -> bool:
        column, blanks = self.contract.columns[place], self.contract.blanks
        plain = column.kind == "number" and column.number_format == NumberFormat()
        return plain and "" in blanks and not any(map(_is_number, blanks))

    def _known_levels(self, place: int) -> dict[str, float]:
        """What each text becomes that is a level as it stands: there is nothing to notice in it."""
        column = self.contract.columns[place]
        if column.kind != "category":
            return {}
        codes, unseen = self._codes[place], self._features[place][0].unseen
        blanks = self.contract.blanks
        return {
            level: codes.get(level, unseen)
            for level in column.categories
            if column.read_text(level, blanks) == level == column.read_value(level, blanks)
        }


class ColumnProblems(Exception):  # noqa: N818 (it becomes a problem document)
    """Cells that break the contract."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(str(problems[0]))
        self.problems = problems


def too_long(limit: int) -> str:
    """What is said of a text above its limit."""
    return f"is longer than {limit:,} characters"


class _Reader:
    """Reads one column of one request."""

    def __init__(
        self,
        encoder: ColumnEncoder,
        place: int,
        known: Mapping[str, float],
        text: bool,
        limit: int,
        noticed: dict[Note, Sequence[int]],
        problems: list[Problem],
    ) -> None:
        self.column_of: Column = encoder.contract.columns[place]
        self.blanks = encoder.contract.blanks
        self.features = encoder.features(place)
        self.codes = encoder.codes(place)
        self.parses = encoder.parses(place)
        self.place = place
        self.known = known
        self.text = text
        self.limit = limit
        self.noticed = noticed
        self.problems = problems

    def column(self, cells: Cells) -> NDArray[np.float64]:
        """The features `[N, k]` of a column; what is wrong and noticed is collected."""
        if isinstance(cells, Coded):
            return self._coded(cells)
        if isinstance(cells, np.ndarray):
            if self.column_of.kind == "number":
                return self._numbers(cells)
            cells = [None if cell != cell else cell for cell in cells.tolist()]
        elif self.column_of.kind == "number" and set(map(type, cells)) <= _NUMBERS:
            try:
                return self._numbers(np.array(cells, dtype=np.float64))
            except OverflowError:
                pass  # an integer beyond float64: the slow way says which
        elif self.known:
            codes = self._levels(cells)
            if codes is not None:
                return codes
        elif self.text and self.parses and (numbers := self._parsed(cells)) is not None:
            return self._numbers(numbers)
        return self._coded(_code(cells))

    def _levels(self, cells: Sequence[Any]) -> NDArray[np.float64] | None:
        """The codes `[N, 1]` of cells that are known levels; None when one is not."""
        try:
            codes = list(map(self.known.get, cells))
        except TypeError:  # a cell that is no text, nor anything that a dict can look for
            return None
        return None if None in codes else np.array(codes, dtype=np.float64)[:, None]

    def _parsed(self, cells: Sequence[Any]) -> NDArray[np.float64] | None:
        """Texts as numbers where JSON writes them so, an empty one as NaN; else None."""
        text = ",".join(cells)
        if "n" in text or (len(text) > self.limit and max(map(len, cells)) > self.limit):
            return None
        if "" in cells:
            text = ",".join([cell or "null" for cell in cells])
        try:
            numbers = _read_numbers(f"[{text}]")
        except msgspec.MsgspecError:
            return None
        return np.array(numbers, dtype=np.float64) if len(numbers) == len(cells) else None

    def _numbers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        low, high = self.column_of.minimum, self.column_of.maximum
        if (
            low is not None
            and high is not None
            and len(values)
            and low <= np.minimum.reduce(values)  # which is NaN where a blank is
            and np.maximum.reduce(values) <= high
        ):
            return values[:, None]
        blank = np.isnan(values)
        if blank.any():
            if self.column_of.on_blank == "error":
                self._problem("may not be blank", np.flatnonzero(blank))
            self._notice(BLANK, blank)
            values = np.where(blank, self.features[0].fill, values)
        if np.isinf(values).any():
            self._problem("is not a finite number", np.flatnonzero(np.isinf(values)))
        if low is not None and high is not None:
            self._notice(RANGE, ~blank & ~((values >= low) & (values <= high)))
        return values[:, None]

    def _coded(self, cells: Coded) -> NDArray[np.float64]:
        """Read each distinct cell once."""
        table = np.zeros((len(cells.cells), len(self.features)))
        noted = np.zeros(len(cells.cells), dtype=np.int8)
        wrong: dict[int, str] = {}
        for code, cell in enumerate(cells.cells):
            if type(cell) is str and (level := self.known.get(cell)) is not None:
                table[code] = level
                continue
            try:
                noted[code] = _NOTES.index(self._cell(cell, table[code]))
            except CellError as error:
                wrong[code] = str(error)
        if wrong:
            for row in np.flatnonzero(np.isin(cells.codes, list(wrong)))[:MAX_PROBLEMS]:
                self._problem(wrong[int(cells.codes[row])], np.array([row]))
        if noted.any():
            for number in range(1, len(_NOTES)):
                self._notice(str(_NOTES[number]), noted[cells.codes] == number)
        return table.take(cells.codes, axis=0)

    def _cell(self, cell: Any, into: NDArray[np.float64]) -> str | None:
        """Write the features of one cell; returns what is to be noticed of it."""
        column = self.column_of
        if isinstance(cell, str) and len(cell) > self.limit:
            raise CellError(too_long(self.limit))
        read = column.read_text if self.text else column.read_value
        value = read(cell, self.blanks)
        if value is None:
            into[:] = [feature.fill for feature in self.features]
            return BLANK
        if column.kind == "category":
            code = self.codes.get(str(value))
            into[0] = self.features[0].unseen if code is None else code
            known = code is not None or str(value) in column.categories
            return None if known else UNSEEN
        number = float(value)
        if column.kind == "date":
            into[:] = [date_part(number, feature.part or "days") for feature in self.features]
            inside = (column.minimum or 0.0) <= number <= (column.maximum or 0.0)
            return None if inside else RANGE
        into[0] = number
        if column.kind == "boolean" or column.minimum is None or column.maximum is None:
            return None
        return None if column.minimum <= number <= column.maximum else RANGE

    def _notice(self, code: str, mask: NDArray[np.bool_]) -> None:
        if mask.any():
            self.noticed[code, self.place] = np.flatnonzero(mask).tolist()

    def _problem(self, reason: str, rows: NDArray[np.int64]) -> None:
        room = MAX_PROBLEMS - len(self.problems)
        name = self.column_of.name
        self.problems += [Problem(reason, name, int(row)) for row in rows[: max(0, room)]]


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _code(cells: Sequence[Any]) -> Coded:
    """A column by its distinct cells."""
    types = set(map(type, cells))
    keys: Sequence[Any] = cells
    if not any(types <= alike for alike in _ALIKE):
        keys = [
            (list, row) if isinstance(cell, (list, dict)) else (type(cell), cell)
            for row, cell in enumerate(cells)
        ]
    distinct = dict(zip(reversed(keys), reversed(cells), strict=True))  # the first of equal ones
    places = {key: place for place, key in enumerate(distinct)}
    codes = np.fromiter(map(places.__getitem__, keys), dtype=np.int64, count=len(cells))
    return Coded(list(distinct.values()), codes)
