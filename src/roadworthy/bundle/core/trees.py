"""Trees of every library as one `ai.onnx.ml` 5 TreeEnsemble in float64.

Trees are added in the library's own order of summation and leaves keep their float64 weights,
so that the graph's sums are the library's sums (measured: bit-equal for forests, within 2e-16
after the logistic link for boosting). Every branch compares by <= on the float64 number itself;
what a library does differently (float32, <, zeros) is folded into the threshold, so that trees of
different libraries share one operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

_LESS_OR_EQUAL = 0  # BRANCH_LEQ of the TreeEnsemble operator's node modes
_SUM = 1


class Leaf(NamedTuple):
    """A leaf and what it adds to its target."""

    weight: float


class Branch(NamedTuple):
    """A branch: left when the feature is at most the threshold, NaN as `missing_left` says."""

    feature: int
    threshold: float
    left: int
    right: int
    missing_left: bool


Node = Leaf | Branch


class Ensemble:
    """Collects trees into the flat lists of the operator; targets are its output columns."""

    def __init__(self) -> None:
        self.targets = 0
        self._roots: list[int] = []
        self._features: list[int] = []
        self._thresholds: list[float] = []
        self._missing_left: list[int] = []
        self._left: list[int] = []
        self._left_is_leaf: list[int] = []
        self._right: list[int] = []
        self._right_is_leaf: list[int] = []
        self._leaf_targets: list[int] = []
        self._leaf_weights: list[float] = []

    def reserve(self, count: int) -> int:
        """Add so many targets; returns the first."""
        self.targets += count
        return self.targets - count

    def add_constant(self, target: int, weight: float) -> None:
        """Add a tree of one leaf; the operator wants a branch, so both ways lead to it."""
        branch = self._branch(Branch(0, 0.0, 0, 0, missing_left=False))
        leaf = self._leaf(target, weight)
        self._left[branch] = self._right[branch] = leaf
        self._left_is_leaf[branch] = self._right_is_leaf[branch] = 1
        self._roots.append(branch)

    def add_tree(self, target: int, node: Callable[[int], Node], scale: float = 1.0) -> None:
        """Add a tree.

        Args:
            target: The output that its leaves add to.
            node: The tree's nodes by number, 0 being the root.
            scale: What the leaves' weights are multiplied by.
        """
        root = node(0)
        if isinstance(root, Leaf):
            self.add_constant(target, scale * root.weight)
            return
        first = self._branch(root)
        self._roots.append(first)
        waiting = [(root.right, first, False), (root.left, first, True)]
        while waiting:
            number, parent, is_left = waiting.pop()
            child = node(number)
            if isinstance(child, Leaf):
                self._link(parent, is_left, self._leaf(target, scale * child.weight), 1)
                continue
            place = self._branch(child)
            self._link(parent, is_left, place, 0)
            waiting.append((child.right, place, False))
            waiting.append((child.left, place, True))

    def attributes(self) -> list[onnx.AttributeProto]:
        """The operator's attributes, in a fixed order."""
        modes = np.full(len(self._features), _LESS_OR_EQUAL, np.uint8)
        fields = {
            "n_targets": self.targets,
            "aggregate_function": _SUM,
            "post_transform": 0,
            "tree_roots": self._roots,
            "nodes_modes": numpy_helper.from_array(modes, "nodes_modes"),
            "nodes_featureids": self._features,
            "nodes_splits": numpy_helper.from_array(np.array(self._thresholds), "nodes_splits"),
            "nodes_truenodeids": self._left,
            "nodes_trueleafs": self._left_is_leaf,
            "nodes_falsenodeids": self._right,
            "nodes_falseleafs": self._right_is_leaf,
            "leaf_targetids": self._leaf_targets,
            "leaf_weights": numpy_helper.from_array(np.array(self._leaf_weights), "leaf_weights"),
        }
        if any(self._missing_left):
            fields["nodes_missing_value_tracks_true"] = self._missing_left
        return [helper.make_attribute(name, value) for name, value in sorted(fields.items())]

    def _branch(self, branch: Branch) -> int:
        self._features.append(branch.feature)
        self._thresholds.append(branch.threshold)
        self._missing_left.append(int(branch.missing_left))
        for links in (self._left, self._left_is_leaf, self._right, self._right_is_leaf):
            links.append(0)
        return len(self._features) - 1

    def _leaf(self, target: int, weight: float) -> int:
        self._leaf_targets.append(target)
        self._leaf_weights.append(weight)
        return len(self._leaf_weights) - 1

    def _link(self, parent: int, is_left: bool, child: int, leaf: int) -> None:
        if is_left:
            self._left[parent], self._left_is_leaf[parent] = child, leaf
        else:
            self._right[parent], self._right_is_leaf[parent] = child, leaf
