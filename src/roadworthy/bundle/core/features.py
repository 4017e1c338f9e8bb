"""scikit-learn's transformers that make other columns of numbers, as float64 nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import Graph
from roadworthy.errors import InputError

Combination = tuple[int, ...]


def write_polynomial(graph: Graph, matrix: str, step: Any) -> str:
    """Products of columns, multiplied from the last one on as scikit-learn does: the same bits."""
    wanted: list[Combination] = [
        tuple(np.repeat(np.arange(len(powers)), powers).tolist()) for powers in step.powers_
    ]
    parts: list[str] = []
    places: dict[Combination, int] = {}
    start = 0
    before: dict[Combination, int] = {}
    product = ""
    for size in range(max(map(len, wanted)) + 1):
        ends = {each[len(each) - size :] for each in wanted if len(each) >= size}
        combinations = sorted(ends)
        if size == 0:
            if () not in wanted:
                continue
            product = ones(graph, matrix)
        else:
            first = graph.column(matrix, [each[0] for each in combinations])
            if size > 1:
                rest = graph.column(product, [before[each[1:]] for each in combinations])
                first = graph.add("Mul", rest, first)
            product = first
        before = {each: place for place, each in enumerate(combinations)}
        places |= {each: start + place for each, place in before.items()}
        parts.append(product)
        start += len(combinations)
    together = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    return graph.column(together, [places[each] for each in wanted])


def ones(graph: Graph, matrix: str) -> str:
    """A column of ones, `[N, 1]`, whatever the matrix holds."""
    one = graph.constant(1.0)
    return graph.add("Where", graph.add("IsNaN", graph.column(matrix, [0])), one, one)


def write_bins(graph: Graph, matrix: str, step: Any) -> str:
    """The number of a column's inner edges that a value reaches, or one column a bin."""
    if step.dtype is not None and np.dtype(step.dtype) != np.float64:
        raise InputError("a KBinsDiscretizer of float32 numbers is not exported")
    parts = []
    for column, edges in enumerate(step.bin_edges_):
        value = graph.column(matrix, [column])
        reached = graph.add("GreaterOrEqual", value, graph.constant([edges[1:-1]]))
        axis = graph.constant([1], np.int64)
        numbers = graph.add("Cast", reached, to=TensorProto.DOUBLE)
        place = graph.add("ReduceSum", numbers, axis, keepdims=1)
        if step.encode != "ordinal":
            bins = graph.constant([np.arange(len(edges) - 1)])
            place = graph.add("Cast", graph.add("Equal", place, bins), to=TensorProto.DOUBLE)
        parts.append(place)
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def write_threshold(graph: Graph, matrix: str, step: Any) -> str:
    """One above the threshold, otherwise zero."""
    above = graph.add("Greater", matrix, graph.constant(float(step.threshold)))
    return graph.add("Cast", above, to=TensorProto.DOUBLE)


def write_norm(graph: Graph, matrix: str, step: Any) -> str:
    """Each row by its own length; a row of next to nothing stays as it is, as in scikit-learn."""
    axis = graph.constant([1], np.int64)
    if step.norm == "l2":
        squares = graph.add("ReduceSum", graph.add("Mul", matrix, matrix), axis, keepdims=1)
        size = graph.add("Sqrt", squares)
    else:
        operator = "ReduceSum" if step.norm == "l1" else "ReduceMax"
        size = graph.add(operator, graph.add("Abs", matrix), axis, keepdims=1)
    nothing = graph.add("Less", size, graph.constant(10 * np.finfo(np.float64).eps))
    return graph.add("Div", matrix, graph.add("Where", nothing, graph.constant(1.0), size))


def write_projection(graph: Graph, matrix: str, step: Any) -> str:
    """Principal components: a product, less the mean's own projection."""
    directions = np.asarray(step.components_, dtype=np.float64).T
    moved = graph.add("MatMul", matrix, graph.constant(directions))
    if getattr(step, "mean_", None) is not None:
        moved = graph.add(
            "Sub", moved, graph.constant(np.reshape(step.mean_, (1, -1)) @ directions)
        )
    if getattr(step, "whiten", False):
        spread = np.sqrt(step.explained_variance_)
        spread = np.maximum(spread, np.finfo(spread.dtype).eps)
        moved = graph.add("Div", moved, graph.constant(spread))
    return moved


def write_selection(graph: Graph, matrix: str, step: Any) -> str:
    """The columns that a selector keeps."""
    kept = [int(column) for column in step.get_support(indices=True)]
    if not kept:
        raise InputError(f"{type(step).__name__} keeps no column")
    return graph.column(matrix, kept)


FEATURES: dict[str, Callable[[Graph, str, Any], str]] = {
    "PolynomialFeatures": write_polynomial,
    "KBinsDiscretizer": write_bins,
    "Binarizer": write_threshold,
    "Normalizer": write_norm,
    "PCA": write_projection,
    "TruncatedSVD": write_projection,
    "VarianceThreshold": write_selection,
    "SelectKBest": write_selection,
    "SelectPercentile": write_selection,
    "SelectFpr": write_selection,
    "SelectFdr": write_selection,
    "SelectFwe": write_selection,
    "SelectFromModel": write_selection,
    "SequentialFeatureSelector": write_selection,
    "RFE": write_selection,
    "RFECV": write_selection,
}
"""Name of a transformer -> what writes it."""
