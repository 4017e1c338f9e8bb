"""The messages of the Open Inference Protocol's gRPC service, built from a table.

Source: https://github.com/kserve/open-inference-protocol, `open_inference_grpc.proto`. A table in
place of generated code: it works with every version of protobuf, and can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_PARAMETERS = "map InferParameter parameters"
_TENSOR = ("string name 1", "string datatype 2", "repeated int64 shape 3")
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready 1",),
    "ModelReadyRequest": ("string name 1", "string version 2"),
    "ModelReadyResponse": ("bool ready 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name 1", "string version 2", "repeated string extensions 3"),
    "ModelMetadataRequest": ("string name 1", "string version 2"),
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": (
        "string name 1", "repeated string versions 2", "string platform 3",
        "repeated TensorMetadata inputs 4", "repeated TensorMetadata outputs 5",
    ),
    "InferParameter": (
        "bool bool_param 1", "int64 int64_param 2", "string string_param 3",
        "double double_param 4", "uint64 uint64_param 5",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents 1", "repeated int32 int_contents 2",
        "repeated int64 int64_contents 3", "repeated uint32 uint_contents 4",
        "repeated uint64 uint64_contents 5", "repeated float fp32_contents 6",
        "repeated double fp64_contents 7", "repeated bytes bytes_contents 8",
    ),
    "InferInputTensor": (*_TENSOR, f"{_PARAMETERS} 4", "InferTensorContents contents 5"),
    "InferRequestedOutputTensor": ("string name 1", f"{_PARAMETERS} 2"),
    "ModelInferRequest": (
        "string model_name 1", "string model_version 2", "string id 3", f"{_PARAMETERS} 4",
        "repeated InferInputTensor inputs 5", "repeated InferRequestedOutputTensor outputs 6",
        "repeated bytes raw_input_contents 7",
    ),
    "InferOutputTensor": (*_TENSOR, f"{_PARAMETERS} 4", "InferTensorContents contents 5"),
    "ModelInferResponse": (
        "string model_name 1", "string model_version 2", "string id 3", f"{_PARAMETERS} 4",
        "repeated InferOutputTensor outputs 5", "repeated bytes raw_output_contents 6",
    ),
}  # fmt: skip
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Datatype -> the field of InferTensorContents that holds its cells."""
_Field = descriptor_pb2.FieldDescriptorProto


def message_classes(
    package: str = PACKAGE, messages: Mapping[str, tuple[str, ...]] = _MESSAGES
) -> dict[str, Any]:
    """Name -> message class.

    Args:
        package: The package of a protocol.
        messages: Name -> its fields, as above.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, field.split(), f".{package}.{name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


def _add_field(message: Any, words: list[str], path: str) -> None:
    *label, kind, name, number = words
    field = message.field.add(name=name, number=int(number))
    field.label = _Field.LABEL_REPEATED if label else _Field.LABEL_OPTIONAL
    if label == ["map"]:
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, ["string", "key", "1"], path)
        _add_field(entry, [kind, "value", "2"], path)
        field.type, field.type_name = _Field.TYPE_MESSAGE, f"{path}.ParametersEntry"
    elif kind in _MESSAGES:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
