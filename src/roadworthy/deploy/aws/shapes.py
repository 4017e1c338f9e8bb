"""Check a call by the official service models before it is sent.

botocore itself checks names and types of parameters. Its models also hold enumerations, lengths,
ranges and patterns, which it leaves to the service; they are checked here, so that a plan already
says what the service would refuse.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from roadworthy.deploy.cloud_init import LIMIT


def faults(operation: OperationModel, parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of a call, in words; a text with `${` is not judged.

    Args:
        operation: Its model.
        parameters: What is to be sent.
    """
    shape = operation.input_shape
    if shape is None:
        return [f"{operation.name} takes no parameters"] if parameters else []
    report = ParamValidator().validate(parameters, shape)
    found = [report.generate_report()] if report.has_errors() else []
    return found + _judge(shape, parameters, operation.name)


def _judge(shape: Shape, value: Any, place: str) -> list[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        found = _user_data(value, place)
        for name, each in value.items():
            if name in shape.members:
                found += _judge(shape.members[name], each, f"{place}.{name}")
        return found
    if isinstance(shape, ListShape) and isinstance(value, list):
        found = _size(shape, len(value), place, "entries")
        for number, each in enumerate(value):
            found += _judge(shape.member, each, f"{place}[{number}]")
        return found
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return [
            fault for key, each in value.items()
            for fault in _judge(shape.value, each, f"{place}.{key}")
        ]  # fmt: skip
    if isinstance(shape, StringShape) and isinstance(value, str):
        return [] if "${" in value else _text(shape, value, place)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _size(shape, value, place, "")
    return []


def _text(shape: StringShape, value: str, place: str) -> list[str]:
    if shape.enum and value not in shape.enum:
        return [f"{place}: {value!r} is none of {', '.join(shape.enum[:12])}"]
    found = _size(shape, len(value), place, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern is not None:
        try:
            if re.search(f"^(?:{pattern})$", value) is None:
                found.append(f"{place}: {value!r} is not like {pattern}")
        except re.error:
            pass  # a pattern of Java's that Python does not read
    return found


def _size(shape: Shape, size: float, place: str, unit: str) -> list[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    what = f"{size} {unit}".strip()
    if low is not None and size < low:
        return [f"{place}: {what}, at least {low} are needed"]
    if high is not None and size > high:
        return [f"{place}: {what}, at most {high} are allowed"]
    return []


def _user_data(value: dict[str, Any], place: str) -> list[str]:
    """The size, which no model states; in launch templates it comes encoded."""
    text = value.get("UserData")
    if not isinstance(text, str):
        return []
    data = text.encode()
    if "LaunchTemplateData" in place:
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error:
            return [f"{place}.UserData: is not base64"]
    if len(data) > LIMIT:
        return [f"{place}.UserData: {len(data):,} bytes, at most {LIMIT:,} are allowed"]
    return []
