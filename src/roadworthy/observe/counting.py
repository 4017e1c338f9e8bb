"""Counting rows in bulk, from the vectors that the server has anyway.

Nothing is decoded twice: a level is told by the numbers that the plan makes of it, a blank or an
unseen level by what was noticed when the row was encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.observe.counts import Cells, Counts, sketch_of
from roadworthy.observe.layout import GROUPS, ColumnBins, Layout
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.prepare.rows import BLANK, UNSEEN, Note

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Noticed = Mapping[Note, Sequence[int] | NDArray[np.int64]]
_ROWS = 1 << 14
"""Rows whose pairs are counted together, to need little memory."""
_PLACES: dict[str, tuple[str, ...]] = {
    "number": ("number",),
    "boolean": ("boolean",),
    "date": ("days", "year", "yearday", "month"),
}


def go_on() -> None:
    """No pause."""


class RowCounter:
    """Counts rows of one model.

    Args:
        contract: The columns.
        plan: What the vectors are.
        layout: Where each count goes.
    """

    def __init__(self, contract: Contract, plan: FeaturePlan, layout: Layout) -> None:
        self.layout = layout
        self.target = contract.target
        features = plan.by_column()
        self._columns: list[Callable[[Floats], Codes]] = []
        self._values: list[int | None] = []
        self._groups: list[Codes] = []
        start = 0
        for column, bins in zip(contract.columns, layout.columns, strict=True):
            its = features[column.name]
            self._columns.append(bin_reader(column, bins, its, start))
            numeric = bins.shape == "number" and column.kind == "number"
            self._values.append(start if numeric else None)
            self._groups.append(np.array([*bins.groups, GROUPS - 1], dtype=np.int64))
            start += len(its)
        self._partners: dict[int, tuple[list[int], list[int]]] = {}
        for place, (first, second) in enumerate(layout.pairs):
            places, others = self._partners.setdefault(first, ([], []))
            places.append(place)
            others.append(second)

    def count(
        self,
        matrix: Floats,
        noticed: Noticed,
        scores: Floats | None = None,
        pause: Callable[[], object] = go_on,
    ) -> Counts:
        """Count rows.

        Args:
            matrix: Vectors `[N, width]`, in the order in which they came.
            noticed: Blank and unseen cells, by code and column, with the numbers of their rows.
            scores: Probabilities `[N, K]` or predictions `[N, 1]`; None counts no answers.
            pause: Called after each tenth of a millisecond or so of work on some thousand rows.
        """
        cells = np.zeros(self.layout.size, dtype=np.int64)
        cells[0] = len(matrix)
        groups = np.empty((len(self._columns), len(matrix)), dtype=np.int64)
        for place, block in enumerate(self.layout.blocks):
            bins = self._columns[place](matrix)
            blank = np.asarray(noticed.get((BLANK, place), ()), dtype=np.int64)
            unseen = np.asarray(noticed.get((UNSEEN, place), ()), dtype=np.int64)
            width = block.blank - block.start
            if len(unseen):
                bins[unseen] = width - 1
            if len(blank):
                bins[blank] = width
            groups[place] = self._groups[place][bins]
            cells[block.start : block.blank + 1] = np.bincount(bins, minlength=width + 1)
            cells[block.unseen] = len(unseen)
            if (value := self._values[place]) is not None:
                filled = bins < width
                both = filled[1:] & filled[:-1]
                cells[block.pairs] = both.sum()
                cells[block.repeats] = (both & (matrix[1:, value] == matrix[:-1, value])).sum()
            pause()
        self._count_pairs(groups, cells, pause)
        if scores is not None:
            self.count_scores(scores, cells)
            pause()
        return Counts(cells, sketch_of(matrix))

    def _count_pairs(self, groups: Codes, cells: Cells, pause: Callable[[], object]) -> None:
        """Add the tables of pairs; `groups` is `[columns, N]`, a pair's rows lie side by side.

        A row is a bit: rows of one group and another are counted 64 at once.
        """
        tables = self.layout.pair_tables(cells).reshape(-1, GROUPS, GROUPS)
        for start in range(0, groups.shape[1], _ROWS):
            bits = _bits(groups[:, start : start + _ROWS])
            for first, (places, others) in self._partners.items():
                both = bits[first][:, None] & bits[others][:, None]
                tables[places] += np.bitwise_count(both).sum(axis=-1, dtype=np.int64)
                pause()

    def count_scores(self, scores: Floats, cells: Cells) -> None:
        """Add answers `[N, K]` or `[N, 1]` to counts."""
        layout = self.layout
        if not len(scores):
            return
        cells[1] += len(scores)
        codes = np.zeros(len(scores), dtype=np.int64)
        answered = scores.reshape(len(scores), -1)[:, 0]
        if layout.classes:
            codes = self.target.predicted_codes(scores)
            found = np.bincount(codes, minlength=layout.classes)
            layout.class_counts(cells)[:] += found
            answered = scores[np.arange(len(scores)), codes]
        bins = np.searchsorted(layout.score_edges, answered, side="right")
        rows = np.minimum(codes, layout.score_rows - 1)
        table = layout.score_table(cells)
        found = np.bincount(rows * layout.score_bins + bins, minlength=table.size)
        table[:] += found.reshape(table.shape)


def _bits(groups: Codes) -> NDArray[np.uint64]:
    """The rows of each group as bits `[columns, groups, words]`, for groups `[columns, N]`."""
    rows = np.packbits(groups[:, None] == np.arange(GROUPS)[:, None], axis=-1)
    bits = np.zeros((*rows.shape[:2], -(-rows.shape[2] // 8) * 8), dtype=np.uint8)
    bits[:, :, : rows.shape[2]] = rows
    return bits.view(np.uint64)


def bin_reader(
    column: Column, bins: ColumnBins, features: list[Feature], start: int
) -> Callable[[Floats], Codes]:
    """What tells the bin of each row's cell from the vectors.

    Args:
        column: The column.
        bins: Its bins.
        features: Its features.
        start: Position of the first one in the vector.
    """
    if bins.shape == "none":
        return lambda matrix: np.zeros(len(matrix), dtype=np.int64)
    if bins.shape == "level":
        return _level_reader(column, bins, features, start)
    read = value_reader(column, features, start)
    edges = np.array(bins.edges)
    return lambda matrix: np.searchsorted(edges, read(matrix), side="right")


def value_reader(column: Column, features: list[Feature], start: int) -> Callable[[Floats], Floats]:
    """What tells the number that a column is counted by: of a text, how many words are known."""
    if column.kind == "text":
        end = start + sum(feature.read != "blank" for feature in features)
        return lambda matrix: np.count_nonzero(matrix[:, start:end], axis=1).astype(np.float64)
    wanted = _PLACES[column.kind]
    names = [feature.part or feature.read for feature in features]
    place = start + next((names.index(name) for name in wanted if name in names), 0)
    return lambda matrix: matrix[:, place]


def _level_reader(
    column: Column, bins: ColumnBins, features: list[Feature], start: int
) -> Callable[[Floats], Codes]:
    """Levels by the numbers that the plan makes of them; levels with the same numbers are one.

    The numbers of a level are walked like letters of a word: after each the state says which
    levels are still possible.
    """
    other = len(bins.levels)
    named = {level: place for place, level in enumerate(bins.levels)}
    readers = [feature.reader() for feature in features if feature.read != "blank"]
    words: dict[tuple[float, ...], int] = {}
    listed = dict.fromkeys([*bins.levels, *column.levels()])
    for level in listed:
        words.setdefault(tuple(read(level) for read in readers), named.get(level, other))
    steps: list[tuple[Floats, Codes]] = []
    states: dict[tuple[float, ...], int] = {(): 0}
    for length in range(1, len(readers) + 1):
        values = np.array(sorted({word[length - 1] for word in words}))
        following = {word[:length]: 0 for word in words}
        following = {prefix: place for place, prefix in enumerate(following)}
        table = np.full((len(states) + 1, len(values) + 1), len(following), dtype=np.int64)
        for prefix, state in following.items():
            column_place = int(np.searchsorted(values, prefix[-1]))
            table[states[prefix[:-1]], column_place] = state
        steps.append((values, table))
        states = following
    final = np.full(len(states) + 1, other, dtype=np.int64)
    for word, state in states.items():
        final[state] = words[word]

    def read(matrix: Floats) -> Codes:
        state = np.zeros(len(matrix), dtype=np.int64)
        for place, (values, table) in enumerate(steps):
            cells = matrix[:, start + place]
            found = np.searchsorted(values, cells)
            known = np.minimum(found, len(values) - 1)
            found = np.where(values[known] == cells, known, len(values))
            state = table[state, found]
        return final[state]

    return read
