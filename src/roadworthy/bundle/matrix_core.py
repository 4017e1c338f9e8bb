"""A core as NumPy for many rows.

The runtime walks trees row by row and pays for every operator of a linear model; over whole
columns NumPy has the same numbers several times sooner. Like `scalar`, this knows the operators
that cores of this project use: what it does not know is left to the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.graph_reader import GraphNode, read_graph, without_repeats
from roadworthy.bundle.tree_sums import TreeSums

Array = NDArray[Any]
MatrixCore = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_MAX_BYTES = 8 << 20
_TO_INTEGER, _TO_DOUBLE = 7, 11
_UNKNOWN = (LookupError, TypeError, ValueError, ArithmeticError, MemoryError)
"""What a graph of another make may run into; then the runtime is used."""


def _sigmoid(x: Array) -> Array:
    power = np.exp(-np.abs(x))
    rest: Array = 1.0 / (1.0 + power)
    return np.where(x >= 0, rest, power * rest)


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _product(x: Array, weights: Array) -> Array:
    # BLAS would add up otherwise for other numbers of rows: an answer must not hang on company
    product: Array = np.einsum("nk,kj->nj", x, weights)
    return product


_CELLS: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.true_divide,
    "Less": np.less, "GreaterOrEqual": np.greater_equal, "Equal": np.equal, "IsNaN": np.isnan,
    "Neg": np.negative, "Abs": np.abs, "Sign": np.sign, "Exp": np.exp, "Log": np.log,
    "Max": np.maximum, "Min": np.minimum, "Sigmoid": _sigmoid, "Clip": np.clip,
    "Where": np.where, "MatMul": _product, "Identity": lambda x: x,
}  # fmt: skip
"""Operators that need nothing but their inputs."""


def compile_matrix_core(core: bytes, given: str, wanted: str) -> MatrixCore | None:
    """Compile a core for many rows.

    Args:
        core: ONNX bytes, verified.
        given: Name of the graph's input, double `[N, width]`.
        wanted: Name of its output, double `[N, K]`.

    Returns:
        What turns vectors into scores; None where the runtime is to be used. May raise IndexError
        or ValueError, for which the runtime then has an answer.
    """
    if len(core) > _MAX_BYTES:
        return None
    try:
        graph = without_repeats(read_graph(core), wanted)
        steps = [(node.output, node.inputs, _operator(node)) for node in graph.nodes]
    except _UNKNOWN:
        return None
    constants: Mapping[str, Array] = graph.constants
    names = {given, *constants, *(output for output, _, _ in steps)}
    if wanted not in names or any(not names.issuperset(inputs) for _, inputs, _ in steps):
        return None

    def run(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores `[N, K]` of vectors `[N, width]`."""
        tensors = {**constants, given: matrix}
        with np.errstate(all="ignore"):
            for output, inputs, operator in steps:
                tensors[output] = operator(*(tensors[name] for name in inputs))
        return tensors[wanted]

    return run


def _operator(node: GraphNode) -> Callable[..., Array]:
    """What a node does; KeyError for what is not known here."""
    attributes = node.integers
    if node.op == "ai.onnx.ml.TreeEnsemble":
        return TreeSums(node)
    if node.op == "Gather":
        axis = attributes.get("axis", 0)
        return lambda source, index: np.take(source, index, axis=axis)
    if node.op == "Concat":
        end = attributes["axis"]
        return lambda *parts: np.concatenate(parts, axis=end)
    if node.op == "Cast":
        kind = {_TO_INTEGER: np.int64, _TO_DOUBLE: np.float64}[attributes["to"]]
        return lambda cells: cells.astype(kind)
    if node.op == "ReduceSum":
        keep = bool(attributes.get("keepdims", 1))
        return lambda cells, axes: cells.sum(axis=tuple(axes.tolist()), keepdims=keep)
    if node.op == "Softmax" and attributes.get("axis", -1) in (1, -1):
        return _softmax
    if node.op == "Slice" and len(node.inputs) == 4:
        return _slice
    return _CELLS[node.op]


def _slice(source: Array, start: Array, end: Array, axis: Array) -> Array:
    """The Slice that cores use: a run of columns."""
    if axis.tolist() != [1]:
        raise IndexError("another axis")
    columns: Array = source[:, start.item() : end.item()]
    return columns
