"""A model of others as plan and core: one number a column, everything else in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer

from roadworthy.bundle.core import INPUT, OUTPUT, Graph, export_core, export_margin
from roadworthy.bundle.core.steps import write_step
from roadworthy.bundle.foreign.apart import (
    Apart,
    Block,
    Levels,
    ask_levels,
    blocks_of,
    levels_of,
    reads_levels,
    take_apart,
)
from roadworthy.bundle.foreign.ensembles import Behind, ensemble_of
from roadworthy.bundle.foreign.onnx_model import open_session
from roadworthy.contract import Contract
from roadworthy.errors import InputError, OutsideError
from roadworthy.prepare.plan import Feature, FeaturePlan, Read
from roadworthy.train.servable import kind_of, why_not_servable

_DOUBLE = TensorProto.DOUBLE


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
        return _write(apart, whole=False)
    except InputError as error:
        first = error
    if apart.blocks and ensemble_of(apart.estimator) is not None:
        try:  # the converter may know an ensemble of what our exporters do not know
            return _write(apart, whole=True)
        except InputError:
            raise first from None
    if apart.levels or len(apart.used) < apart.width or not apart.blocks:
        raise first
    return converted(apart.model, len(apart.used))  # numbers only: the converter may know it whole


class Source(NamedTuple):
    """What a model, or a member of one, takes.

    Attributes:
        matrix: The tensor of its columns.
        places: Where each of its columns stands in that; None: where it stands in the model.
        codes: Column -> the place of its level.
        levels: Column -> its levels.
    """

    matrix: str
    places: Mapping[int, int] | None = None
    codes: Mapping[int, str] = {}
    levels: Mapping[int, Levels] = {}

    def column(self, graph: Graph, columns: Sequence[int]) -> str:
        """Some of its columns, `[N, len(columns)]`."""
        places = [c if self.places is None else self.places[c] for c in columns]
        return graph.column(self.matrix, places)


def _write(apart: Apart, *, whole: bool) -> bytes:
    """The graph; `whole`: an ensemble is left to the converter."""
    graph = Graph()
    places = {column: place for place, column in enumerate(apart.used)}
    source = Source(INPUT, places)
    codes = {
        column: _code_of_number(graph, source.column(graph, [column]), each)
        for column, each in apart.coded.items()
    }
    for column in apart.levels:
        code = source.column(graph, [column])
        codes[column] = graph.add("Cast", code, to=TensorProto.INT64)
    source = Source(INPUT, places, codes, apart.levels | apart.coded)
    scores, count = _answers(graph, apart, source, "", whole=whole)
    try:
        return graph.finish(scores, len(apart.used), count)
    except onnx.checker.ValidationError as error:  # operators of an older set
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{type(apart.estimator).__name__} is converted to a graph that does not hold: {first}"
        ) from None


def _answers(
    graph: Graph, apart: Apart, source: Source, method: str, *, whole: bool = False
) -> tuple[str, int]:
    """Write what a model, or a member of one, answers.

    Args:
        graph: The graph.
        apart: It in its parts.
        source: What it takes.
        method: The name of what is asked; empty for the probabilities, or the prediction.
        whole: As for `_write`.

    Returns:
        The tensor, and how many numbers a row has.
    """
    inner = source
    if apart.blocks:
        parts = [_block(graph, block, source) for block in apart.blocks]
        matrix = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
        for step in apart.steps:
            matrix = _step(graph, matrix, step)
        inner = Source(matrix)
    estimator = apart.estimator
    ensemble = ensemble_of(estimator)
    if ensemble is None or whole:
        if method == "decision_function":
            content = export_margin(estimator, _width(apart))
        else:
            content = _estimator(estimator, _width(apart))
        return graph.append(content, inner.matrix)
    if method == "decision_function":
        raise InputError(f"the decision function of {type(estimator).__name__} is not exported")

    def ask(member: Any, method: str) -> str:
        own = inner
        if isinstance(member, Behind):
            member, own = member.estimator, Source(member.matrix)
        if method == "predict" and hasattr(member, "classes_"):
            raise InputError(f"{type(estimator).__name__} of predicted classes is not exported")
        name, width = _answers(graph, take_apart(member), own, method)
        if method != "predict_proba" or width > 1:
            return name
        return graph.add("Concat", graph.add("Sub", graph.constant(1.0), name), name, axis=1)

    plain = inner.places is None or list(inner.places.values()) == list(range(apart.width))
    rows = inner.matrix if plain and not inner.codes else None
    width = len(getattr(estimator, "classes_", ())) or 1
    return ensemble.write(graph, estimator, ask, rows), width


def _block(graph: Graph, block: Block, source: Source) -> str:
    if reads_levels(block.step):
        made = _by_levels(graph, block, source.levels, source.codes)
    else:
        made = write_step(graph, source.column(graph, block.columns), block.step)
    return made if block.weight == 1.0 else graph.add("Mul", made, graph.constant(block.weight))


def _step(graph: Graph, matrix: str, step: Any) -> str:
    """A step behind the first: numbers are all it gets, also where it reads them by levels."""
    if not (isinstance(step, ColumnTransformer) and reads_levels(step)):
        return write_step(graph, matrix, step)
    blocks = tuple(blocks_of(step, tuple(range(step.n_features_in_)), 1.0))
    levels: dict[int, Levels] = {}
    for block in blocks:
        if reads_levels(block.step):
            levels |= levels_of(block)
    codes = {
        column: _code_of_number(graph, graph.column(matrix, [column]), each)
        for column, each in levels.items()
    }
    parts = [
        _by_levels(graph, block, levels, codes)
        if reads_levels(block.step)
        else write_step(graph, graph.column(matrix, list(block.columns)), block.step)
        for block in blocks
    ]
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _by_levels(
    graph: Graph, block: Block, levels: Mapping[int, Levels], codes: Mapping[int, str]
) -> str:
    """A block's outputs, looked up by the place of each column's level."""
    parts, order = [], []
    for column, (outputs, table) in zip(block.columns, ask_levels(block, levels), strict=True):
        if not len(outputs):
            continue
        flat = graph.add("Squeeze", codes[column], graph.constant([1], np.int64))
        parts.append(graph.add("Gather", graph.constant(table), flat, axis=0))
        order += outputs.tolist()
    made = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    return made if order == sorted(order) else graph.column(made, np.argsort(order).tolist())


def _code_of_number(graph: Graph, value: str, levels: Levels) -> str:
    """The place of a number among the levels, `[N, 1]`; blank and unseen ones as in `plan_of`."""
    known = np.array([[float(level) for level in levels.values]])
    count = known.shape[1]
    axis = graph.constant([1], np.int64)
    same = graph.add("Cast", graph.add("Equal", value, graph.constant(known)), to=_DOUBLE)
    place = graph.add("Mul", same, graph.constant([np.arange(count) - (count + 1.0)]))
    place = graph.add("ReduceSum", place, axis, keepdims=1)  # from the unseen one's on
    place = graph.add("Add", place, graph.constant(count + 1.0))
    blank = graph.constant(float(count))
    place = graph.add("Where", graph.add("IsNaN", value), blank, place)
    return graph.add("Cast", place, to=TensorProto.INT64)


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
    if not width:
        raise InputError(f"{name} is converted to a graph that does not say how much it answers")
    try:
        open_session(content)
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{name} is converted to a graph that does not run: {first[:200]}"
        ) from None
    return content
