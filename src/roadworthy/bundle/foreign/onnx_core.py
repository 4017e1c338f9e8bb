"""An ONNX model of others as a core: the plan's vector goes in where its inputs were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto

from roadworthy.bundle.core import INPUT, Graph
from roadworthy.bundle.foreign.apart import Levels, unseen_value
from roadworthy.bundle.foreign.onnx_file import OnnxFile
from roadworthy.bundle.foreign.onnx_model import WHOLE, Input, Outputs
from roadworthy.errors import InputError

_OPSET = 21


def graph_core(
    file: OnnxFile,
    inputs: Sequence[Input],
    outputs: Outputs,
    levels: Mapping[int, Levels],
    width: int,
) -> bytes:
    """Write the whole graph as a core.

    Args:
        file: The model.
        inputs: Its inputs.
        outputs: Which of its outputs are asked.
        levels: Position of a column of texts -> its levels.
        width: Scores a row.

    Raises:
        InputError: The graph's operators cannot be brought to the set that a core has.
    """
    graph = Graph()
    feeds = {each.name: _feed(graph, each, levels) for each in inputs}
    model = _current(_cut(file.model, outputs))
    scores = graph.join(model, feeds, outputs.scores)
    shaped = graph.add("Reshape", scores, graph.constant([-1, width], np.int64))
    double = graph.add("Cast", shaped, to=TensorProto.DOUBLE)
    features = sum(len(each.columns) for each in inputs)
    try:
        return graph.finish(double, features, width)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"the ONNX model cannot be joined to a core: {first[:200]}",
            fix=f"export it for opset {_OPSET}",
        ) from None


def _feed(graph: Graph, each: Input, levels: Mapping[int, Levels]) -> str:
    """An input's tensor out of the plan's vector."""
    if each.kind == TensorProto.STRING:
        parts = [_texts(graph, column, levels[column]) for column in each.columns]
        made = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    else:
        made = graph.column(INPUT, list(each.columns))
        if each.kind in WHOLE:
            _, low, high = WHOLE[each.kind]
            made = graph.add("Clip", made, graph.constant(low), graph.constant(high))
        if each.kind != TensorProto.DOUBLE:
            made = graph.add("Cast", made, to=each.kind)
    return graph.add("Reshape", made, graph.constant([-1], np.int64)) if each.flat else made


def _texts(graph: Graph, column: int, levels: Levels) -> str:
    """A level's place as the graph's own text, `[N, 1]`."""
    own = [*levels.values.values(), levels.blank, unseen_value(levels)]
    place = graph.add("Cast", graph.column(INPUT, [column]), to=TensorProto.INT64)
    return graph.add("Gather", graph.texts(own), place, axis=0)


def _cut(model: onnx.ModelProto, outputs: Outputs) -> onnx.ModelProto:
    """The model without what only labels and mappings need."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    needed, kept = {outputs.scores}, []
    for node in reversed(cut.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    del cut.graph.node[:], cut.graph.output[:], cut.graph.value_info[:]
    cut.graph.node.extend(reversed(kept))
    constants = [each for each in cut.graph.initializer if each.name in needed]
    del cut.graph.initializer[:]
    cut.graph.initializer.extend(constants)
    cut.graph.output.append(onnx.ValueInfoProto(name=outputs.scores))
    cut.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return cut


def _current(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the operators of a core's set, where its own is older."""
    versions = {each.domain: each.version for each in model.opset_import}
    own = versions.get("", versions.get("ai.onnx", _OPSET))
    if own >= _OPSET or all(node.domain for node in model.graph.node):
        return model
    try:
        return onnx.version_converter.convert_version(model, _OPSET)
    except Exception as error:  # the converter raises what it likes
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the model's opset {own} cannot be brought to {_OPSET}: {first[:200]}",
            fix=f"export it for opset {_OPSET}",
        ) from None
