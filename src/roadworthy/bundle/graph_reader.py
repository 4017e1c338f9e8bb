"""Read an ONNX graph without the onnx package, which a server has not.

Only what the cores of this project use is read: nodes, their attributes, and constants with raw
little-endian data. The format is Protocol Buffers (https://protobuf.dev/programming-guides/encoding)
with the field numbers of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_DAMAGE = (StopIteration, AttributeError, LookupError, TypeError, ValueError)
_TYPES = {1: "<f4", 2: "u1", 7: "<i8", 9: "?", 11: "<f8"}
_INTS = 8 << 3


class UnreadableGraph(ValueError):  # noqa: N818 (not a fault: the runtime reads it)
    """A graph that this reader does not understand."""


class GraphNode(NamedTuple):
    """One operator: its name, inputs, output, and attributes of numbers."""

    op: str
    inputs: tuple[str, ...]
    output: str
    integers: dict[str, int]
    lists: dict[str, list[int]]
    tensors: dict[str, NDArray[Any]]


class GraphContent(NamedTuple):
    """A graph: its nodes in order, and its constants by name."""

    nodes: tuple[GraphNode, ...]
    constants: dict[str, NDArray[Any]]


def read_graph(model: bytes) -> GraphContent:
    """Read the graph of a model.

    Raises:
        UnreadableGraph: It holds something that this reader does not know.
    """
    try:
        graph = next(value for number, value in _fields(model) if number == 7)
        nodes = tuple(_node(value) for number, value in _fields(graph) if number == 1)
        constants = dict(_tensor(value) for number, value in _fields(graph) if number == 5)
    except _DAMAGE as error:
        raise UnreadableGraph(str(error)) from None
    return GraphContent(nodes, constants)


def without_repeats(graph: GraphContent, wanted: str) -> GraphContent:
    """The graph with nothing computed twice: members of a blend often prepare numbers alike.

    Args:
        graph: What was read; damage in it stays.
        wanted: Name of the output, which is kept.
    """
    names: dict[str, str] = {}
    first: dict[Any, str] = {}
    constants: dict[str, NDArray[Any]] = {}
    for name, value in graph.constants.items():
        names[name] = first.setdefault((value.dtype.str, value.shape, value.tobytes()), name)
        if names[name] == name:
            constants[name] = value
    nodes = []
    for node in graph.nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        plain = not node.lists and not node.tensors and node.output != wanted
        key = (node.op, inputs, tuple(sorted(node.integers.items())))
        names[node.output] = first.setdefault(key, node.output) if plain else node.output
        if names[node.output] == node.output:
            nodes.append(node._replace(inputs=inputs))
    return GraphContent(tuple(nodes), constants)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with their values: an int, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield number, message[place : place + size]
            place += size
        elif kind == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise UnreadableGraph("a field is longer than its message")
            yield number, message[place : place + size]
            place += size
        else:
            raise UnreadableGraph(f"wire type {kind}")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise UnreadableGraph("a number is too long")


def _node(message: bytes) -> GraphNode:
    inputs: list[str] = []
    outputs: list[str] = []
    op = domain = ""
    integers: dict[str, int] = {}
    lists: dict[str, list[int]] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for number, value in _fields(message):
        if number == 1:
            inputs.append(value.decode())
        elif number == 2:
            outputs.append(value.decode())
        elif number == 4:
            op = value.decode()
        elif number == 5:
            name, place = _name(value)
            if value[place : place + 1] == bytes([_INTS]):
                lists[name] = _integers(value[place:])
                continue
            attribute = dict(_fields(value[place:]))
            if isinstance(attribute.get(3), int):
                integers[name] = _signed(attribute[3])
            elif isinstance(attribute.get(5), bytes):
                tensors[name] = _tensor(attribute[5])[1]
        elif number == 7:
            domain = value.decode()
    if len(outputs) != 1:
        raise UnreadableGraph("a node has several outputs")
    return GraphNode(
        f"{domain}.{op}" if domain else op, tuple(inputs), outputs[0], integers, lists, tensors
    )


def _name(attribute: bytes) -> tuple[str, int]:
    """The name of an attribute, which comes first, and where the rest begins."""
    size, place = _varint(attribute, 1)
    return attribute[place : place + size].decode(), place + size


def _integers(message: bytes) -> list[int]:
    """The repeated integers of an attribute: keys and numbers in turn, all of them varints.

    Trees have tens of thousands: they are read by NumPy.
    """
    data = np.frombuffer(message, dtype=np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.append(0, ends[:-1] + 1)
    sizes = ends - starts
    values = np.zeros(len(ends), dtype=np.uint64)
    for shift in range(min(int(sizes.max()), 8) + 1):
        there = sizes >= shift
        part = data[(starts + shift)[there]].astype(np.uint64) & np.uint64(0x7F)
        values[there] |= part << np.uint64(7 * shift)
    keys, numbers = values[::2], values[1::2]
    if sizes[1::2].max() > 8 or len(keys) != len(numbers):
        raise UnreadableGraph("negative numbers, or something else among them")
    return [int(number) for number in numbers[keys == _INTS]]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _tensor(message: bytes) -> tuple[str, NDArray[Any]]:
    shape: list[int] = []
    name, kind, raw = "", 0, None
    for number, value in _fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            kind = value
        elif number == 8:
            name = value.decode()
        elif number == 9:
            raw = value
    if kind not in _TYPES or raw is None:
        raise UnreadableGraph("a constant of another type, or without raw data")
    return name, np.frombuffer(raw, dtype=_TYPES[kind]).reshape(shape)


def _packed(message: bytes) -> list[int]:
    values, place = [], 0
    while place < len(message):
        value, place = _varint(message, place)
        values.append(value)
    return values
