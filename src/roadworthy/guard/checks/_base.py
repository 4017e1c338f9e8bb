"""What a check gets and gives: the rows it may look at, and findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.guard.codes import Coded, code_column
from roadworthy.table import ColumnProfile, Table

Severity = Literal["serious", "warning", "note"]
Index = NDArray[np.int64]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a check noticed in a table.

    Attributes:
        check: The check's stable name.
        severity: `serious` stops the job unless it is acknowledged; `warning`; `note`.
        columns: The columns it concerns; empty for the table as a whole.
        what: What was noticed, in one sentence.
        evidence: The numbers behind it, as plain data.
        fix: What to do, with the line of the project file.
        acknowledged: Whether the project file says that it is known.
    """

    check: str
    severity: Severity
    columns: tuple[str, ...] = ()
    what: str
    evidence: dict[str, Any]
    fix: str
    acknowledged: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What `[guard] acknowledge` may call it, the exact name first."""
        return (*(f"{self.check}:{column}" for column in self.columns), self.check)


@dataclasses.dataclass(frozen=True)
class Case:
    """A table under inspection.

    Attributes:
        table: The table, with its split.
        seed: Seed of samples, folds and models.
        folds: Folds that the search will cut the training rows into.
        row_limit: Rows of the training part that checks of one column look at.
        model_limit: Rows of a part that a model is fitted on.
        column_limit: Columns that a model is fitted on.
    """

    table: Table
    seed: int
    folds: int
    row_limit: int
    model_limit: int
    column_limit: int

    @cached_property
    def used(self) -> tuple[ColumnProfile, ...]:
        """The columns that the model gets."""
        return tuple(profile for profile in self.table.profiles if profile.used)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that the model gets."""
        return tuple(profile.name for profile in self.used)

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """The columns that a model is fitted on: all, or in a very wide table a random choice."""
        if len(self.names) <= self.column_limit:
            return self.names
        random = np.random.default_rng(self.seed)
        chosen = random.choice(len(self.names), self.column_limit, replace=False)
        return tuple(self.names[place] for place in np.sort(chosen))

    @cached_property
    def training_rows(self) -> Index:
        """Positions in the table of the training rows that are looked at, ascending."""
        return self._sample(self._part(0), self.row_limit)

    @cached_property
    def holdout_rows(self) -> Index:
        """Positions in the table of the held-out rows that are looked at, ascending."""
        return self._sample(self._part(1), self.row_limit)

    @cached_property
    def training(self) -> Table:
        """The training rows that are looked at."""
        return self.table.take(self.training_rows)

    @cached_property
    def codes(self) -> dict[str, Coded]:
        """Every used column of `training` in bins."""
        return {
            profile.name: code_column(self.training.frame[profile.name]) for profile in self.used
        }

    @cached_property
    def folded(self) -> NDArray[np.int64]:
        """A fold of each row of `training` (see `fold_rows`)."""
        return fold_rows(self.training, self.seed)

    @property
    def sample(self) -> dict[str, Any]:
        """For the evidence: how many of the training rows were looked at."""
        return {"rows": len(self.training_rows), "of_rows": len(self._part(0))}

    def model_rows(self, rows: Index) -> Index:
        """As many of the given positions as a model may see, ascending."""
        return self._sample(rows, self.model_limit)

    def numbers(self, rows: Index, columns: Iterable[str]) -> NDArray[np.float64]:
        """Columns as a matrix for trees `[N, columns]`: levels by frequency, NaN for blanks."""
        frame = self.table.frame.select(list(columns))
        if not frame.width:
            return np.empty((len(rows), 0))
        return np.column_stack([_as_number(series) for series in frame[rows].get_columns()])

    def _part(self, which: int) -> Index:
        if self.table.split is not None:
            return self.table.split[which]  # type: ignore[return-value]
        return np.arange(len(self.table) if which == 0 else 0)

    def _sample(self, rows: Index, limit: int) -> Index:
        if len(rows) <= limit:
            return rows
        random = np.random.default_rng(self.seed)
        return np.sort(random.choice(rows, limit, replace=False))


class Check(Protocol):
    """One kind of finding."""

    name: str

    def find(self, case: Case) -> Iterable[Finding]:
        """What is noticed in the table; nothing where there is no evidence.

        Args:
            case: The table and the rows to look at.
        """
        ...


def quoted(name: str) -> str:
    """A name as the project file writes it: a JSON string is one of TOML."""
    return msgspec.json.encode(name).decode()


def drop_line(name: str) -> str:
    """The line of the project file that leaves a column out."""
    return f"[data] drop = [{quoted(name)}]"


def time_line(name: str) -> str:
    """The line of the project file that holds out the newest rows."""
    return f"[data] time = {quoted(name)}"


FOLDS = 5
"""Parts that rows are cut into for cross-fitting."""


def fold_rows(table: Table, seed: int) -> NDArray[np.int64]:
    """A fold of each row, so that no row is predicted from its group or its own stretch of time.

    Args:
        table: The rows.
        seed: Seed of the cut.

    Returns:
        Fold of each row `[N]`, 0 to `FOLDS` - 1.
    """
    rows = len(table)
    random = np.random.default_rng(seed)
    if table.times is not None:  # stretches of time: a trend does not count as knowledge
        folds = np.empty(rows, dtype=np.int64)
        folds[np.argsort(table.times, kind="stable")] = np.arange(rows) * FOLDS // max(1, rows)
        return folds
    if table.groups is not None:
        groups, members = np.unique(table.groups, return_inverse=True)
        return (random.permutation(len(groups)) % FOLDS)[members].astype(np.int64)
    return random.permutation(rows) % FOLDS


def _as_number(series: pl.Series) -> NDArray[np.float64]:
    if series.dtype == pl.String:
        counts = series.drop_nulls().alias("level").value_counts()
        counts = counts.sort(["count", "level"], descending=True)
        series = series.replace_strict(
            counts["level"],
            pl.Series(range(counts.height), dtype=pl.Float64),
            default=None,
            return_dtype=pl.Float64,
        )
    elif series.dtype.is_temporal():
        series = series.cast(pl.Int64)
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
