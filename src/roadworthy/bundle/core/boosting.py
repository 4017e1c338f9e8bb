"""LightGBM as a core."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.bundle.core.trees import Branch, Ensemble, Leaf, Node
from roadworthy.errors import InputError

_ZERO = float(np.float32(1e-35))
"""LightGBM reads |x| up to this (kZeroThreshold) as 0."""


def export_boosting(model: Any, features: int) -> bytes:
    """Export an LGBMClassifier or LGBMRegressor that was fitted on the plan's matrix.

    Raises:
        InputError: The model uses native categorical splits or an objective with a link that
            this exporter does not know.
    """
    booster = model.booster_.dump_model()
    targets = booster["num_tree_per_iteration"]
    objective = booster["objective"].split()[0]
    known = {"binary", "multiclass", "regression", "regression_l1", "huber", "quantile", "mape"}
    if objective not in known:
        raise InputError(
            f"LightGBM's objective {objective!r} is not exported",
            fix=f"use one of {', '.join(sorted(known))}",
        )
    ensemble = Ensemble(targets)
    for number, tree in enumerate(booster["tree_info"]):
        ensemble.add_tree(number % targets, _reader(tree["tree_structure"]))
    graph = Graph()
    raw = ensemble.write(graph, INPUT)
    if objective == "binary":
        return graph.finish(graph.add("Sigmoid", raw), features, 1)
    if objective == "multiclass":
        return graph.finish(graph.add("Softmax", raw, axis=1), features, targets)
    return graph.finish(raw, features, 1)


def _reader(structure: dict[str, Any]) -> Any:
    nodes: list[dict[str, Any]] = []
    children: list[list[int]] = []
    waiting: list[tuple[dict[str, Any], int | None]] = [(structure, None)]
    while waiting:
        entry, parent = waiting.pop()
        if parent is not None:
            children[parent].append(len(nodes))
        nodes.append(entry)
        children.append([])
        if "split_index" in entry:
            place = len(nodes) - 1
            waiting.append((entry["right_child"], place))
            waiting.append((entry["left_child"], place))

    def node(number: int) -> Node:
        entry = nodes[number]
        if "split_index" not in entry:
            return Leaf(float(entry["leaf_value"]))
        if entry["decision_type"] != "<=":
            raise InputError("LightGBM's native categorical splits are not exported")
        left, right = children[number]
        return Branch(
            int(entry["split_feature"]), _fold_zero(float(entry["threshold"])), left, right
        )

    return node


def _fold_zero(threshold: float) -> float:
    """A threshold that sends every |x| <= 1e-35 the way that LightGBM sends 0."""
    if 0.0 <= threshold <= _ZERO:
        return _ZERO
    if -_ZERO <= threshold < 0.0:
        return math.nextafter(-_ZERO, -math.inf)
    return threshold
