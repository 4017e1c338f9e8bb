"""Linear models as a core: scaled numbers times weights, and a table look-up for every code."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.compose import ColumnTransformer

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.bundle.core.steps import write_step


def write_linear(graph: Graph, steps: list[Any], model: Any, weight: float) -> str:
    """Write the decision function of a linear model behind its transformers.

    A one-hot level times its weight is a look-up: all levels lie in one table, and a row adds up
    its entries. A code that the encoder never saw finds a zero.

    Args:
        graph: The graph.
        steps: The fitted transformers before the model.
        model: The fitted model, with `coef_` and `intercept_`.
        weight: What the answer is multiplied by.

    Returns:
        Sums `[N, outputs]`.
    """
    weights = weight * np.atleast_2d(model.coef_).T  # [expanded features, outputs]
    start = weight * np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))
    total = graph.constant(np.broadcast_to(start, (weights.shape[1],)))
    if len(steps) == 1 and isinstance(steps[0], ColumnTransformer):
        for term in _parts(graph, steps[0], weights):
            total = graph.add("Add", term, total)
        return total
    matrix = INPUT
    for step in steps:
        matrix = write_step(graph, matrix, step)
    return graph.add("Add", graph.add("MatMul", matrix, graph.constant(weights)), total)


def _parts(graph: Graph, expand: ColumnTransformer, weights: np.ndarray) -> list[str]:
    terms: list[str] = []
    for name, part, columns in expand.transformers_:
        own = weights[expand.output_indices_[name]]
        if part == "drop" or not len(own):
            continue
        columns = [int(column) for column in columns]
        if hasattr(part, "categories_"):
            terms.append(_levels(graph, part, columns, own))
        else:
            expanded = write_step(graph, graph.column(INPUT, columns), part)
            terms.append(graph.add("MatMul", expanded, graph.constant(own)))
    return terms


def _levels(graph: Graph, part: Any, columns: list[int], weights: np.ndarray) -> str:
    tables: list[np.ndarray] = []
    offsets: list[int] = []
    start = used = 0
    for codes in part.categories_:
        known = np.asarray(codes, dtype=np.int64)
        table = np.zeros((int(known.max()) + 2, weights.shape[1]))  # entry 0 is the unseen code -1
        table[known + 1] = weights[used : used + len(known)]
        used += len(known)
        offsets.append(start + 1)
        start += len(table)
        tables.append(table)
    sizes = np.array([len(table) for table in tables], dtype=np.float64)
    chosen = graph.column(INPUT, columns)
    # A level that is in the plan but was not in the rows fitted on lies beyond the table.
    is_known = graph.add("Less", chosen, graph.constant(sizes - 1.0))
    codes = graph.add("Where", is_known, chosen, graph.constant(-1.0))
    index = graph.add(
        "Add", graph.add("Cast", codes, to=TensorProto.INT64), graph.constant(offsets, np.int64)
    )
    entries = graph.add("Gather", graph.constant(np.concatenate(tables)), index, axis=0)
    return graph.add("ReduceSum", entries, graph.constant([1], np.int64), keepdims=0)
