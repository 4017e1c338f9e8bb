"""A small builder of ONNX graphs, deterministic byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from roadworthy.bundle.core.trees import Ensemble

INPUT, OUTPUT = "X", "scores"
_OPSET = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]


class Graph:
    """Collects nodes and constants; names are numbered in the order of use."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._trees: dict[str, tuple[Ensemble, onnx.NodeProto]] = {}
        self._slices: list[tuple[onnx.NodeProto, str, int]] = []

    def constant(self, value: ArrayLike, dtype: Any = np.float64) -> str:
        """Add a constant tensor; returns its name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        output = f"t{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(op, list(inputs), [output], domain=domain, **attributes)
        )
        return output

    def trees(self, matrix: str = INPUT) -> Ensemble:
        """The one tree operator on a matrix; trees may be added to it until the graph is done."""
        if matrix not in self._trees:
            self.add("TreeEnsemble", matrix, domain="ai.onnx.ml")
            self._trees[matrix] = Ensemble(), self._nodes[-1]
        return self._trees[matrix][0]

    def targets(self, matrix: str, first: int, count: int) -> str:
        """The sums of `count` targets of a matrix's trees, double `[N, count]`."""
        _, node = self._trees[matrix]
        limits = [self.constant([limit], np.int64) for limit in (first, first + count, 1)]
        name = self.add("Slice", node.output[0], *limits)
        self._slices.append((self._nodes[-1], matrix, count))
        return name

    def column(self, matrix: str, columns: list[int]) -> str:
        """Some columns of a matrix, `[N, len(columns)]`."""
        return self.add("Gather", matrix, self.constant(columns, np.int64), axis=1)

    def finish(self, output: str, features: int, width: int) -> bytes:
        """The model as bytes: `X` double `[N, features]` -> `scores` double `[N, width]`."""
        self._close_trees()
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [OUTPUT if name == output else name for name in names]
        double = TensorProto.DOUBLE
        graph = helper.make_graph(
            self._nodes,
            "core",
            [helper.make_tensor_value_info(INPUT, double, [None, features])],
            [helper.make_tensor_value_info(OUTPUT, double, [None, width])],
            self._constants,
        )
        model = helper.make_model(
            graph, opset_imports=_OPSET, ir_version=10, producer_name="roadworthy"
        )
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _close_trees(self) -> None:
        """Write the trees, and drop the slices that take all of an operator's targets."""
        for ensemble, node in self._trees.values():
            node.attribute.extend(ensemble.attributes())
        for entry, matrix, count in self._slices:
            ensemble, node = self._trees[matrix]
            if count < ensemble.targets:
                continue
            self._nodes = [other for other in self._nodes if other is not entry]
            unused = set(entry.input[1:])
            self._constants = [c for c in self._constants if c.name not in unused]
            node.output[0] = entry.output[0]
