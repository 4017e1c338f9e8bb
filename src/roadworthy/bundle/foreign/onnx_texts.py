"""Which texts an ONNX graph knows of each of its columns: they become the column's levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

Slots = tuple[frozenset[int], ...]
"""The columns behind each place of a tensor's second axis; one place when they are mixed."""

_SAME = ("Identity", "Cast")
_ONE_SLOT = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand")


def known_texts(
    model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]
) -> dict[int, tuple[str, ...]]:
    """The texts that a column may be compared with, sorted.

    Texts are followed through the graph as far as they stay texts. Where that cannot tell two
    columns from each other, both get all of the texts: a level too many does no harm.

    Args:
        model: The model.
        inputs: Input of texts -> the columns that are in it.
    """
    graph = model.graph
    constants = _constants(graph)
    kinds = _kinds(model)
    slots: dict[str, Slots] = {
        name: tuple(frozenset([column]) for column in columns) for name, columns in inputs.items()
    }
    found: dict[int, set[str]] = {column: set() for each in inputs.values() for column in each}
    for node in graph.node:
        traced = [name for name in node.input if name in slots]
        if not traced:
            continue
        reached = frozenset().union(*(part for name in traced for part in slots[name]))
        texts = {text for name in node.input for text in constants.get(name, ())}
        texts.update(_attribute_texts(node))
        for column in reached:
            found[column] |= texts
        made = _through(node, slots, graph) or (reached,)
        for place, output in enumerate(node.output):
            if kinds.get(output, TensorProto.STRING) == TensorProto.STRING and _gives_texts(node):
                slots[output] = (made[place],) if node.op_type == "Split" else made
    return {column: tuple(sorted(texts - {""})) for column, texts in found.items()}


def _through(node: NodeProto, slots: Mapping[str, Slots], graph: onnx.GraphProto) -> Slots | None:
    """The columns behind an output, where an operator only moves them; None: they are mixed."""
    first = slots.get(node.input[0])
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    if node.op_type in _SAME:
        return first
    if node.op_type in _ONE_SLOT and first is not None and len(first) == 1:
        return first
    if node.op_type == "Concat" and axis in (1, -1) and all(name in slots for name in node.input):
        return tuple(part for name in node.input for part in slots[name])
    chooses = node.op_type == "ArrayFeatureExtractor" or (node.op_type == "Gather" and axis == 1)
    if chooses and first is not None:
        places = _numbers(node.input[1], graph)
        if places is not None and all(-len(first) <= place < len(first) for place in places):
            return tuple(first[place] for place in places)
    if node.op_type == "Split" and axis in (1, -1) and first and len(first) == len(node.output):
        return first
    if node.op_type == "Split":
        return tuple(frozenset().union(*(first or ())) for _ in node.output)
    return None


def _gives_texts(node: NodeProto) -> bool:
    """Whether an operator on texts answers texts; the checker's types do not tell of all."""
    if node.op_type in ("OneHotEncoder", "CategoryMapper", "TfIdfVectorizer", "Equal"):
        return False
    if node.op_type == "LabelEncoder":
        names = {attribute.name for attribute in node.attribute}
        tensors = [each.t for each in node.attribute if each.name == "values_tensor"]
        return "values_strings" in names or any(
            each.data_type == TensorProto.STRING for each in tensors
        )
    return True


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # inference is a help and no more
        graph = model.graph
    return {
        each.name: each.type.tensor_type.elem_type
        for each in (*graph.value_info, *graph.output)
        if each.type.HasField("tensor_type") and each.type.tensor_type.elem_type
    }


def _constants(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    found = {each.name: _tensor_texts(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = tuple(_attribute_texts(node))
    return found


def _tensor_texts(tensor: TensorProto) -> tuple[str, ...]:
    if tensor.data_type != TensorProto.STRING:
        return ()
    return tuple(text.decode("utf-8", "replace") for text in tensor.string_data)


def _attribute_texts(node: NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.STRINGS and not attribute.name.startswith("values"):
            yield from (text.decode("utf-8", "replace") for text in attribute.strings)
        elif attribute.type == AttributeProto.TENSOR and attribute.name != "values_tensor":
            yield from _tensor_texts(attribute.t)


def _numbers(name: str, graph: onnx.GraphProto) -> list[int] | None:
    for each in graph.initializer:
        if each.name == name:
            return [int(number) for number in numpy_helper.to_array(each).reshape(-1)]
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            value = helper.get_attribute_value(node.attribute[0])
            if isinstance(value, TensorProto):
                value = numpy_helper.to_array(value).reshape(-1)
            return [int(number) for number in value]
    return None
