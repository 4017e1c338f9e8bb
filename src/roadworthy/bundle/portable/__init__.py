"""`portable.onnx`: the whole model as one graph, raw cells in, answers out, for any language.

Each column is an input `[N, 1]` of its own name: texts for categories and free text, float64 for
everything else. The graph computes in float64 what plan and core compute; what it cannot say
exactly it does not say at all.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper

from roadworthy.bundle.core.graph import Graph
from roadworthy.bundle.portable.cells import has_numbers, write_category, write_number
from roadworthy.bundle.portable.dates import write_date
from roadworthy.bundle.portable.inexact import InexactError
from roadworthy.bundle.portable.texts import write_text
from roadworthy.contract import Column, Contract, Interval, Target
from roadworthy.prepare.plan import Feature, FeaturePlan

FILE_NAME = "portable.onnx"
_LARGEST = sys.float_info.max
_READS = {
    "number": "number; NaN is a blank",
    "boolean": "0 or 1; NaN is a blank",
    "date": "seconds since 1970-01-01 00:00 UTC; NaN is a blank",
    "category": "level; an empty text is a blank",
    "text": "text; an empty one is a blank",
}

__all__ = ["FILE_NAME", "Portable", "export_portable", "output_names"]


class Portable(NamedTuple):
    """The portable graph, or why there is none.

    Attributes:
        content: Its bytes; None when a column cannot be said exactly.
        reasons: Column -> why it cannot.
    """

    content: bytes | None
    reasons: dict[str, str]


def export_portable(contract: Contract, plan: FeaturePlan, core: bytes) -> Portable:
    """Write the whole model as one graph.

    Args:
        contract: The columns.
        plan: How they become a vector.
        core: The core's bytes, `X` -> `scores`.
    """
    prefix = "~"
    while any(column.name.startswith(prefix) for column in contract.columns):
        prefix += "~"
    graph = Graph(prefix)
    features = plan.by_column()
    parts, reasons = [], {}
    for column in contract.columns:
        try:
            parts.append(_write(graph, column, features[column.name], contract.blanks))
        except InexactError as error:
            reasons[column.name] = str(error)
    if reasons:
        return Portable(None, reasons)
    matrix = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    scores, width = graph.append(core, matrix)
    if width == 1 and contract.target.classes:  # the second class's probability alone
        rest = graph.add("Sub", graph.constant(1.0), scores)
        scores = graph.add("Concat", rest, scores, axis=1)
    outputs = _answer(graph, scores, contract)
    inputs = [
        helper.make_tensor_value_info(column.name, _type(column), [None, 1], _reads(column))
        for column in contract.columns
    ]
    classes = msgspec.json.encode(contract.target.class_names).decode()
    metadata = {"classes": classes, "target": contract.target.name}
    return Portable(graph.close("portable", inputs, outputs, metadata), {})


def output_names(contract: Contract) -> dict[str, str]:
    """What the graph answers -> the output's name, which no column may have."""
    wanted = ["prediction"]
    if contract.target.classes:
        wanted.append("probabilities")
    elif contract.target.interval is not None:
        wanted += ["low", "high"]
    names = {}
    for name in wanted:
        names[name] = name
        while names[name] in contract.names:
            names[name] += "_"
    return names


def _write(graph: Graph, column: Column, features: list[Feature], blanks: tuple[str, ...]) -> str:
    if column.kind == "category":
        return write_category(graph, column.name, column, features, blanks)
    if column.kind == "text":
        return write_text(graph, column.name, column, features, blanks)
    if column.kind == "date":
        return write_date(graph, column.name, features)
    return write_number(graph, column.name, features)


def _type(column: Column) -> int:
    return int(TensorProto.DOUBLE if has_numbers(column) else TensorProto.STRING)


def _reads(column: Column) -> str:
    if column.kind == "category" and has_numbers(column):
        return "level, a number; NaN is a blank"
    return _READS[column.kind]


def _answer(graph: Graph, scores: str, contract: Contract) -> list[onnx.ValueInfoProto]:
    """Name the outputs: the prediction, and probabilities or the ends of an interval."""
    target, names = contract.target, output_names(contract)
    if target.classes:
        return _classes(graph, scores, target, names)
    number = graph.add("Squeeze", scores, graph.constant([1], np.int64))
    graph.name(number, names["prediction"])
    if target.interval is not None:
        for tensor, end in zip(_interval(graph, number, target.interval), ("low", "high"),
                               strict=True):  # fmt: skip
            graph.name(tensor, names[end])
    double = TensorProto.DOUBLE
    return [helper.make_tensor_value_info(name, double, [None]) for name in names.values()]


def _classes(
    graph: Graph, scores: str, target: Target, names: dict[str, str]
) -> list[onnx.ValueInfoProto]:
    graph.name(scores, names["probabilities"])
    if target.threshold is None:
        code = graph.add("ArgMax", scores, axis=1, keepdims=0)
    else:
        positive = target.positive_code
        chosen = graph.add("Gather", scores, graph.constant(positive, np.int64), axis=1)
        reached = graph.add("GreaterOrEqual", chosen, graph.constant(target.threshold))
        codes = (graph.constant(code, np.int64) for code in (positive, 1 - positive))
        code = graph.add("Where", reached, *codes)
    kinds = {type(value) for value in target.classes}
    if kinds == {bool}:
        table, kind = graph.constant(target.classes, np.bool_), TensorProto.BOOL
    elif kinds == {int}:
        table, kind = graph.constant(target.classes, np.int64), TensorProto.INT64
    else:
        table, kind = graph.texts(target.class_names), TensorProto.STRING
    graph.name(graph.add("Gather", table, code, axis=0), names["prediction"])
    return [
        helper.make_tensor_value_info(names["prediction"], kind, [None]),
        helper.make_tensor_value_info(
            names["probabilities"], TensorProto.DOUBLE, [None, len(target.classes)]
        ),
    ]


def _interval(graph: Graph, number: str, interval: Interval) -> list[str]:
    """The ends of a prediction interval, as `Interval.around_many`."""
    ends = []
    for distance in (interval.low, interval.high):
        if interval.floor is None:
            end = graph.add("Add", number, graph.constant(distance))
        else:
            base = graph.add("Max", number, graph.constant(interval.floor))
            end = graph.add("Mul", base, graph.constant(math.exp(distance)))
        limits = graph.constant(-_LARGEST), graph.constant(_LARGEST)
        ends.append(graph.add("Clip", end, *limits))
    return ends
