"""scikit-learn's forests and trees as a core."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.bundle.core.trees import Branch, Ensemble, Leaf, Node

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def export_forest(pipeline: Any, features: int) -> bytes:
    """Export a pipeline of `clip` and a forest.

    scikit-learn's trees look at float32 numbers and compare them with float64 thresholds; the
    graph does the same.
    """
    forest = pipeline["model"]
    classes = len(forest.classes_) if hasattr(forest, "classes_") else 0
    ensemble = Ensemble(max(1, classes))
    for estimator in forest.estimators_:
        for target in range(max(1, classes)):
            ensemble.add_tree(target, _reader(estimator.tree_, target))
    graph = Graph()
    limits = graph.constant(-_FLOAT32_MAX), graph.constant(_FLOAT32_MAX)
    clipped = graph.add("Clip", INPUT, *limits)
    rounded = graph.add("Cast", clipped, to=TensorProto.FLOAT)
    sums = ensemble.write(graph, graph.add("Cast", rounded, to=TensorProto.DOUBLE))
    means = graph.add("Div", sums, graph.constant(float(len(forest.estimators_))))
    return graph.finish(means, features, max(1, classes))


def _reader(tree: Any, target: int) -> Any:
    left, right = tree.children_left, tree.children_right
    feature, threshold, value = tree.feature, tree.threshold, tree.value

    def node(number: int) -> Node:
        if left[number] == -1:
            return Leaf(float(value[number, 0, target]))
        return Branch(
            int(feature[number]), float(threshold[number]), int(left[number]), int(right[number])
        )

    return node
