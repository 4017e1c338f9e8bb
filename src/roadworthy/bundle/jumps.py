"""Where answers jump: the rows beside a threshold, on which an inexact conversion shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import numpy_helper

from roadworthy.contract import Contract

_EDGES = 1000
_JUMPS = 48
_PARTS = 16
_CUTS = 16
_MAGNITUDE = 2**63 - 1
Floats = NDArray[np.float64]


class Probe(NamedTuple):
    """A row whose answer is looked at while one number of it grows.

    Attributes:
        column: The number's column.
        row: The row's place in the table.
        low: Where the number begins.
        high: Where it ends.
    """

    column: str
    row: int
    low: float
    high: float


def threshold_vectors(core: bytes, matrix: Floats, codes: list[int]) -> Floats:
    """Vectors that lie on, just below and just above the thresholds of a core's trees.

    Here a threshold that was rounded, or compared by < in place of <=, shows at once; rows of a
    table seldom lie there. A code is whole also there: the plan makes no others.

    Args:
        core: The core's bytes.
        matrix: A plan's vectors to start from, `[N, F]`.
        codes: The features that are codes.

    Returns:
        The vectors, `[N', F]`.
    """
    random = np.random.default_rng(0)
    parts = [matrix[:0]]
    for node in onnx.load_from_string(core).graph.node:
        if node.op_type != "TreeEnsemble":
            continue
        fields = {attribute.name: attribute for attribute in node.attribute}
        thresholds = numpy_helper.to_array(fields["nodes_splits"].t)
        features = np.array(fields["nodes_featureids"].ints)
        within = np.flatnonzero(np.abs(thresholds) < np.finfo(np.float64).max)
        chosen = random.permutation(within)[:_EDGES]
        is_code = np.isin(features[chosen], codes)
        for step in (None, -np.inf, np.inf):
            vectors = matrix[random.integers(0, len(matrix), len(chosen))]
            at = thresholds[chosen]
            at = at if step is None else np.nextafter(at, step)
            whole = np.ceil(at) if step == np.inf else np.floor(at)
            at = np.where(is_code, np.maximum(whole, -1.0), at)
            vectors[np.arange(len(chosen)), features[chosen]] = at
            parts.append(vectors)
    return np.vstack(parts)


def jump_rows(
    held: pl.DataFrame, contract: Contract, ask: Callable[[pl.DataFrame], Any]
) -> pl.DataFrame:
    """Rows on both sides of where a model's answer jumps as one number grows.

    They are found by asking the model, whatever it consists of: a threshold of a tree, an edge of a
    bin, behind whatever scalers. A conversion that rounds to float32, or takes < for <=, differs
    just there, and rows of a table seldom lie there. What the model computes "to a few units of the
    last place" may jump that much earlier or later, so the rows keep a distance of 1e-9.

    Args:
        held: Typed rows to start from.
        contract: The columns.
        ask: The model: typed rows -> answers, NaN where it has none.

    Returns:
        The rows, two for each jump.
    """
    probes = _probes(held, contract)
    if not probes:
        return held.clear()

    def answers(cells: list[list[float]]) -> Any:
        found = np.asarray(ask(_rows(held, probes, cells)), dtype=np.float64)
        return found.reshape(len(cells), len(cells[0]), -1)

    ends = [(probe.low, probe.high) for probe in probes]
    start = answers([[low] for low, _ in ends])
    for _ in range(_CUTS):
        cells = [_between(low, high) for low, high in ends]
        same = (np.abs(answers(cells) - start) <= 1e-12).all(axis=2)
        for place, (low, high) in enumerate(ends):
            first = int(np.argmin([*same[place], False]))
            each = [low, *cells[place], high]
            ends[place] = each[first], each[first + 1]
    with np.errstate(over="ignore"):
        spans = {probe.column: np.nanstd(held[probe.column].to_numpy()) for probe in probes}
    beside = []
    for probe, (low, high) in zip(probes, ends, strict=True):
        step = 1e-9 * max(abs(low), min(float(spans[probe.column]), 1e300))
        beside.append([low - step, high + step])
    return _rows(held, probes, beside)


def _probes(held: pl.DataFrame, contract: Contract) -> list[Probe]:
    """Rows, each with a column of numbers and two of its values to look between."""
    numbers = [column.name for column in contract.columns if column.kind == "number"]
    random = np.random.default_rng(0)
    probes = []
    for name in (numbers * _JUMPS)[:_JUMPS]:
        values = held[name].drop_nulls().unique().sort()
        if len(values) > 1:
            low, high = np.sort(random.choice(len(values), 2, replace=False)).tolist()
            row = int(random.integers(held.height))
            probes.append(Probe(name, row, float(values[low]), float(values[high])))
    return probes


def _rows(held: pl.DataFrame, probes: list[Probe], cells: list[list[float]]) -> pl.DataFrame:
    """Each probe's row, once with each of its cells."""
    counts = [len(each) for each in cells]
    names = [probe.column for probe in probes]
    owners = pl.Series(np.repeat(names, counts))
    flat = pl.Series([cell for each in cells for cell in each], dtype=pl.Float64)
    return held[np.repeat([probe.row for probe in probes], counts)].with_columns(
        pl.when(owners == name).then(flat).otherwise(pl.col(name)).alias(name)
        for name in dict.fromkeys(names)
    )


def _between(low: float, high: float) -> list[float]:
    """Numbers that cut the float64 numbers between two into equal parts; repeated in the end."""
    first, last = (_place(end) for end in (low, high))
    parts = _PARTS
    return [_number_at(first + (last - first) * part // parts) for part in range(1, parts)]


def _place(number: float) -> int:
    """The place of a number among all float64 numbers in their order."""
    bits = int(np.float64(number).view(np.int64))
    return bits if bits >= 0 else -(bits & _MAGNITUDE)


def _number_at(place: int) -> float:
    number = float(np.int64(abs(place)).view(np.float64))
    return number if place >= 0 else -number
