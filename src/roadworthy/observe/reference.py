"""The reference: what the training table looked like, in counts that travel in the bundle.

Bins stand on the training quantiles and levels. Where the table has a time, the counts of its last
days are kept as well: rows of one day are not independent, so what is usual is known by days.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Column, Contract
from roadworthy.observe.counting import Noticed, RowCounter, value_reader
from roadworthy.observe.counts import Cells, Counts
from roadworthy.observe.layout import ColumnBins, Layout, Shape
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.prepare.rows import BLANK

FILE_NAME = "reference.json"
FORMAT = 1
DAYS = 91
"""Days that are kept: a quarter, thirteen of each weekday."""
MIN_DAYS = 14
ROWS_A_DAY = 20
"""Rows from which a day counts."""
MAX_LEVELS = 30
MAX_PAIRS = 100
MAX_DAY_CELLS = 1_000_000
_BINS = 20
_WIDE = 200
"""Columns from which there are fewer bins, so that counts stay small."""
_PAIR_ROWS = 20_000
_PAIR_COLUMNS = 200
_CHUNK = 1000
_CLOCK = 0.9
_MICROSECONDS = {"microseconds": 1.0, "milliseconds": 1e3, "seconds": 1e6}
_DAY = 86_400e6

Floats = NDArray[np.float64]


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What the training table looked like.

    Attributes:
        format: Version of this file.
        columns: How each column is counted.
        pairs: Positions of the columns that are counted two by two.
        classes: Classes; 0 for regression.
        score_edges: Edges of a regression's predictions.
        total: Counts of all rows; answers are counted of held-out rows alone.
        days: ISO date -> counts of that day's rows, without pairs.
        collision: How likely two rows are alike: the share of duplicates that is usual in a
            window follows from it.
    """

    format: int = FORMAT
    columns: tuple[ColumnBins, ...]
    pairs: tuple[tuple[int, int], ...]
    classes: int
    score_edges: tuple[float, ...] = ()
    total: str
    days: dict[str, str] = {}
    collision: float = 0.0

    @cached_property
    def layout(self) -> Layout:
        """The places of everything that is counted."""
        return Layout(self.columns, self.pairs, self.classes, self.score_edges)

    @cached_property
    def cells(self) -> Cells:
        """The counts of all rows."""
        return read_cells(self.total, self.layout.size)

    @cached_property
    def day_cells(self) -> dict[str, Cells]:
        """The counts of each day, the oldest first."""
        return {day: read_cells(self.days[day], self.layout.size) for day in sorted(self.days)}

    def duplicates(self, rows: int) -> float:
        """The share of duplicates that is usual among so many rows."""
        expected = rows * self.collision
        return 1.0 + math.expm1(-expected) / expected if expected > 1e-9 else 0.0


def read_reference(content: bytes) -> Reference:
    """The reference of a bundle; raises msgspec.DecodeError or ValueError when it is damaged."""
    reference = msgspec.json.decode(content, type=Reference)
    if reference.format != FORMAT:
        raise ValueError(f"format {reference.format}")
    _ = reference.cells
    return reference


def write_cells(cells: Cells) -> str:
    """Counts as text: `place:` and the counts from there on, zeros between runs left out."""
    words: list[str] = []
    last = -2
    for place in np.flatnonzero(cells).tolist():
        if place != last + 1:
            words.append(f"{place}:")
        words.append(str(int(cells[place])))
        last = place
    return " ".join(words)


def read_cells(text: str, size: int) -> Cells:
    """Counts from text; ValueError when they do not fit."""
    cells = np.zeros(size, dtype=np.int64)
    place = 0
    for word in text.split():
        if word.endswith(":"):
            place = int(word[:-1])
            continue
        count = int(word)
        if not (0 <= place < size and 0 <= count < 2**62):
            raise ValueError("counts that do not fit their layout")
        cells[place] = count
        place += 1
    return cells


def learn_reference(
    contract: Contract,
    plan: FeaturePlan,
    matrix: Floats,
    noticed: Noticed,
    *,
    times: Floats | None = None,
    scored: NDArray[np.int64] | None = None,
    scores: Floats | None = None,
    whole: Iterable[tuple[Floats, Noticed]] | None = None,
) -> Reference:
    """Learn a reference.

    Args:
        contract: The columns.
        plan: What the vectors are.
        matrix: Vectors of the table's rows `[N, width]`.
        noticed: Blank and unseen cells, by code and column, with the numbers of their rows.
        times: Of each row, in micro-, milliseconds or seconds since 1970, or any number that grows.
        scored: Rows that the model had not seen in training, ascending.
        scores: Its answers to them, `[M, K]` or `[M, 1]`.
        whole: Vectors and noticed cells of all rows, part by part, where `matrix` is a sample of
            them: they are what the rows are counted by.
    """
    order = np.arange(len(matrix))
    if times is not None:
        order = np.argsort(times, kind="stable")
        moved = np.empty_like(order)
        moved[order] = np.arange(len(order))
        matrix, times = matrix[order], times[order]
        noticed = {note: np.sort(moved[np.asarray(rows)]) for note, rows in noticed.items()}
        if scored is not None and scores is not None:
            sorting = np.argsort(moved[scored])
            scored, scores = moved[scored][sorting], scores[sorting]
    features = plan.by_column()
    columns, start = [], 0
    for place, column in enumerate(contract.columns):
        blank = np.asarray(noticed.get((BLANK, place), ()), dtype=np.int64)
        columns.append(_bins(column, features[column.name], start, matrix, blank, times, contract))
        start += len(features[column.name])
    classes = len(contract.target.classes)
    edges: tuple[float, ...] = ()
    if not classes and scores is not None:
        edges = number_edges(scores.reshape(-1), wide=False)[0]
    pairs = _pairs(contract, plan, tuple(columns), matrix, noticed)
    layout = Layout(tuple(columns), pairs, classes, edges)
    counter = RowCounter(contract, plan, layout)

    def count(start: int, end: int) -> Counts:
        rows = {note: _between(np.asarray(its), start, end) for note, its in noticed.items()}
        found = counter.count(matrix[start:end], rows)
        if scored is None or scores is None:
            return found
        low, high = np.searchsorted(scored, [start, end])
        if high > low:
            counter.count_scores(scores[low:high], found.cells)
        return found

    total = Counts.empty(layout.size)
    if whole is None:
        step = 1 << 16
        for start in range(0, len(matrix), step):
            total = total.merged(count(start, min(start + step, len(matrix))))
    else:
        for part, its_notes in whole:
            total = total.merged(counter.count(part, its_notes))
        if scored is not None and scores is not None and len(scored):
            counter.count_scores(scores, total.cells)
    days = {}
    for day, (start, end) in _days(times, layout.size).items():
        cells = count(start, end).cells
        layout.pair_tables(cells)[:] = 0
        days[day] = write_cells(cells)
    return Reference(
        columns=tuple(columns),
        pairs=pairs,
        classes=classes,
        score_edges=edges,
        total=write_cells(total.cells),
        days=days,
        collision=_collision(matrix),
    )


def _between(rows: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(rows, [start, end])
    return rows[low:high] - start


def _bins(
    column: Column,
    features: list[Feature],
    start: int,
    matrix: Floats,
    blank: NDArray[np.int64],
    times: Floats | None,
    contract: Contract,
) -> ColumnBins:
    if column.kind == "category":
        levels = tuple(column.levels()[:MAX_LEVELS])
        if not levels:
            return ColumnBins(name=column.name, shape="none", groups=(0,))
        groups = (*(min(place, 3) for place in range(len(levels))), 3)
        return ColumnBins(name=column.name, shape="level", levels=levels, groups=groups)
    if column.kind == "boolean":
        edges: tuple[float, ...] = (0.5,)
        return ColumnBins(
            name=column.name, shape="number", edges=edges, inner=(0, 2), groups=(0, 3)
        )
    values = value_reader(column, features, start)(matrix)
    known = np.ones(len(matrix), dtype=bool)
    known[blank] = False
    if not known.any():
        return ColumnBins(name=column.name, shape="none", groups=(0,))
    wide = len(contract.columns) > _WIDE
    edges, inner = number_edges(values[known], wide=wide)
    shape: Shape = "count" if column.kind == "text" else "number"
    clock = column.kind == "date" and times is None
    if times is not None and column.kind in ("date", "number"):
        clock = _follows(values[known], times[known])
    found = np.bincount(
        np.searchsorted(edges, values[known], side="right"), minlength=len(edges) + 1
    )
    middle = (np.cumsum(found) - found / 2) / found.sum()
    groups = tuple(np.minimum((middle * 4).astype(int), 3).tolist())
    return ColumnBins(
        name=column.name, shape=shape, edges=edges, inner=inner, groups=groups, clock=clock
    )


def number_edges(values: Floats, *, wide: bool) -> tuple[tuple[float, ...], tuple[int, int]]:
    """Edges on the quantiles, and beyond the range on powers of two up to 2^32.

    Beyond the range of positive numbers the edges are multiples of its ends, else they are
    distances from them in widths of the range.
    """
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values)
    bins = 10 if wide else _BINS
    if len(distinct) <= bins:
        inner = distinct
    else:
        shares = np.arange(1, bins) / bins
        inner = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    inner = inner[inner > low]
    top = float(np.nextafter(high, np.inf))
    fine = np.concatenate([np.arange(0.25, 2.01, 0.25), np.arange(2.5, 12.01, 0.5)])
    coarse = np.arange(13.0, 32.01, 1.0)
    powers = 2.0 ** (np.arange(1.0, 33.0, 2.0) if wide else np.concatenate([fine, coarse]))
    with np.errstate(over="ignore"):
        if low > 0:
            below, above = low / powers, high * powers
        else:
            width = (high - low) or max(abs(high), 1.0)
            below, above = low - (powers - 1) * width, high + (powers - 1) * width
    below = np.unique(below[np.isfinite(below) & (below < low)])
    above = np.unique(above[np.isfinite(above) & (above > top)])
    edges = np.concatenate([below, [low], inner, [top], above])
    first = len(below) + 1
    return tuple(edges.tolist()), (first, first + len(inner) + 1)


def _follows(values: Floats, times: Floats) -> bool:
    """Whether a column goes with time: Spearman's rank correlation over a sample."""
    chosen = slice(None, None, max(1, len(values) // 10_000))
    ranks = [np.unique(part[chosen], return_inverse=True)[1] for part in (values, times)]
    if min(part.max() for part in ranks) < 2:
        return False
    return bool(abs(np.corrcoef(ranks[0], ranks[1])[0, 1]) > _CLOCK)


def _pairs(
    contract: Contract,
    plan: FeaturePlan,
    columns: tuple[ColumnBins, ...],
    matrix: Floats,
    noticed: Noticed,
) -> tuple[tuple[int, int], ...]:
    """Pairs of columns: all, or of many columns the hundred that hang together most."""
    able = [
        place for place, bins in enumerate(columns) if len(set(bins.groups)) > 1 and not bins.clock
    ]
    every = [(one, two) for at, one in enumerate(able) for two in able[at + 1 :]]
    if len(every) <= MAX_PAIRS:
        return tuple(every)
    able = able[:_PAIR_COLUMNS]
    every = [(one, two) for at, one in enumerate(able) for two in able[at + 1 :]]
    counter = RowCounter(contract, plan, Layout(columns, tuple(every), 0, ()))
    end = min(len(matrix), _PAIR_ROWS)
    rows = {note: _between(np.asarray(its), 0, end) for note, its in noticed.items()}
    counts = counter.count(matrix[:end], rows)
    strength = association(counter.layout.pair_tables(counts.cells)[:, :-1, :-1])
    strongest = np.argsort(-strength, kind="stable")[:MAX_PAIRS]
    return tuple(every[place] for place in sorted(strongest.tolist()))


def association(tables: NDArray[np.int64]) -> Floats:
    """Cramér's V of each table `[P, R, C]`: 0 is independence, 1 is one by the other."""
    counts = tables.astype(np.float64)
    total = np.maximum(counts.sum(axis=(1, 2)), 1.0)
    rows, sides = counts.sum(axis=2), counts.sum(axis=1)
    expected = rows[:, :, None] * sides[:, None, :] / total[:, None, None]
    parts = np.where(expected > 0, (counts - expected) ** 2 / np.maximum(expected, 1e-300), 0.0)
    freedom = np.minimum((rows > 0).sum(axis=1), (sides > 0).sum(axis=1)) - 1
    found: Floats = np.sqrt(parts.sum(axis=(1, 2)) / total / np.maximum(freedom, 1))
    return np.where(freedom > 0, found, 0.0)


def _days(times: Floats | None, size: int) -> dict[str, tuple[int, int]]:
    """The last days: ISO date -> its first row and the first of the next, rows being ordered."""
    if times is None:
        return {}
    known = times[np.isfinite(times)]
    unit = _unit(known)
    if unit is None:
        return {}
    numbers = np.floor(known * _MICROSECONDS[unit] / _DAY).astype(np.int64)
    found, starts, rows = np.unique(numbers, return_index=True, return_counts=True)
    good = rows >= min(ROWS_A_DAY, float(np.median(rows)) or 1)
    kept = np.flatnonzero(good)[-min(DAYS, MAX_DAY_CELLS // size) :]
    if len(kept) < MIN_DAYS or np.median(rows[kept]) < ROWS_A_DAY:
        return {}
    dates = found[kept].astype("datetime64[D]").astype(str).tolist()
    ends = starts + rows
    return {
        day: (int(starts[place]), int(ends[place])) for day, place in zip(dates, kept, strict=True)
    }


def _unit(times: Floats) -> str | None:
    """What numbers of time count, if they are moments between 1973 and 2286 at all."""
    if not len(times):
        return None
    low, high = float(times.min()), float(times.max())
    for unit, size in _MICROSECONDS.items():
        if low * size >= 1e14 and high * size <= 1e16:
            return unit
    return None


def _collision(matrix: Floats) -> float:
    """How likely two rows are alike, from chunks of rows that follow each other."""
    shares = []
    for start in np.linspace(0, max(0, len(matrix) - _CHUNK), 10).astype(int):
        part = np.ascontiguousarray(matrix[start : start + _CHUNK])
        if len(part):
            rows = part.view(np.dtype((np.void, part.shape[1] * 8))).reshape(-1)
            shares.append((1.0 - len(np.unique(rows)) / len(part), len(part)))
    if not shares:
        return 0.0
    share = max(found for found, _ in shares)
    low, high = 0.0, 1e9
    for _ in range(200):  # the share grows with what is expected: find the one that gives it
        middle = (low + high) / 2
        grown = 1.0 + math.expm1(-middle) / middle if middle > 1e-9 else 0.0
        low, high = (middle, high) if grown < share else (low, middle)
    return low / shares[0][1]
