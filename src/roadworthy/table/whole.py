"""What is learned of all rows of a file of which a sample alone is in memory.

The file is read once more, part by part. Kinds of columns, the split and the quantiles come from
the sample; blanks, levels, ranges and the number of rows from all rows that are not held out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.errors import InputError, RowsError
from roadworthy.table.conform import conform
from roadworthy.table.kinds import cast_number
from roadworthy.table.parts import File
from roadworthy.table.sources import trim
from roadworthy.table.target import usable_target

_MOST_LEVELS = 1_000_000
"""Levels of a column that are counted; beyond, those seen once are let go of."""


@dataclasses.dataclass(frozen=True)
class Whole:
    """All rows of a file of which a table is a sample.

    Attributes:
        file: The file.
        target: The target's column.
        total: Its rows.
        required: Columns in which a blank leaves a row out.
        held: Numbers of the rows that are held out, ascending.
        group: The column whose groups stay together, and those held out.
        border: The column that orders rows in time, and from where on they are held out.
    """

    file: File
    target: str
    total: int
    required: tuple[str, ...]
    held: NDArray[np.int64]
    group: tuple[str, pl.Series] | None = None
    border: tuple[Column, float] | None = None

    def typed(self, contract: Contract, *, training: bool = False) -> Iterator[pl.DataFrame]:
        """The rows with a target, typed as a table's frame is, part by part.

        Args:
            contract: The columns; a blank or an unseen level is no error here.
            training: Leave out what is held out.

        Raises:
            InputError: A cell is not what the sample says that its column holds, or the file was
                changed.
        """
        columns = [
            msgspec.structs.replace(column, on_blank="impute", on_unseen="warn")
            for column in contract.columns
        ]
        if self.border is not None and self.border[0].name not in contract.names:
            columns.append(self.border[0])
        lenient = msgspec.structs.replace(contract, columns=tuple(columns))
        first = 0
        for part in self.file.parts():
            kept = usable_target(part[self.target], self.file.options.blanks).is_not_null()
            frame = self._type(part, lenient, first)
            for name in self.required:
                kept &= frame[name].is_not_null()
            if training:
                kept &= ~self._is_held(part, frame, first)
            first += part.height
            yield frame.select(contract.names).filter(kept)
        if first != self.total:
            raise InputError(
                f"the file has {first:,} rows, and had {self.total:,} a moment ago",
                where=self.file.origin,
                fix="run again when nobody writes it",
            )

    def _type(self, part: pl.DataFrame, contract: Contract, first: int) -> pl.DataFrame:
        quick: dict[str, pl.Series] = {}
        for column in contract.columns:
            if column.kind == "number" and column.name in part.columns:
                cells = trim(part[column.name], contract.blanks)
                number = cast_number(cells, column.number_format) if self.file.text else cells
                if number is not None and number.dtype.is_numeric():
                    number = number.cast(pl.Float64)
                    quick[column.name] = number.set(~number.is_finite(), None)
        slow = tuple(column for column in contract.columns if column.name not in quick)
        rest = msgspec.structs.replace(contract, columns=slow)
        try:
            typed = conform(part, rest, text=self.file.text)
        except RowsError as error:
            problem = error.problems[0]
            row = "" if problem.row is None else f", row {first + problem.row:,} (from 0)"
            raise InputError(
                f"{problem.reason}: the rows that were drawn say otherwise of this column",
                where=f"{self.file.origin}{row}, column {problem.column!r}",
                fix=f"mend the cell, or say [data.columns.{problem.column}] kind = 'category'",
            ) from None
        return pl.DataFrame({**quick, **typed.to_dict()}).select(contract.names)

    def _is_held(self, part: pl.DataFrame, frame: pl.DataFrame, first: int) -> pl.Series:
        low, high = np.searchsorted(self.held, [first, first + part.height])
        found = np.zeros(part.height, dtype=bool)
        found[self.held[low:high] - first] = True
        held = pl.Series(found)
        if self.group is not None:
            name, groups = self.group
            cells = trim(part[name], self.file.options.blanks)
            held |= cells.is_in(groups.implode()).fill_null(value=False)
        if self.border is not None:
            column, border = self.border
            cells = frame[column.name]
            moments = cells.cast(pl.Int64) if cells.dtype.is_temporal() else cells
            held |= (moments.cast(pl.Float64) >= border).fill_null(value=True)
        return held

    def learn(self, contract: Contract) -> Contract:
        """The contract of all rows that are not held out.

        Args:
            contract: Learned from the sample.

        Raises:
            InputError: As `typed`.
        """
        counted = [_Counted(column) for column in contract.columns]
        rows = 0
        for frame in self.typed(contract, training=True):
            rows += frame.height
            for each in counted:
                each.add(frame[each.column.name])
        return msgspec.structs.replace(
            contract, rows=rows, columns=tuple(each.result(rows) for each in counted)
        )


class _Counted:
    """What was seen of a column."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.blanks = 0
        self.whole = True
        self.low: Any = None
        self.high: Any = None
        self.levels: Counter[str] = Counter()

    def add(self, cells: pl.Series) -> None:
        """Count some rows."""
        self.blanks += cells.null_count()
        known = cells.drop_nulls()
        if not len(known):
            return
        if self.column.kind == "category":
            self.levels.update(dict(known.alias("level").value_counts().iter_rows()))
            if len(self.levels) > _MOST_LEVELS:
                self.levels = Counter({k: n for k, n in self.levels.items() if n > 1})
        elif self.column.kind in ("number", "date"):
            known = known.cast(pl.Int64) if known.dtype.is_temporal() else known
            low, high = known.min(), known.max()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            if self.column.dtype == "integer" and self.whole:
                self.whole = bool((known % 1 == 0).all() and (known.abs() < 2**53).all())

    def result(self, rows: int) -> Column:
        """The column of the contract."""
        column = msgspec.structs.replace(self.column, blank_share=self.blanks / max(1, rows))
        if self.column.kind == "category":
            return msgspec.structs.replace(column, categories=dict(self.levels))
        if self.low is None:
            return column
        unit = 1e6 if column.kind == "date" else 1.0
        return msgspec.structs.replace(
            column,
            minimum=self.low / unit,
            maximum=self.high / unit,
            dtype=column.dtype if self.whole else "number",
        )
