"""A small builder of ONNX graphs, deterministic byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from roadworthy.bundle.core.trees import Ensemble

INPUT, OUTPUT = "X", "scores"
_VERSIONS = {"": 21, "ai.onnx.ml": 5, "com.microsoft": 1}
_IR = 10
_ALWAYS = ("", "ai.onnx.ml")
_OLD_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_BEFORE_TREES = 4  # the last ai.onnx.ml that has the old operators of trees


class Graph:
    """Collects nodes and constants; names are numbered in the order of use.

    Args:
        prefix: What the names begin with.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._trees: dict[str, tuple[Ensemble, onnx.NodeProto]] = {}
        self._slices: list[tuple[onnx.NodeProto, str, int]] = []
        self._opset = _VERSIONS[""]

    def constant(self, value: ArrayLike, dtype: Any = np.float64) -> str:
        """Add a constant tensor; returns its name."""
        name = f"{self._prefix}c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def texts(self, values: Sequence[str], shape: Sequence[int] | None = None) -> str:
        """Add a constant tensor of texts; returns its name."""
        name = f"{self._prefix}c{len(self._constants)}"
        self._constants.append(text_tensor(values, name, shape))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        output = f"{self._prefix}t{len(self._nodes)}"
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

    def append(self, model: bytes, matrix: str) -> tuple[str, int]:
        """Go on with a finished graph `X` -> `scores`.

        Args:
            model: Its bytes.
            matrix: What it gets for `X`.

        Returns:
            The name of its scores, and how many a row has.
        """
        loaded = onnx.load_from_string(model)
        scores = self.join(loaded, {INPUT: matrix}, OUTPUT)
        return scores, loaded.graph.output[0].type.tensor_type.shape.dim[1].dim_value

    def join(self, model: onnx.ModelProto, inputs: Mapping[str, str], output: str) -> str:
        """Go on with any model, which becomes part of the graph.

        Args:
            model: The model; its own operator set may be newer than the graph's, not older.
            inputs: Its inputs -> what they get.
            output: The tensor that is wanted of it.

        Returns:
            That tensor's name here.
        """
        names = dict(inputs)
        start = f"{self._prefix}a{len(self._nodes)}_"
        for each in model.opset_import:
            if each.domain in ("", "ai.onnx"):
                self._opset = max(self._opset, each.version)
        for constant in model.graph.initializer:
            names[constant.name] = constant.name = start + constant.name
            self._constants.append(constant)
        for node in model.graph.node:
            node.input[:] = [names[name] if name else name for name in node.input]
            names |= {name: start + name for name in node.output if name}
            node.output[:] = [names[name] if name else name for name in node.output]
            self._nodes.append(node)
        return names[output]

    def name(self, tensor: str, name: str) -> None:
        """Give a tensor another name, as an output has."""
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))

    def finish(self, output: str, features: int, width: int) -> bytes:
        """The model as bytes: `X` double `[N, features]` -> `scores` double `[N, width]`."""
        self._close_trees()
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [OUTPUT if name == output else name for name in names]
        double = TensorProto.DOUBLE
        inputs = [helper.make_tensor_value_info(INPUT, double, [None, features])]
        outputs = [helper.make_tensor_value_info(OUTPUT, double, [None, width])]
        return self.close("core", inputs, outputs)

    def close(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """The model as bytes, its trees being closed or of graphs that were appended.

        Args:
            name: The graph's name.
            inputs: What it takes.
            outputs: What it answers.
            metadata: What else the file says.
        """
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._constants)
        versions = self._versions()
        model = helper.make_model(
            graph,
            opset_imports=versions,
            ir_version=max(_IR, helper.find_min_ir_version_for(versions, ignore_unknown=True)),
            producer_name="roadworthy",
        )
        helper.set_model_props(model, dict(metadata or {}))
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _versions(self) -> list[onnx.OperatorSetIdProto]:
        """The operator sets of the graph, as old as the operators of others in it need."""
        used = {*_ALWAYS, *(node.domain for node in self._nodes)}
        versions = {**_VERSIONS, "": self._opset}
        if any(node.op_type in _OLD_TREES for node in self._nodes):
            versions["ai.onnx.ml"] = _BEFORE_TREES
        return [
            helper.make_opsetid(domain, version)
            for domain, version in versions.items()
            if domain in used
        ]

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


def text_tensor(
    values: Sequence[str], name: str, shape: Sequence[int] | None = None
) -> onnx.TensorProto:
    """Texts as a tensor, `[len(values)]` if no shape is given."""
    tensor = onnx.TensorProto(name=name, data_type=TensorProto.STRING)
    tensor.dims.extend(shape if shape is not None else [len(values)])
    tensor.string_data.extend(value.encode() for value in values)
    return tensor
