"""What serving a model costs, told from its shape: microseconds a row and megabytes.

The coefficients are fitted to measurements of ONNX Runtime 1.31 on one core (one row, one
thread, rows changing from call to call; 10 to 1,000 trees of 8 to 1,000 leaves, 1 to 10 outputs):
median error 4 %, largest 16 %. `benchmarks/core_cost.py` measures and fits them anew. Its trees
and rows are random, which is the hard case for a processor: models of real tables were served in
0.45 to 0.9 of the time that their shape tells, and a fifth is taken off for it. As the price is
told from the shape alone, the same search comes to the same price on every machine.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np

from roadworthy.train.candidates import Config
from roadworthy.train.servable import kind_of

_BASE, _TARGET, _FEATURE = 3.0, 0.05, 0.002
_TREE, _STEP, _DEEP_STEP = 0.007, -0.0022, 0.00072
_LEAST_TREE = 0.008
_REAL = 0.8
"""What real trees and rows take of what random ones do."""
_LEAF_BYTES = 35.0
_ROW, _ROW_FEATURE = 2.0, 0.12
"""Microseconds from JSON to the vector and back."""
_LINEAR, _LINEAR_PART = 8.0, 9.0
_NODE = 1.0


class Size(NamedTuple):
    """The shape of a fitted model.

    Attributes:
        trees: Trees in the core: one a class where a tree has a value for each.
        leaves: Their leaves.
        parts: Groups of columns that a linear member scales or looks up.
        weights: Weights of a linear member.
        nodes: Further operators: links, and joins of unlike members.
    """

    trees: int = 0
    leaves: int = 0
    parts: int = 0
    weights: int = 0
    nodes: int = 0


class Price(NamedTuple):
    """What a row and a bundle cost."""

    microseconds: float
    megabytes: float

    def within(self, limit: Price) -> bool:
        """Whether it is at most a limit."""
        return self.microseconds <= limit.microseconds and self.megabytes <= limit.megabytes


def price(sizes: list[Size], features: int, outputs: int) -> Price:
    """Predict what a model, or a blend, costs.

    Args:
        sizes: The shape of each member.
        features: Width of the plan.
        outputs: Columns of scores.
    """
    trees = sum(size.trees for size in sizes)
    leaves = sum(size.leaves for size in sizes)
    linear = sum(_LINEAR + _LINEAR_PART * size.parts for size in sizes if size.parts)
    nodes = _NODE * (sum(size.nodes for size in sizes) + len(sizes) - 1)
    each = _per_tree(leaves / trees, leaves) if trees else 0.0
    micros = _BASE + _TARGET * outputs + _FEATURE * features + _ROW + _ROW_FEATURE * features
    weights = 8.0 * sum(size.weights for size in sizes)
    return Price(
        round(micros + _REAL * trees * each + linear + nodes, 2),
        round((2000.0 + _LEAF_BYTES * leaves + weights) / 1e6, 4),
    )


def _per_tree(mean_leaves: float, all_leaves: float) -> float:
    depth = math.log2(max(2.0, mean_leaves))
    return max(_LEAST_TREE, _TREE + depth * (_STEP + _DEEP_STEP * math.log2(max(2, all_leaves))))


def size_of(estimator: Any) -> Size:
    """The shape of a fitted estimator of any kind that can be served."""
    kind = kind_of(estimator)
    if kind == "log_target":
        inner = size_of(estimator.regressor_)
        return inner._replace(nodes=inner.nodes + 3)
    model = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    before = len(estimator.steps) - 1 if hasattr(estimator, "steps") else 0
    if kind == "lightgbm":
        text = model.booster_.model_to_string(num_iteration=model.best_iteration_ or -1)
        counts = [int(count) for count in re.findall(r"^num_leaves=(\d+)$", text, re.MULTILINE)]
        return Size(len(counts), sum(counts), nodes=1 + before)
    if kind == "xgboost":
        return _xgboost(model, before)
    if kind == "catboost":
        outputs = max(1, len(np.atleast_1d(model.get_scale_and_bias()[1])))
        leaves = int(np.sum(model.get_tree_leaf_counts())) if model.tree_count_ else 0
        return Size(outputs * model.tree_count_, outputs * leaves, nodes=1)
    if kind == "hist":
        counts = [int(tree.get_n_leaf_nodes()) for row in model._predictors for tree in row]
        return Size(len(counts), sum(counts), nodes=1 + before)
    if kind == "gradient":
        counts = [int(tree.tree_.n_leaves) for tree in model.estimators_.ravel()]
        return Size(len(counts), sum(counts), nodes=1)
    if kind == "forest":
        members = getattr(model, "estimators_", [model])
        outputs = len(model.classes_) if hasattr(model, "classes_") else 1
        leaves = sum(int(tree.tree_.n_leaves) for tree in members)
        return Size(outputs * len(members), outputs * leaves, nodes=4)
    parts = getattr(estimator.steps[0][1], "transformers_", [None]) if before else [None]
    return Size(parts=len(parts), weights=int(np.size(model.coef_)), nodes=1)


def _xgboost(model: Any, before: int) -> Size:
    booster = model.get_booster()
    best = booster.attr("best_iteration")
    booster = booster if best is None else booster[: int(str(best)) + 1]
    dumps = booster.get_dump()
    return Size(len(dumps), sum(dump.count("leaf=") for dump in dumps), nodes=before)


def most_rounds(family: str, config: Config, limit: Price, features: int, outputs: int) -> int:
    """Boosting rounds, or trees of a forest, with which a configuration stays within a limit.

    Args:
        family: The candidate's family.
        config: Its settings.
        limit: What one member may cost.
        features: Width of the plan.
        outputs: Trees a round: one a class above two.
    """
    leaves = _leaves(family, config)
    low, high = 1, 20_000
    while low < high:
        middle = (low + high + 1) // 2
        size = Size(middle * outputs, middle * outputs * leaves)
        if price([size], features, outputs).within(limit):
            low = middle
        else:
            high = middle - 1
    return low


def _leaves(family: str, config: Config) -> int:
    if family == "catboost":
        return 1 << int(config.get("depth", 6))
    if family == "xgboost":  # most deep trees are not full
        full: float = 2.0 ** (0.85 * config.get("max_depth", 6))
        return round(full)
    if family == "forest":
        return 1000
    return int(config.get("num_leaves") or config.get("max_leaf_nodes") or 31)
