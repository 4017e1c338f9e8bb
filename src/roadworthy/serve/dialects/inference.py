"""The Open Inference Protocol, version 2, over REST, with the binary tensor extension.

Source: https://github.com/kserve/open-inference-protocol and, for binary tensors, Triton's
"Binary Tensor Data Extension". A request holds one tensor a column (MLServer's content type `pd`),
`[N]` or `[N, 1]`, or one numeric tensor `[N, columns]` in the contract's order. The answer has
`predict`, for classes `predict_proba` `[N, K]`, and for intervals `interval` `[N, 2]`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

import roadworthy
from roadworthy.contract import Column
from roadworthy.errors import Problem
from roadworthy.serve.bodies import BodyReader, check_keys, parse_json, refuse
from roadworthy.serve.columns import Cells, Encoded
from roadworthy.serve.dialects._base import Servable, error_refusal, json_response, plain_body
from roadworthy.serve.messages import JSON, Request, Response
from roadworthy.serve.predictions import Batch, Predictor
from roadworthy.serve.problems import RequestProblem
from roadworthy.serve.routes import Route

TYPES = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1",
    "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_HEADER = "inference-header-content-length"
Tensor = dict[str, Any]


class OpenInference:
    """`/v2`."""

    name = "inference"

    def routes(self, model: Servable, *, first: bool) -> Iterable[tuple[str, Route]]:
        """Health, metadata and inference of a model and of its versions."""
        if first:
            for path, key in (("live", b"live"), ("ready", b"ready")):
                content = b'{"live":true,"%b":true}' % key if key != b"live" else b'{"live":true}'
                yield f"/v2/health/{path}", _get(lambda _, content=content: Response(200, content))
            about = {
                "name": "roadworthy",
                "version": roadworthy.__version__,
                "extensions": ["binary_tensor_data"],
            }
            yield "/v2", _get(lambda request: json_response(request, about))
        for version in (None, *model.versions()):
            path = f"/v2/models/{model.name}" + (f"/versions/{version}" if version else "")
            label = f"/v2/models/{model.name}"
            yield path, _get(partial(_metadata, model, version), label)
            yield f"{path}/ready", _get(partial(_ready, model, version), f"{label}/ready")
            handler = partial(_infer, model, version)
            infer = f"{label}/infer"
            yield f"{path}/infer", Route("POST", handler, "predict", error_refusal, infer)


def _get(handler: Any, label: str = "") -> Route:
    return Route("GET", handler, "open", error_refusal, label)


def _ready(model: Servable, version: str | None, request: Request) -> Response:
    model.choose(request, version)
    return json_response(request, {"name": model.name, "ready": True})


def _metadata(model: Servable, version: str | None, request: Request) -> Response:
    predictor = model.choose(request, version)
    return json_response(request, metadata(model, predictor))


def metadata(model: Servable, predictor: Predictor) -> dict[str, Any]:
    """What the protocol says of a model."""
    inputs = [
        {"name": column.name, "datatype": _datatype(column), "shape": [-1]}
        for column in predictor.contract.columns
    ]
    outputs = [
        {key: output[key] for key in ("name", "datatype")} | {"shape": [-1, *output["shape"][1:]]}
        for output in outputs_of(predictor, None)
    ]
    return {
        "name": model.name,
        "versions": list(model.versions()),
        "platform": "roadworthy_onnx",
        "inputs": inputs,
        "outputs": outputs,
    }


async def _infer(model: Servable, version: str | None, request: Request) -> Response:
    predictor = model.choose(request, version)
    body = plain_body(request, predictor)
    length = request.head.headers.get(_HEADER, "")
    size = int(length) if length.isascii() and length.isdigit() else len(body)
    if length and (not length.isdigit() or size > len(body)):
        raise RequestProblem(400, f"{_HEADER} is not the length of the JSON part")
    content = parse_json(body[:size])
    check_keys(body[:size])
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise RequestProblem(400, "send an object with a list of inputs")
    encoded = await read_tensors(predictor.reader, content["inputs"], memoryview(body)[size:])
    batch = await predictor.batch(encoded, request.id)
    answer = {
        "model_name": model.name,
        "model_version": predictor.short_version,
        "id": str(content.get("id") or request.id),
        "outputs": wanted_outputs(outputs_of(predictor, batch), content),
    }
    return _respond(request, answer)


async def read_tensors(reader: BodyReader, inputs: list[Any], binary: memoryview) -> Encoded:
    """Read the tensors of a request.

    Args:
        reader: What knows the contract.
        inputs: As the protocol has them in JSON.
        binary: What stands behind the JSON, in the order of the inputs.

    Raises:
        RequestProblem: A tensor contradicts itself (400), or the rows break the contract (422).
    """
    tensors: dict[str, tuple[list[int], Cells]] = {}
    place = 0
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise RequestProblem(400, "an input is not an object with a name")
        name = tensor["name"]
        if name in tensors:
            raise RequestProblem(400, "an input stands twice: send each once")
        shape, kind = _shape(tensor), tensor.get("datatype")
        if not isinstance(kind, str) or (kind != "BYTES" and kind not in TYPES):
            refuse([Problem("has an unknown datatype", name)])
        parameters = tensor.get("parameters") or {}
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            cells = _flat(tensor.get("data"), name)
        else:
            if not isinstance(size, int) or not 0 <= size <= len(binary) - place:
                refuse([Problem("says a binary_data_size that is not there", name)])
            cells = unpack(bytes(binary[place : place + size]), str(kind), name)
            place += size
        if len(cells) != math.prod(shape):
            refuse([Problem(f"has {len(cells)} cells, its shape says {math.prod(shape)}", name)])
        tensors[name] = shape, cells
    if place != len(binary):
        raise RequestProblem(400, "there is more binary data than the inputs say")
    return await reader.table(tensor_columns(reader, tensors))


def tensor_columns(
    reader: BodyReader, tensors: dict[str, tuple[list[int], Any]]
) -> Mapping[str, Cells]:
    """Columns of tensors: one a column, or one of all; RequestProblem for other shapes."""
    names = reader.contract.names
    if len(tensors) == 1:
        (name, (shape, cells)) = next(iter(tensors.items()))
        if len(shape) == 2 and name not in names and shape[1] == len(names):
            return {column: cells[place :: len(names)] for place, column in enumerate(names)}
    columns: dict[str, Cells] = {}
    for name, (shape, cells) in tensors.items():
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
            refuse([Problem("must have the shape [N] or [N, 1]", name)])
        columns[name] = cells
    return columns


def _shape(tensor: Tensor) -> list[int]:
    shape = tensor.get("shape")
    good = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if not good or not shape:
        refuse([Problem("has no shape of whole numbers", tensor["name"])])
    return list(shape or ())


def _flat(data: Any, name: str) -> list[Any]:
    """Cells in row-major order; the protocol allows nested lists too."""
    if not isinstance(data, list):
        refuse([Problem("has no list of data", name)])
    cells: list[Any] = data
    while cells and all(isinstance(cell, list) for cell in cells):
        cells = [cell for part in cells for cell in part]
    return cells


def unpack(content: bytes, kind: str, name: str) -> list[Any]:
    """The cells of a binary tensor; blanks in it are NaN."""
    if kind != "BYTES":
        dtype = np.dtype(TYPES[kind])
        if len(content) % dtype.itemsize:
            refuse([Problem("has binary data that ends within a number", name)])
        cells: list[Any] = np.frombuffer(content, dtype).tolist()
        return [None if cell != cell else cell for cell in cells]
    texts: list[Any] = []
    place = 0
    try:
        while place < len(content):
            (size,) = struct.unpack_from("<I", content, place)
            text = content[place + 4 : place + 4 + size]
            if len(text) != size:
                raise struct.error
            texts.append(text.decode())
            place += 4 + size
    except (struct.error, UnicodeDecodeError):
        refuse([Problem("has binary data that is not BYTES in UTF-8", name)])
    return texts


def outputs_of(predictor: Predictor, batch: Batch | None) -> list[Tensor]:
    """The tensors of an answer; without a batch only what they look like."""
    target = predictor.target
    count = len(batch.scores) if batch is not None else 0
    found = predictor.predictions(batch) if batch is not None else []
    first = target.classes[0] if target.classes else 0.0
    kind = {bool: "BOOL", int: "INT64", float: "FP64"}.get(type(first), "BYTES")
    outputs: list[Tensor] = [{"name": "predict", "datatype": kind, "shape": [count], "data": found}]
    if target.classes:
        shares = batch.scores.reshape(-1).tolist() if batch is not None else []
        shape = [count, len(target.classes)]
        outputs.append(
            {"name": "predict_proba", "datatype": "FP64", "shape": shape, "data": shares}
        )
    elif target.interval is not None:
        ends = [end for number in found for end in target.interval.around(number)]
        outputs.append({"name": "interval", "datatype": "FP64", "shape": [count, 2], "data": ends})
    return outputs


def wanted_outputs(outputs: list[Tensor], content: dict[str, Any]) -> list[Tensor]:
    """The outputs that a request asks for, marked where it wants them binary."""
    parameters = content.get("parameters")
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    asked = content.get("outputs")
    if not asked:
        return [{**output, "binary": binary} for output in outputs]
    by_name = {output["name"]: output for output in outputs}
    wanted = []
    for entry in asked if isinstance(asked, list) else [None]:
        if not isinstance(entry, dict) or entry.get("name") not in list(by_name):  # or unhashable
            raise RequestProblem(400, f"the outputs are {', '.join(by_name)}")
        its = entry.get("parameters")
        own = its.get("binary_data", binary) if isinstance(its, dict) else binary
        wanted.append({**by_name[entry["name"]], "binary": own is True})
    return wanted


def pack(output: Tensor) -> bytes:
    """An output's cells as the binary extension and gRPC's raw contents have them."""
    if output["datatype"] == "BYTES":
        texts = [str(cell).encode() for cell in output["data"]]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(output["data"], dtype=TYPES[output["datatype"]]).tobytes()


def _respond(request: Request, answer: dict[str, Any]) -> Response:
    parts = []
    for output in answer["outputs"]:
        if output.pop("binary"):
            parts.append(pack(output))
            del output["data"]
            output["parameters"] = {"binary_data_size": len(parts[-1])}
    content = msgspec.json.encode(answer)
    headers = (("x-request-id", request.id),)
    if not parts:
        return Response(200, content, JSON, headers)
    length = (_HEADER, str(len(content)))
    body = content + b"".join(parts)
    return Response(200, body, "application/octet-stream", (*headers, length))


def _datatype(column: Column) -> str:
    if column.kind == "number":
        return "FP64"
    if column.kind == "boolean":
        return "BOOL"
    numeric = column.kind == "category" and column.dtype in ("integer", "number")
    return "FP64" if numeric else "BYTES"
