"""CatBoost's symmetric trees (Prokhorenkova et al., 2018) as ordinary ones, with nothing idle.

A symmetric tree of depth d asks the same d questions on every way and has 2^d leaves. Questions
that are answered already, and questions on whose both ways the same number lies, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.core.float32 import fold_at_most
from roadworthy.bundle.core.trees import Branch, Leaf, Node
from roadworthy.errors import InputError


class _Question(NamedTuple):
    feature: int
    border: float
    threshold: float
    missing_high: bool
    bit: int


def oblivious_reader(
    splits: list[dict[str, Any]] | None,
    leaves: NDArray[np.float64],
    floats: list[dict[str, Any]],
) -> Callable[[int], Node]:
    """Nodes of one tree and output.

    Args:
        splits: The questions, the first of which is the lowest bit of a leaf's number; a number
            above the border sets its bit.
        leaves: The leaf values, `[2^d]`.
        floats: CatBoost's description of its features: places and how they treat NaN.

    Raises:
        InputError: A question about a category.
    """
    questions = [_question(split, bit, floats) for bit, split in enumerate(splits or [])]
    nodes: list[Node] = []
    _grow(nodes, questions, 0, {}, leaves)
    return nodes.__getitem__


def _question(split: dict[str, Any], bit: int, floats: list[dict[str, Any]]) -> _Question:
    if split["split_type"] != "FloatFeature":
        raise InputError("CatBoost's splits on categories are not exported")
    entry = floats[split["float_feature_index"]]
    border = np.array([split["border"]], dtype=np.float32).astype(np.float64)
    return _Question(
        int(entry["flat_feature_index"]),
        float(border[0]),
        float(fold_at_most(border, clipped=False)[0]),
        entry["nan_value_treatment"] == "AsTrue",
        bit,
    )


def _grow(
    nodes: list[Node],
    questions: list[_Question],
    number: int,
    known: dict[int, tuple[float, float]],
    leaves: NDArray[np.float64],
) -> int:
    """Add the nodes below a way; returns the first one's place.

    Args:
        nodes: The nodes so far.
        questions: What is still to be asked.
        number: Bits of the leaf's number that are decided.
        known: Feature -> it is above the first and at most the second border (a NaN counts as
            lying below all borders, or above all).
        leaves: The leaf values.
    """
    if not questions:
        nodes.append(Leaf(float(leaves[number])))
        return len(nodes) - 1
    first, *rest = questions
    low, high = known.get(first.feature, (-math.inf, math.inf))
    if first.border <= low:
        return _grow(nodes, rest, number | (1 << first.bit), known, leaves)
    if first.border >= high:
        return _grow(nodes, rest, number, known, leaves)
    place = len(nodes)
    nodes.append(Leaf(0.0))
    left = _grow(nodes, rest, number, {**known, first.feature: (low, first.border)}, leaves)
    above = {**known, first.feature: (first.border, high)}
    right = _grow(nodes, rest, number | (1 << first.bit), above, leaves)
    if isinstance(nodes[left], Leaf) and nodes[left] == nodes[right]:
        value = nodes[left]
        del nodes[place:]
        nodes.append(value)
        return place
    nodes[place] = Branch(first.feature, first.threshold, left, right, not first.missing_high)
    return place
