"""Open an ONNX file that others made: checked as data first, then loaded where it can do no harm.

ONNX has no code, but a file can name other files, draw at random, loop without end or ask for more
memory than there is. None of that is taken: no external data, no control flow, operators of known
domains only, a bounded size; then a child process with limits of its own loads it and runs a row.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
import onnx.inliner
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from roadworthy.errors import CheckFailed, InputError, OutsideError

MAX_BYTES = 1 << 30
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_LOOPS = ("Loop", "Scan", "If", "SequenceMap")
_RANDOM = (
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
    "Multinomial",
)  # fmt: skip
_SECONDS = 120.0


class OnnxFile(NamedTuple):
    """A model that came as an ONNX file.

    Attributes:
        content: The file as it came.
        model: What is in it, with its functions written out.
    """

    content: bytes
    model: ModelProto


def open_onnx(source: Path | ModelProto) -> OnnxFile:
    """Open and check an ONNX model.

    Args:
        source: Its file, or the model itself.

    Raises:
        InputError: It is no ONNX model, or holds what is not taken; the message names it.
        CheckFailed: Loading it fails, or takes too much time or memory.
        OutsideError: The file cannot be read.
    """
    if isinstance(source, ModelProto):
        content, where = source.SerializeToString(deterministic=True), "the ONNX model"
    else:
        content, where = _read(source), str(source)
    try:
        model = onnx.load_model_from_string(content)
        _check(model, where)
        onnx.checker.check_model(content)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except InputError:
        raise
    except Exception as error:  # protobuf and the checker raise classes of their own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"this is no valid ONNX model: {first[:300]}", where=where) from None
    _try(content, where)
    return OnnxFile(content, model)


def nodes_of(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of a model, those of its functions too."""
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                f"the model is larger than {MAX_BYTES >> 30} GiB",
                where=str(path),
                fix="serve a model of this size with a server of its own",
            )
        return path.read_bytes()
    except OSError as error:
        raise OutsideError(
            f"the model cannot be read: {error.strerror or error}", where=str(path)
        ) from None


def _check(model: ModelProto, where: str) -> None:
    if not model.graph.node or not model.graph.output:
        raise InputError("this is no ONNX model: it has no graph", where=where)
    own = {(function.domain, function.name) for function in model.functions}
    for node in nodes_of(model):
        if node.op_type in _LOOPS:
            raise InputError(
                f"the graph has the operator {node.op_type}: a loop may never end, and branches "
                "cannot be joined to a core",
                where=where,
                fix="export it without control flow",
            )
        if node.op_type in _RANDOM:
            raise InputError(
                f"the graph draws at random ({node.op_type}): it has no one answer", where=where
            )
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in own:
            raise InputError(
                f"the operator {node.op_type} is of the domain {node.domain!r}, which ONNX Runtime "
                "alone does not have",
                where=where,
                fix="export it with the operators of ONNX only",
            )
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(
                "the model has weights in another file",
                where=where,
                fix="onnx.save_model(onnx.load(FILE), NEW, save_as_external_data=False)",
            )
    if model.graph.sparse_initializer:
        raise InputError("the model has sparse weights, which are not taken", where=where)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from _graph_tensors(model.graph)
    for node in nodes_of(model):
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _attribute_tensors(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
        yield from _graph_tensors(graph)


def _try(content: bytes, where: str) -> None:
    """Load it in a process with limits of its own: what kills a process kills that one."""
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        place = Path(folder) / "model.onnx"
        place.write_bytes(content)
        script = Path(__file__).with_name("trying.py")  # by its path: it needs nothing of ours
        command = [sys.executable, "-I", str(script), str(place)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckFailed(
                f"ONNX Runtime does not load the model within {_SECONDS:.0f} s", where=where
            ) from None
    if run.returncode:
        said = run.stdout.strip() or "it takes more memory or time than a model may, or crashes"
        raise CheckFailed(f"ONNX Runtime cannot load the model: {said[:300]}", where=where)
