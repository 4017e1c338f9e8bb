"""A small core as generated Python for one row.

For a linear model the call into ONNX Runtime costs ten times what there is to compute. Here the
graph is walked once with names of variables in place of numbers, and every step that is left
becomes a line of Python over plain floats. Only numbers and positions of the graph reach the
code, never a text, so nothing in a bundle can become code. What this does not know, or what would
be slower than the runtime, is left to the runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.graph_reader import GraphNode, UnreadableGraph, read_graph, without_repeats

_MAX_LINES = 1000
"""About where the runtime becomes the faster one."""
_FORMS = {
    "Add": "{} + {}", "Sub": "{} - {}", "Mul": "{} * {}", "Div": "div({}, {})",
    "Less": "{} < {}", "GreaterOrEqual": "{} >= {}", "Equal": "{} == {}", "IsNaN": "{0} != {0}",
    "Neg": "-{}", "Abs": "abs({})", "Sign": "sign({})", "Exp": "exp({})", "Log": "log({})",
    "Max": "larger({}, {})", "Min": "smaller({}, {})", "Sigmoid": "sigmoid({})",
    "Clip": "{0} if {1} <= {0} <= {2} else clip({0}, {1}, {2})", "Where": "{1} if {0} else {2}",
}  # fmt: skip
"""Operators that take cells one by one."""
_TO_INTEGER, _TO_DOUBLE = 7, 11
_UNKNOWN = (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, MemoryError)
"""What a graph of another make may run into; then the runtime is used."""
Cells = NDArray[Any]
ScalarCore = Callable[[Sequence[float]], list[float]]


def compile_core(core: bytes, given: str, wanted: str, width: int) -> ScalarCore | None:
    """Compile a core for one row.

    Args:
        core: ONNX bytes, verified.
        given: Name of the graph's input, double `[N, width]`.
        wanted: Name of its output, double `[N, K]`.
        width: Numbers in a vector.

    Returns:
        What turns a vector into K scores; None where the runtime is to be used. May raise
        ArithmeticError, ValueError or IndexError, for which the runtime then has an answer.
    """
    try:
        return _Writer(core, given, wanted, width).finish()
    except _UNKNOWN:
        return None


class _Writer:
    """Walks a graph; a cell of a tensor is a constant or the name of a variable."""

    def __init__(self, core: bytes, given: str, wanted: str, width: int) -> None:
        graph = without_repeats(read_graph(core), wanted)
        self.wanted = wanted
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "exp": _exp, "log": _log, "div": _divide, "sign": _sign, "sigmoid": _sigmoid,
            "clip": _clip, "larger": _larger, "smaller": _smaller,
        }  # fmt: skip
        self.width = width
        self.cells: dict[str, Cells] = {
            name: value.astype(object) for name, value in graph.constants.items()
        }
        row = np.array([[f"x{place}" for place in range(width)]], dtype=object)
        self.cells[given] = row.reshape(1, width)
        for node in graph.nodes:
            self.cells[node.output] = self._node(node)

    def finish(self) -> ScalarCore:
        """The compiled function."""
        unpack = "".join(f"x{place}, " for place in range(self.width))
        scores = ", ".join(map(_text, self.cells[self.wanted].reshape(-1)))
        program = [f"def core(row):\n ({unpack}) = row", *self.lines, f" return [{scores}]"]
        exec(compile("\n".join(program), "<core>", "exec"), self.names)
        compiled: ScalarCore = self.names["core"]
        return compiled

    def _let(self, expression: str) -> str:
        if len(self.lines) >= _MAX_LINES:
            raise UnreadableGraph("too long to be faster than the runtime")
        name = f"t{len(self.lines)}"
        self.lines.append(f" {name} = {expression}")
        return name

    def _node(self, node: GraphNode) -> Cells:
        if any(name not in self.cells for name in node.inputs):
            raise UnreadableGraph("an input that is not there")
        inputs = [self.cells[name] for name in node.inputs]
        if node.op == "Div" and not any(isinstance(cell, str) for cell in inputs[1].reshape(-1)):
            return self._each("{} / {}", *inputs)
        if node.op in _FORMS:
            return self._each(_FORMS[node.op], *inputs)
        if node.op == "Gather":
            return self._gather(inputs[0], inputs[1], node.integers.get("axis", 0))
        if node.op == "Cast":
            wanted = {_TO_INTEGER: "int({})", _TO_DOUBLE: "float({})"}.get(node.integers["to"])
            if wanted is None:
                raise UnreadableGraph("a cast to another type")
            return self._each(wanted, *inputs)
        if node.op == "MatMul":
            return self._product(*inputs)
        if node.op == "ReduceSum":
            return self._sum(inputs[0], int(inputs[1].item()), bool(node.integers["keepdims"]))
        if node.op == "Softmax":
            return self._softmax(inputs[0])
        if node.op == "Concat":
            return np.concatenate(inputs, axis=node.integers["axis"])
        raise UnreadableGraph(f"operator {node.op}")

    def _each(self, form: str, *inputs: Cells) -> Cells:
        broadcast = np.broadcast_arrays(*inputs)
        result = np.empty(broadcast[0].shape, dtype=object)
        for place in np.ndindex(result.shape):
            result[place] = self._let(form.format(*(_text(cells[place]) for cells in broadcast)))
        return result

    def _gather(self, source: Cells, index: Cells, axis: int) -> Cells:
        if not any(isinstance(cell, str) for cell in index.reshape(-1)):
            return np.take(source, index.astype(np.int64), axis=axis)
        if axis != 0 or any(isinstance(cell, str) for cell in source.reshape(-1)):
            raise UnreadableGraph("a look-up in what is not constant")
        result = np.empty((*index.shape, *source.shape[1:]), dtype=object)
        for rest in np.ndindex(source.shape[1:]):
            table = f"table{len(self.names)}"
            self.names[table] = tuple(source[(slice(None), *rest)].tolist())
            for place in np.ndindex(index.shape):
                result[(*place, *rest)] = self._let(f"{table}[{_text(index[place])}]")
        return result

    def _product(self, row: Cells, weights: Cells) -> Cells:
        result = np.empty((1, weights.shape[1]), dtype=object)
        for target in range(weights.shape[1]):
            terms = zip(row[0], weights[:, target], strict=True)
            result[0, target] = self._let(" + ".join(f"{_text(a)} * {_text(b)}" for a, b in terms))
        return result

    def _sum(self, cells: Cells, axis: int, keep: bool) -> Cells:
        moved = np.moveaxis(cells, axis, -1)
        result = np.empty(moved.shape[:-1], dtype=object)
        for place in np.ndindex(result.shape):
            result[place] = self._let(" + ".join(map(_text, moved[place])))
        return np.expand_dims(result, axis) if keep else result

    def _softmax(self, cells: Cells) -> Cells:
        if cells.shape[0] != 1 or cells.ndim != 2:
            raise UnreadableGraph("a softmax over something else than the classes")
        largest = self._let(f"max({', '.join(map(_text, cells[0]))}, -1e308)")
        powers = [self._let(f"exp({_text(cell)} - {largest})") for cell in cells[0]]
        total = self._let(" + ".join(powers))
        return np.array([[self._let(f"{power} / {total}") for power in powers]], dtype=object)


def _text(cell: Any) -> str:
    """A variable's name as it is, a constant as Python writes it."""
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        raise UnreadableGraph("a constant that is not finite")
    return f"({cell!r})"


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    if x > 0 or x != x:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def _divide(x: float, y: float) -> float:
    try:
        return x / y
    except ZeroDivisionError:
        return math.copysign(math.inf, x) * math.copysign(1.0, y) if x else math.nan


def _sign(x: float) -> float:
    return math.copysign(1.0, x) if x else x


def _larger(x: float, y: float) -> float:
    return x if x >= y or x != x else y


def _smaller(x: float, y: float) -> float:
    return x if x <= y or x != x else y


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    power = math.exp(x)
    return power / (1.0 + power)


def _clip(x: float, low: float, high: float) -> float:
    return low if x < low else high if x > high else x
