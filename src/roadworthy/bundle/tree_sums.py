"""Trees for many rows at once, by bit vectors instead of walks.

Every leaf has a bit. A branch forbids the leaves of the side that a row does not take, so that
of all leaves of a tree only the row's own is left when all branches have had their say. Which
leaves a feature's branches forbid depends only on where its number lies among their thresholds:
that is tabulated once, and a row is one look-up a feature, joined by AND; features with few
thresholds share a table. The idea is QuickScorer's (Lucchese et al., SIGIR 2015), whose bits are
found anew for each row where ours are looked up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.graph_reader import GraphNode, UnreadableGraph

_MAX_NODES = 60_000
_MAX_TARGETS = 10_000
_MAX_BYTES = 16 << 20
"""Of the tables. Of larger ensembles the runtime's walk is as fast, and needs no more memory."""
_JOINED_BYTES = 1 << 18
"""Of a table that several features share."""
_SLICE = 1 << 16
"""Rows times words that are looked at together: what a processor's cache holds."""
_LESS_OR_EQUAL, _SUM, _NONE = 0, 1, 0
_NO_BIT = 1022
"""The exponent of a double, as it is stored, that is one less than that of the first bit."""
Words = NDArray[Any]


class _Branches(NamedTuple):
    """The branches of all trees, and the bits below each: `[start, middle)` on its left side."""

    features: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    start: NDArray[np.int64]
    middle: NDArray[np.int64]
    end: NDArray[np.int64]


class _Table(NamedTuple):
    """The leaves allowed `[lines, words]` by some features.

    Attributes:
        features: Each with its thresholds, and how many lines one step between them is.
        allowed: The leaves.
    """

    features: list[tuple[int, NDArray[np.float64], int]]
    allowed: Words

    def lines(self, matrix: NDArray[np.float64]) -> NDArray[np.int64]:
        """The line of each row."""
        found: Any = 0
        for feature, cuts, step in self.features:
            found = found + step * np.searchsorted(cuts, matrix[:, feature])
        return np.asarray(found, dtype=np.int64)


class TreeSums:
    """What trees add up to.

    Args:
        node: A TreeEnsemble operator of `ai.onnx.ml` 5 that sums.

    Raises:
        UnreadableGraph: The trees compare otherwise than by <=, or are too many.
    """

    def __init__(self, node: GraphNode) -> None:
        integers, lists, tensors = node.integers, node.lists, node.tensors
        if (
            tensors["nodes_modes"].any()
            or integers.get("aggregate_function", _SUM) != _SUM
            or integers.get("post_transform", _NONE) != _NONE
            or len(lists["nodes_featureids"]) > _MAX_NODES
            or not 0 < integers["n_targets"] <= _MAX_TARGETS
            or np.isnan(tensors["nodes_splits"]).any()
        ):
            raise UnreadableGraph("trees of another kind, or too many")
        self.targets = integers["n_targets"]
        leaves, ends, branches = _walk(node)
        self._bits = 32 if ends.max(initial=0) <= 32 else 64
        slots, starts = _slots(ends, self._bits)
        self._weights, of_word = _leaves(node, leaves, slots[: len(leaves)], starts, self._bits)
        self._targets = [np.flatnonzero(of_word == target) for target in range(self.targets)]
        moved = branches._replace(
            start=slots[branches.start], middle=slots[branches.middle], end=slots[branches.end]
        )
        self._tables = _tables(moved, _used(slots[: len(leaves)], len(of_word), self._bits))
        self._may_be_empty = bool((ends > self._bits).any())  # a word of a tree that has several
        self._offsets = np.arange(len(of_word))[:, None] * (self._bits + 1) - _NO_BIT

    def __call__(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums `[N, targets]` of the trees for vectors `[N, width]`."""
        if len(matrix) == 1:  # alone a row would be added up in another order
            return self(matrix.repeat(2, axis=0))[:1]
        size = max(16, _SLICE // len(self._offsets))
        lines = [table.lines(matrix) for table in self._tables]
        sums = np.empty((len(matrix), self.targets))
        for start in range(0, len(matrix), size):
            part = slice(min(start, len(matrix) - 2), start + size)  # never one row alone
            self._add_up([own[part] for own in lines], sums[part])
        return sums

    def _add_up(self, lines: list[NDArray[np.int64]], sums: NDArray[np.float64]) -> None:
        left: Words = self._tables[0].allowed.take(lines[0], axis=0)
        for table, own in zip(self._tables[1:], lines[1:], strict=True):
            np.bitwise_and(left, table.allowed.take(own, axis=0), out=left)
        # one bit or none is left of a word: as a float it is a power of two, and tells its place
        powers: Words = left.T.astype(np.float64, order="C")
        places: Words = powers.view(np.int64)
        places >>= 52
        if self._may_be_empty:
            np.maximum(places, _NO_BIT, out=places)
        places += self._offsets
        added = self._weights.take(places)
        for target, words in enumerate(self._targets):  # one tree after the other, as in training
            its = added if self.targets == 1 else added[words]
            sums[:, target] = its.sum(axis=0)


def _walk(node: GraphNode) -> tuple[list[int], NDArray[np.int64], _Branches]:
    """The leaves from left to right, how many each tree has, and the branches."""
    sides = [
        list(zip(node.lists[f"nodes_{side}nodeids"], node.lists[f"nodes_{side}leafs"], strict=True))
        for side in ("true", "false")
    ]
    count = len(sides[0])
    below = np.full((3, count + 1), -1, dtype=np.int64)
    leaves: list[int] = []
    ends: list[int] = []
    for root in node.lists["tree_roots"]:
        before = len(leaves)
        waiting: list[tuple[int, int, int]] = [(0, root, 0)]
        while waiting:
            step, number, is_leaf = waiting.pop()
            if is_leaf:
                leaves.append(number)
                continue
            if below[step, number] != -1:
                raise UnreadableGraph("a branch that hangs in two places")
            below[step, number] = len(leaves)
            if step < 2:
                waiting += [(step + 1, number, 0), (0, *sides[step][number])]
        ends.append(len(leaves) - before)
    missing = node.lists.get("nodes_missing_value_tracks_true", [0] * count)
    return leaves, np.array(ends), _Branches(
        np.array(node.lists["nodes_featureids"], dtype=np.int64),
        node.tensors["nodes_splits"].astype(np.float64),
        np.array(missing, dtype=np.bool_),
        *below[:, :count],
    )  # fmt: skip


def _slots(ends: NDArray[np.int64], bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bit of each leaf, a tree beginning with a new word; and the first word of each tree.

    The end of the last leaf has a bit too: ranges end there.
    """
    words = -(-ends // bits)
    starts = np.cumsum(words) - words
    firsts = np.cumsum(ends) - ends
    places = np.arange(int(ends.sum()) + 1)
    tree = np.searchsorted(firsts, places, side="right") - 1
    return places - firsts[tree] + bits * starts[tree], np.append(starts, words.sum())


def _leaves(
    node: GraphNode,
    leaves: list[int],
    slots: NDArray[np.int64],
    starts: NDArray[np.int64],
    bits: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The weight of each bit, nothing for no bit; and the target of each word."""
    weights = np.zeros((int(starts[-1]), bits + 1))
    weights[slots // bits, 1 + slots % bits] = node.tensors["leaf_weights"][leaves]
    targets = np.array(node.lists["leaf_targetids"], dtype=np.int64)[leaves]
    of_word = np.zeros(len(weights), dtype=np.int64)
    of_word[slots // bits] = targets
    if (of_word[slots // bits] != targets).any():
        raise UnreadableGraph("a tree with several targets")
    return weights.reshape(-1), of_word


def _used(slots: NDArray[np.int64], words: int, bits: int) -> Words:
    """The bits of each word that stand for a leaf."""
    used = np.zeros(words, dtype=np.uint32 if bits == 32 else np.uint64)
    np.bitwise_or.at(used, slots // bits, used.dtype.type(1) << (slots % bits).astype(used.dtype))
    return used


def _tables(branches: _Branches, used: Words) -> list[_Table]:
    """For the features their thresholds, and the leaves allowed between each two of them."""
    features = _distinct(branches.features)
    cuts = [_distinct(branches.thresholds[branches.features == one]) for one in features]
    if sum(len(own) + 3 for own in cuts) * used.nbytes > _MAX_BYTES:
        raise UnreadableGraph("tables that would be too large")
    found = []
    for feature, own in zip(features.tolist(), cuts, strict=True):
        its = np.flatnonzero(branches.features == feature)
        lines = _distinct(np.append(own, np.inf))  # what lies behind is no number
        found.append(_Table([(feature, lines, 1)], _table(branches, its, lines, used)))
    return _joined(found)


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Values in order, each once; `np.unique` would load masked arrays, 6 MB for every worker."""
    inorder = np.sort(values)
    first = np.ones(len(inorder), dtype=bool)
    first[1:] = inorder[1:] != inorder[:-1]
    return inorder[first]


def _joined(tables: list[_Table]) -> list[_Table]:
    """Tables that together are small as one: the longest first, each where it still fits."""
    joined: list[_Table] = []
    for table in sorted(tables, key=lambda one: -len(one.allowed)):
        count, size = len(table.allowed), table.allowed.nbytes
        for place, other in enumerate(joined):
            if len(other.allowed) * size <= _JOINED_BYTES:
                steps = [(feature, cuts, step * count) for feature, cuts, step in other.features]
                both = other.allowed[:, None] & table.allowed[None]
                allowed = both.reshape(-1, both.shape[-1])
                joined[place] = _Table([*steps, *table.features], allowed)
                break
        else:
            joined.append(table)
    return joined


def _table(
    branches: _Branches, its: NDArray[np.int64], cuts: NDArray[np.float64], used: Words
) -> Words:
    """Leaves `[cuts + 1, words]` that a feature allows; the last line is for a missing number."""
    kind, bits = used.dtype.type, 8 * used.itemsize
    above = np.tile(used, (len(cuts), 1))
    upto, missing = above.copy(), above[:1].copy()
    for number in its.tolist():
        line = int(np.searchsorted(cuts, branches.thresholds[number]))
        middle = int(branches.middle[number])
        left = _masks(int(branches.start[number]), middle, bits)
        right = _masks(middle, int(branches.end[number]), bits)
        for word, mask in right:
            upto[line, word] &= kind(~mask & (1 << bits) - 1)
        for word, mask in left if line + 1 < len(cuts) else ():
            above[line + 1, word] &= kind(~mask & (1 << bits) - 1)
        for word, mask in right if branches.missing_left[number] else left:
            missing[0, word] &= kind(~mask & (1 << bits) - 1)
    np.bitwise_and.accumulate(above, axis=0, out=above)
    upto = np.bitwise_and.accumulate(upto[::-1], axis=0)[::-1]
    return np.concatenate([above & upto, missing])


def _masks(start: int, end: int, bits: int) -> list[tuple[int, int]]:
    """The words of bits `[start, end)`, and the bits in each."""
    masks = []
    for word in range(start // bits, -(-end // bits)):
        low, high = max(start - word * bits, 0), min(end - word * bits, bits)
        if low < high:
            masks.append((word, (1 << high) - (1 << low)))
    return masks
