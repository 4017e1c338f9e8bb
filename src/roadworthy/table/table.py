"""The Table: typed columns, what each is taken for, the target, and the split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import ClassValue, Contract, Task
from roadworthy.project import Kind
from roadworthy.table.split import Split
from roadworthy.table.whole import Whole


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one column.

    Attributes:
        name: As in the header.
        kind: What it is taken for.
        reason: Why.
        blanks: Blank cells.
        distinct: Distinct values.
        used: Whether the model gets it.
        why_not: Why it does not, when it does not.
    """

    name: str
    kind: Kind
    reason: str
    blanks: int
    distinct: int
    used: bool
    why_not: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that is ready to be trained on.

    Attributes:
        name: A short name, from the file.
        source: Where it came from, for people.
        frame: The typed columns, target excluded: Int64/Float64 numbers, Boolean, Datetime,
            String.
        labels: The target, float64 `[N]`: a class's position in `classes`, or the number.
        target: The target's column name.
        task: Binary or multiclass classification, or regression.
        classes: The classes, sorted; empty for regression.
        profiles: What is known of each column, target excluded, in the table's order.
        contract: The columns that a model takes, learned from the training rows.
        split: Training rows and holdout rows; None for a table that is itself one part.
        notes: What was done and noticed while reading, for people.
        groups: Group code of each row, when the project names a group column.
        times: A number of each row that grows with time, when the project names a time column.
        weights: Weight of each row, 0 or more, when the project names a weight column.
        whole: The file of which the rows are a sample, when not all of them were read.
        lineage: The database, the table or query and the rows that were read, when it is no file.
    """

    name: str
    source: str
    frame: pl.DataFrame
    labels: NDArray[np.float64]
    target: str
    task: Task
    classes: tuple[ClassValue, ...]
    profiles: tuple[ColumnProfile, ...]
    contract: Contract
    split: Split | None = None
    notes: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    times: NDArray[np.float64] | None = None
    weights: NDArray[np.float64] | None = None
    whole: Whole | None = None
    lineage: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def training(self) -> Table:
        """The training rows as a table of their own."""
        return self if self.split is None else self.take(self.split.train)

    @cached_property
    def holdout(self) -> Table:
        """The rows that no choice looks at, as a table of their own."""
        return self if self.split is None else self.take(self.split.holdout)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """The given rows as a table with the same columns and contract."""
        return dataclasses.replace(
            self,
            frame=self.frame[rows],
            labels=self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
            times=None if self.times is None else self.times[rows],
            weights=None if self.weights is None else self.weights[rows],
            split=None,
        )
