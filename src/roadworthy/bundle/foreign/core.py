"""A model of others as plan and core: one number a column, everything else in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from roadworthy.bundle.core import INPUT, OUTPUT, Graph, export_core
from roadworthy.bundle.core.steps import write_step
from roadworthy.bundle.foreign.apart import Apart, Block, Levels, ask_levels
from roadworthy.bundle.foreign.onnx_model import open_session
from roadworthy.contract import Contract
from roadworthy.errors import InputError, OutsideError
from roadworthy.prepare.plan import Feature, FeaturePlan, Read
from roadworthy.train.servable import kind_of, why_not_servable


def plan_of(contract: Contract, levels: Mapping[str, Levels]) -> FeaturePlan:
    """A plan with one feature a column: the number, or the level's place in the table.

    A blank's place is after the last level, an unseen level's after that.
    """
    features = []
    for column in contract.columns:
        if column.name not in levels:
            read: Read = "boolean" if column.kind == "boolean" else "number"
            features.append(Feature(column=column.name, read=read))
            continue
        known = tuple(levels[column.name].values)
        features.append(
            Feature(
                column=column.name,
                read="category",
                levels=known,
                blank=float(len(known)),
                unseen=float(len(known) + 1),
                code=True,
                scale="none",
            )
        )
    return FeaturePlan(tuple(features))


def core_of(apart: Apart) -> bytes:
    """Write everything after the plan as one graph.

    Raises:
        InputError: A step, or the estimator, cannot be written; the message names it.
        OutsideError: The converter of other estimators is not installed.
    """
    try:
        return _write(apart)
    except InputError:
        if apart.levels or len(apart.used) < apart.width:
            raise
    return converted(apart.model, len(apart.used))  # numbers only: the converter may know it whole


def _write(apart: Apart) -> bytes:
    graph = Graph()
    places = {column: place for place, column in enumerate(apart.used)}
    parts = [_block(graph, block, apart.levels, places) for block in apart.blocks]
    matrix = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    for step in apart.steps:
        matrix = write_step(graph, matrix, step)
    scores, count = graph.append(_estimator(apart.estimator, _width(apart)), matrix)
    try:
        return graph.finish(scores, len(apart.used), count)
    except onnx.checker.ValidationError as error:  # operators of an older set
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{type(apart.estimator).__name__} is converted to a graph that does not hold: {first}"
        ) from None


def _block(graph: Graph, block: Block, levels: dict[int, Levels], places: Mapping[int, int]) -> str:
    columns = list(block.columns)
    if columns[0] not in levels:
        chosen = graph.column(INPUT, [places[column] for column in columns])
        return write_step(graph, chosen, block.step)
    parts, order = [], []
    for column, (outputs, table) in zip(columns, ask_levels(block, levels), strict=True):
        if not len(outputs):
            continue
        code = graph.column(INPUT, [places[column]])
        place = graph.add("Cast", code, to=TensorProto.INT64)
        flat = graph.add("Squeeze", place, graph.constant([1], np.int64))
        parts.append(graph.add("Gather", graph.constant(table), flat, axis=0))
        order += outputs.tolist()
    made = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    return made if order == sorted(order) else graph.column(made, np.argsort(order).tolist())


def _width(apart: Apart) -> int:
    found = getattr(apart.estimator, "n_features_in_", None)
    if found is None:
        raise InputError(f"{type(apart.estimator).__name__} is not fitted")
    return int(found)


def _estimator(estimator: Any, width: int) -> bytes:
    """The estimator by the exact exporter, or else by skl2onnx."""
    if kind_of(estimator) is None:
        return converted(estimator, width)
    reason = why_not_servable(estimator)
    if reason is not None:
        raise InputError(f"{type(estimator).__name__} is not served: {reason}")
    return export_core(estimator, width)


def converted(estimator: Any, width: int) -> bytes:
    """An estimator as skl2onnx writes it, in float64; whether it is right, parity will tell.

    Raises:
        InputError: There is no converter for it, or only one in float32.
        OutsideError: skl2onnx is not installed.
    """
    try:
        from skl2onnx import to_onnx
    except ModuleNotFoundError:
        raise OutsideError(
            f"{type(estimator).__name__} needs 'skl2onnx', which is not installed",
            fix="pip install 'roadworthy[exchange]'",
        ) from None
    name = type(estimator).__name__
    try:
        model = to_onnx(
            estimator,
            np.zeros((1, width)),
            name=name,
            options={"zipmap": False} if hasattr(estimator, "classes_") else None,
            target_opset={"": 21, "ai.onnx.ml": 3},
        )
    except Exception as error:  # every converter raises what it likes
        first = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"{name} cannot be converted to ONNX: {first[:200]}",
            fix="take an estimator of docs/formats.md, or serve this model elsewhere",
        ) from None
    return _as_core(model, name)


def _as_core(model: onnx.ModelProto, name: str) -> bytes:
    """A converted model with `X` and `scores` as a core has them."""
    graph = model.graph
    output = graph.output[-1]  # probabilities after the label, or the one number
    kind = output.type.tensor_type.elem_type
    shape = output.type.tensor_type.shape.dim
    if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE) or len(shape) != 2:
        raise InputError(f"{name} is converted to a graph that gives no probabilities")
    old_input, old_output = graph.input[0].name, output.name
    for node in graph.node:
        node.input[:] = [INPUT if each == old_input else each for each in node.input]
    graph.node.append(helper.make_node("Cast", [old_output], [OUTPUT], to=TensorProto.DOUBLE))
    del graph.output[:]
    double = TensorProto.DOUBLE
    width = shape[1].dim_value
    graph.output.append(helper.make_tensor_value_info(OUTPUT, double, [None, width]))
    content: bytes = model.SerializeToString(deterministic=True)
    try:
        open_session(content)
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name} is converted to a graph that does not run: {first[:200]}"
        ) from None
    return content
