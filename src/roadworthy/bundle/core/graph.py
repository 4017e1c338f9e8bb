"""A small builder of ONNX graphs, deterministic byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "X", "scores"
_OPSET = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]


class Graph:
    """Collects nodes and constants; names are numbered in the order of use."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

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

    def finish(self, output: str, features: int, width: int) -> bytes:
        """The model as bytes: `X` double `[N, features]` -> `scores` double `[N, width]`."""
        for names in (node.output for node in self._nodes):
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
