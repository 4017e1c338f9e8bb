"""Logistic and ridge regression as a core."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.train.candidates.linear import BOUND, CLIP


def export_linear(pipeline: Any, features: int) -> bytes:
    """Export a pipeline of `expand` (standardise and clip numbers, one-hot codes) and a model.

    A one-hot level times its weight is a look-up: all levels lie in one table, and a row adds up
    its entries. A code that the encoder never saw finds a zero.
    """
    model = pipeline["model"]
    weights = np.atleast_2d(model.coef_).T  # [expanded features, outputs]
    outputs = weights.shape[1]
    graph = Graph()
    total = graph.constant(np.broadcast_to(np.atleast_1d(model.intercept_), (outputs,)))
    used = 0
    for name, part, columns in pipeline["expand"].transformers_:
        if name == "numbers":
            term = _numbers(graph, part, columns, weights[: len(columns)])
            used = len(columns)
        elif name == "levels":
            term = _levels(graph, part, columns, weights[used:])
        else:
            continue
        total = graph.add("Add", term, total)
    if not hasattr(model, "classes_"):
        return graph.finish(total, features, 1)
    if outputs == 1:
        return graph.finish(graph.add("Sigmoid", total), features, 1)
    return graph.finish(graph.add("Softmax", total, axis=1), features, outputs)


def _numbers(graph: Graph, part: Any, columns: list[int], weights: np.ndarray) -> str:
    scaler = part["standardise"]
    chosen = graph.add("Gather", INPUT, graph.constant(columns, np.int64), axis=1)
    bounded = graph.add("Clip", chosen, graph.constant(-BOUND), graph.constant(BOUND))
    centred = graph.add("Sub", bounded, graph.constant(scaler.mean_))
    scaled = graph.add("Div", centred, graph.constant(scaler.scale_))
    clipped = graph.add("Clip", scaled, graph.constant(-CLIP), graph.constant(CLIP))
    return graph.add("MatMul", clipped, graph.constant(weights))


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
    chosen = graph.add("Gather", INPUT, graph.constant(columns, np.int64), axis=1)
    # A level that is in the plan but was not in the rows fitted on lies beyond the table.
    is_known = graph.add("Less", chosen, graph.constant(sizes - 1.0))
    codes = graph.add("Where", is_known, chosen, graph.constant(-1.0))
    index = graph.add(
        "Add", graph.add("Cast", codes, to=TensorProto.INT64), graph.constant(offsets, np.int64)
    )
    entries = graph.add("Gather", graph.constant(np.concatenate(tables)), index, axis=0)
    return graph.add("ReduceSum", entries, graph.constant([1], np.int64), keepdims=0)
