"""Layout: which cell of the counts means what, bounded by the contract.

A column has bins on the training table's quantiles or levels, further bins outside its range
(a change of unit lands there), and slots for blanks, unseen levels, repeats and refusals. The
layout follows from the reference alone, so that every worker and host has the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shape = Literal["number", "level", "count", "none"]
LATENCY_BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
"""Seconds between the buckets that durations are counted in."""
LATENCIES = len(LATENCY_BOUNDS) + 1
SERVICE = ("rows", "scored", "refused", "failed")
GROUPS = 5
"""Groups of a column for pairs: four of about equal weight, and one of blanks."""
ODDS_EDGES: Floats = 1.0 / (1.0 + np.exp(-np.arange(-8.0, 8.1, 0.4)))
"""Edges of probabilities, even on the scale of log-odds: rare events need fine bins near 0."""
MAX_CLASSES = 50


class ColumnBins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the cells of a column are counted.

    Attributes:
        name: The column.
        shape: By its `number`, by its `level`, by the `count` of words that are known, or by
            blanks alone (`none`).
        edges: Edges of the bins of a number: a number on an edge is in the bin above it.
        inner: How many bins below the training range come first, and which bin is the first
            beyond it.
        levels: Names of a category's bins, the most frequent first; the rest is one bin more.
        groups: The group of each bin, for pairs.
        clock: It is the time or goes with it: that it moves on is no drift.
    """

    name: str
    shape: Shape
    edges: tuple[float, ...] = ()
    inner: tuple[int, int] = (0, 0)
    levels: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    clock: bool = False

    @property
    def bins(self) -> int:
        """Number of bins."""
        if self.shape in ("number", "count"):
            return len(self.edges) + 1
        return len(self.levels) + 1 if self.shape == "level" else 1


class Block(NamedTuple):
    """The cells of one column.

    Attributes:
        start: The first bin; `blank`, `unseen`, `pairs`, `repeats` and `refused` come after.
        blank: Blank cells.
    """

    start: int
    blank: int

    @property
    def unseen(self) -> int:
        """Levels that training never saw."""
        return self.blank + 1

    @property
    def pairs(self) -> int:
        """Pairs of rows, one after the other, of which neither was blank."""
        return self.blank + 2

    @property
    def repeats(self) -> int:
        """Of those, how often the second cell was as the first."""
        return self.blank + 3

    @property
    def refused(self) -> int:
        """Cells that were refused: of a wrong type, or absent."""
        return self.blank + 4

    @property
    def end(self) -> int:
        """The first cell that is not the column's."""
        return self.blank + 5

    @property
    def filled(self) -> slice:
        """The bins of cells that are not blank: unseen levels are the last one."""
        return slice(self.start, self.blank)


class Layout:
    """The places of everything that is counted.

    Args:
        columns: The columns.
        pairs: Positions of the columns that are counted two by two.
        classes: Classes; 0 for regression.
        score_edges: Edges of a regression's predictions.

    Attributes:
        blocks: The cells of each column.
        size: Number of cells.
    """

    def __init__(
        self,
        columns: tuple[ColumnBins, ...],
        pairs: tuple[tuple[int, int], ...],
        classes: int,
        score_edges: tuple[float, ...],
    ) -> None:
        self.columns = columns
        self.pairs = pairs
        self.classes = classes
        self.score_edges = np.array(score_edges) if not classes else ODDS_EDGES
        self.latencies = slice(len(SERVICE), len(SERVICE) + LATENCIES)
        place = self.latencies.stop
        self.blocks: list[Block] = []
        for column in columns:
            block = Block(place, place + column.bins)
            self.blocks.append(block)
            place = block.end
        self.pair_start = place
        place += len(pairs) * GROUPS**2
        self.class_start = place
        place += classes
        self.score_start = place
        self.score_bins = len(self.score_edges) + 1
        self.score_rows = min(classes, MAX_CLASSES) or 1
        place += self.score_rows * self.score_bins
        self.size = place

    def service(self, cells: NDArray[np.int64], name: str) -> int:
        """One of `SERVICE`."""
        return int(cells[SERVICE.index(name)])

    def pair_tables(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tables `[P, 5, 5]` of pairs of columns."""
        return cells[self.pair_start : self.class_start].reshape(-1, GROUPS, GROUPS)

    def class_counts(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Answers by class `[K]`."""
        return cells[self.class_start : self.score_start]

    def score_table(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Scores: the answered class `[K]` by bins of its probability, or `[1]` by predictions."""
        return cells[self.score_start : self.size].reshape(self.score_rows, self.score_bins)
