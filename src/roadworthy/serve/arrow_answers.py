"""Answers as an Arrow stream, for callers that ask for one: columns as they lie in memory.

Every array is made of a NumPy buffer. pyarrow's own conversions from Python would load pandas
where that is installed.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.serve.formats import JSON_TYPES, STREAM_TYPE, load_arrow, media_type
from roadworthy.serve.predictions import Batch, Predictor

_ANY = ("*/*", "application/*")


def wants_arrow(accept: str | None) -> bool:
    """Whether a header Accept lists an Arrow stream before JSON or anything, and there is pyarrow.

    Without it the answer is JSON, as RFC 9110 (12.5.1) has it.
    """
    if not accept or STREAM_TYPE not in accept.lower():
        return False
    if importlib.util.find_spec("pyarrow") is None:
        return False
    for one in accept.split(","):
        essence, _ = media_type(one)
        if essence == STREAM_TYPE:
            return True
        if essence in (*JSON_TYPES, *_ANY):
            return False
    return False


async def encode_arrow(predictor: Predictor, batch: Batch, request_id: str) -> bytes:
    """The answer to a batch as an Arrow IPC stream.

    Columns are `prediction` and, for classes, `probabilities`, a struct with a double a class, or
    for a regression with intervals `interval`, a struct of `low` and `high`. The schema's
    metadata holds `model`, `version`, `request_id` and, as JSON, `warnings`.

    Args:
        predictor: The version that answered.
        batch: What it answered.
        request_id: The request's id.
    """
    await load_arrow("pyarrow.compute")
    import pyarrow as pa

    arrays = {"prediction": _predictions(predictor, batch)}
    target = predictor.target
    if target.classes:
        columns = [_doubles(np.ascontiguousarray(column)) for column in batch.scores.T]
        arrays["probabilities"] = _struct(columns, target.class_names)
    elif target.interval is not None:
        ends = np.array([target.interval.around(one) for one in batch.scores[:, 0].tolist()])
        columns = [_doubles(np.ascontiguousarray(column)) for column in ends.T]
        arrays["interval"] = _struct(columns, ["low", "high"])
    manifest = predictor.bundle.manifest
    about = {
        "model": manifest.name,
        "version": manifest.version,
        "request_id": request_id,
        "warnings": msgspec.json.encode(batch.warnings),
    }
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    rows = pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields, about))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _predictions(predictor: Predictor, batch: Batch) -> Any:
    """Numbers as doubles; classes as texts by their codes, as whole numbers or as truths."""
    import pyarrow as pa

    classes = predictor.target.classes
    if not classes:
        return _doubles(np.ascontiguousarray(batch.scores[:, 0]))
    kinds = set(map(type, classes))
    codes = batch.codes
    if kinds == {bool}:
        bits = np.packbits(np.array(classes)[codes], bitorder="little")
        return _array(pa.bool_(), len(codes), bits)
    if kinds == {int}:
        return _array(pa.int64(), len(codes), np.array(classes, dtype=np.int64)[codes])
    if kinds <= {int, float}:
        return _doubles(np.array(classes, dtype=np.float64)[codes])
    texts = [name.encode() for name in predictor.target.class_names]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    names = pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts))
    )
    places = _array(pa.int32(), len(codes), codes.astype(np.int32))
    return pa.DictionaryArray.from_arrays(places, names)


def _doubles(values: NDArray[np.float64]) -> Any:
    import pyarrow as pa

    return _array(pa.float64(), len(values), values)


def _array(kind: Any, length: int, values: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(values)])


def _struct(columns: list[Any], names: list[str] | tuple[str, ...]) -> Any:
    import pyarrow as pa

    return pa.StructArray.from_arrays(columns, names=list(names))
