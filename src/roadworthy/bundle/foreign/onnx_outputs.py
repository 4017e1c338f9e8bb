"""What an ONNX model answers: which of its outputs are scores, and of which classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from roadworthy.bundle.foreign.onnx_file import OnnxFile
from roadworthy.bundle.foreign.onnx_model import FLOATS, Asked, Outputs
from roadworthy.errors import CheckFailed, InputError

Floats = NDArray[np.float64]
_SURE = 1e-6


def outputs_of(file: OnnxFile) -> Outputs:
    """What of the graph's outputs is the label and what the scores.

    Raises:
        InputError: There are no scores, or several.
    """
    graph = file.model.graph
    makers = {name: node for node in graph.node for name in node.output}
    labels, scores, mapped = [], [], []
    for output in graph.output:
        if not output.type.HasField("tensor_type"):
            node = makers.get(output.name)
            if node is not None and node.op_type == "ZipMap":
                mapped.append((output.name, node))
        elif output.type.tensor_type.elem_type in FLOATS:
            scores.append(output.name)
        else:
            labels.append(output.name)
    label = labels[0] if labels else None
    if len(mapped) == 1 and not scores:
        name, node = mapped[0]
        return Outputs(label, node.input[0], (name, _listed(node)))
    if len(scores) > 1:
        likely = [name for name in scores if "prob" in name.lower()]
        scores = likely if len(likely) == 1 else scores
    if len(scores) != 1:
        what = f"several outputs of numbers: {', '.join(scores)}" if scores else "no probabilities"
        raise InputError(
            f"the ONNX model gives {what}",
            fix="export it with one output of probabilities [N, classes], or one number a row",
        )
    return Outputs(label, scores[0])


def classes_of_graph(asked: Asked, rows: pl.DataFrame, targets: Sequence[Any]) -> tuple[Any, ...]:
    """The classes in the order of the probabilities; empty for a regression.

    They are read from the file, and must fit the labels that it answers to the sample.

    Args:
        asked: The model, its classes yet unknown.
        rows: The sample as the model takes it.
        targets: The values that the target has in the sample.

    Raises:
        InputError: The file does not say which classes its probabilities are of.
        CheckFailed: What it gives are no probabilities.
    """
    scores, labels = asked.answers(rows)
    count = scores.shape[1]
    single = count == 1
    if labels is None and single and not _ends_in(asked.file.model, asked.outputs.scores):
        return ()
    _check_probabilities(scores, single=single)
    wanted = 2 if single else count
    if labels is not None and labels.dtype.kind not in "OUSib":
        raise InputError("the model's labels are neither texts nor whole numbers")
    candidates = _candidates(asked, wanted, labels)
    if labels is None:
        numbers = {str(value).removesuffix(".0") for value in targets}
        if numbers <= {str(number) for number in range(wanted)}:
            candidates.append(tuple(range(wanted)))
        candidates = candidates[:1]
    else:
        candidates = [each for each in candidates if _fit(each, scores, labels)]
    if not candidates:
        raise InputError(
            f"the ONNX model does not say which classes its {wanted} probabilities are of",
            fix="write them into its metadata: onnx.helper.set_model_props(model, "
            "{'classes': '[\"no\", \"yes\"]'})",
        )
    return candidates[0]


def _check_probabilities(scores: Floats, *, single: bool) -> None:
    finite = scores[np.isfinite(scores).all(axis=1)]
    sums = np.ones(len(finite)) if single else finite.sum(axis=1)
    if (finite < -1e-3).any() or (finite > 1 + 1e-3).any() or (np.abs(sums - 1) > 1e-3).any():
        raise CheckFailed(
            "the ONNX model gives scores that are no probabilities: they do not lie between 0 "
            "and 1, or do not add up to 1",
            fix="export it with Softmax or Sigmoid, or as probabilities",
        )


def _candidates(asked: Asked, count: int, labels: Any) -> list[tuple[Any, ...]]:
    """Lists of classes in the file, the most telling first, without doubles."""
    model = asked.file.model
    found: list[tuple[Any, ...]] = []
    said = {each.key: each.value for each in model.metadata_props}.get("classes")
    if said is not None:
        try:
            found.append(tuple(json.loads(said)))
        except (ValueError, TypeError):
            raise InputError(
                "the entry 'classes' of the model's metadata is no JSON list"
            ) from None
    if asked.outputs.mapped:
        found.append(asked.outputs.mapped[1])
    found += [_listed(node) for node in model.graph.node]
    if labels is not None:
        found += [tuple(numpy_helper.to_array(each).reshape(-1).tolist())
                  for each in model.graph.initializer if list(each.dims) in ([count], [1, count])
                  and each.data_type in (TensorProto.STRING, TensorProto.INT64, TensorProto.INT32,
                                         TensorProto.BOOL)]  # fmt: skip
        if labels.dtype.kind == "i":
            found.append(tuple(range(count)))
    texts = [tuple(value.decode() if isinstance(value, bytes) else value for value in each)
             for each in found]  # fmt: skip
    kinds = (str, int, bool)
    return [each for each in dict.fromkeys(texts) if len(each) == count == len(set(each))
            and all(isinstance(value, kinds) for value in each)]  # fmt: skip


def _listed(node: onnx.NodeProto) -> tuple[Any, ...]:
    """The classes that a node of ai.onnx.ml names."""
    for each in node.attribute:
        if each.name.startswith("classlabels_"):
            return tuple(text.decode() for text in each.strings) or tuple(each.ints)
        if each.name in ("values_strings", "values_int64s", "classes_strings"):
            return tuple(text.decode() for text in each.strings) or tuple(each.ints)
    return ()


def _fit(classes: Sequence[Any], scores: Floats, labels: NDArray[Any]) -> bool:
    """Whether the label of every row with a clear winner is the winner's class."""
    shares = np.hstack([1.0 - scores, scores]) if scores.shape[1] == 1 else scores
    order = np.sort(shares, axis=1)
    clear = order[:, -1] - order[:, -2] > _SURE
    names = np.array([str(value) for value in classes], dtype=object)
    won = names[shares.argmax(axis=1)]
    given = np.array([str(value) for value in labels.tolist()], dtype=object)
    return bool((won == given)[clear].all())


def _ends_in(model: onnx.ModelProto, output: str) -> bool:
    """Whether the one number is a logistic function's value: the probability of the class 1."""
    makers = {name: node for node in model.graph.node for name in node.output}
    while output in makers:
        node = makers[output]
        if node.op_type == "Sigmoid":
            return True
        if node.op_type not in ("Identity", "Reshape", "Squeeze", "Flatten", "Cast", "Unsqueeze"):
            return False
        output = node.input[0]
    return False
