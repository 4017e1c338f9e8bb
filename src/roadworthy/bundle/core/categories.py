"""Splits by categories as features of their own: a table says which codes go left."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.boosted import category_splits
from roadworthy.bundle.core.graph import Graph


def write_categories(graph: Graph, matrix: str, model: Any) -> str:
    """Add a column for each split by categories of a HistGradientBoosting model.

    Args:
        graph: The graph.
        matrix: What the trees look at; features of categories hold whole codes or NaN.
        model: The fitted model.

    Returns:
        The matrix with these columns behind its own: 0 where the split goes left, else 1.
    """
    splits = category_splits(model)
    parts = [matrix]
    for feature in sorted({split.feature for split in splits}):
        own = [split for split in splits if split.feature == feature]
        count = 1 + max(max(split.left, default=0) for split in own)
        table = np.ones((count + 2, len(own)))  # then codes beyond all that go left, and NaN
        for output, split in enumerate(own):
            table[sorted(split.left), output] = 0.0
            table[count + 1, output] = 0.0 if split.missing_left else 1.0
        code = graph.column(matrix, [feature])
        known = graph.add("Min", code, graph.constant(float(count)))
        place = graph.add("Where", graph.add("IsNaN", code), graph.constant(count + 1.0), known)
        place = graph.add("Cast", place, to=TensorProto.INT64)
        flat = graph.add("Squeeze", place, graph.constant([1], np.int64))
        parts.append(graph.add("Gather", graph.constant(table), flat, axis=0))
    return matrix if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
