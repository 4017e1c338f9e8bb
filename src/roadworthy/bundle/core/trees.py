"""Trees of every library as one `ai.onnx.ml` 5 TreeEnsemble in float64.

Trees are added in the library's own order of summation and leaves keep their float64 weights,
so that the graph's sums are the library's sums (measured: bit-equal for forests, within 2e-16
after the logistic link for boosting).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from onnx import numpy_helper

from roadworthy.bundle.core.graph import Graph

_LESS_OR_EQUAL = 0  # BRANCH_LEQ of the TreeEnsemble operator's node modes
_SUM = 1


class Leaf(NamedTuple):
    """A leaf and what it adds to its target."""

    weight: float


class Branch(NamedTuple):
    """A branch: left when the feature is at most the threshold."""

    feature: int
    threshold: float
    left: int
    right: int


Node = Leaf | Branch


class Ensemble:
    """Collects trees into the flat lists of the operator."""

    def __init__(self, targets: int) -> None:
        self.targets = targets
        self.roots: list[int] = []
        self.features: list[int] = []
        self.thresholds: list[float] = []
        self.left: list[int] = []
        self.left_is_leaf: list[int] = []
        self.right: list[int] = []
        self.right_is_leaf: list[int] = []
        self.leaf_targets: list[int] = []
        self.leaf_weights: list[float] = []

    def add_constant(self, target: int, weight: float) -> None:
        """Add a tree of one leaf; the operator wants a branch, so both ways lead to it."""
        branch = self._branch(0, 0.0)
        leaf = self._leaf(target, weight)
        self.left[branch] = self.right[branch] = leaf
        self.left_is_leaf[branch] = self.right_is_leaf[branch] = 1
        self.roots.append(branch)

    def add_tree(self, target: int, node: Callable[[int], Node]) -> None:
        """Add a tree.

        Args:
            target: The output that its leaves add to.
            node: The tree's nodes by number, 0 being the root.
        """
        root = node(0)
        if isinstance(root, Leaf):
            self.add_constant(target, root.weight)
            return
        first = self._branch(root.feature, root.threshold)
        self.roots.append(first)
        waiting = [(root.right, first, False), (root.left, first, True)]
        while waiting:
            number, parent, is_left = waiting.pop()
            child = node(number)
            if isinstance(child, Leaf):
                self._link(parent, is_left, self._leaf(target, child.weight), 1)
                continue
            place = self._branch(child.feature, child.threshold)
            self._link(parent, is_left, place, 0)
            waiting.append((child.right, place, False))
            waiting.append((child.left, place, True))

    def write(self, graph: Graph, matrix: str) -> str:
        """Add the operator to a graph; returns its output, double `[N, targets]`."""
        return graph.add(
            "TreeEnsemble",
            matrix,
            domain="ai.onnx.ml",
            n_targets=self.targets,
            aggregate_function=_SUM,
            post_transform=0,
            tree_roots=self.roots,
            nodes_modes=numpy_helper.from_array(
                np.full(len(self.features), _LESS_OR_EQUAL, np.uint8), "nodes_modes"
            ),
            nodes_featureids=self.features,
            nodes_splits=numpy_helper.from_array(np.array(self.thresholds), "nodes_splits"),
            nodes_truenodeids=self.left,
            nodes_trueleafs=self.left_is_leaf,
            nodes_falsenodeids=self.right,
            nodes_falseleafs=self.right_is_leaf,
            leaf_targetids=self.leaf_targets,
            leaf_weights=numpy_helper.from_array(np.array(self.leaf_weights), "leaf_weights"),
        )

    def _branch(self, feature: int, threshold: float) -> int:
        self.features.append(feature)
        self.thresholds.append(threshold)
        for links in (self.left, self.left_is_leaf, self.right, self.right_is_leaf):
            links.append(0)
        return len(self.features) - 1

    def _leaf(self, target: int, weight: float) -> int:
        self.leaf_targets.append(target)
        self.leaf_weights.append(weight)
        return len(self.leaf_weights) - 1

    def _link(self, parent: int, is_left: bool, child: int, leaf: int) -> None:
        if is_left:
            self.left[parent], self.left_is_leaf[parent] = child, leaf
        else:
            self.right[parent], self.right_is_leaf[parent] = child, leaf
