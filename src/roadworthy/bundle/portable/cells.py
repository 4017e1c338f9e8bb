"""Numbers, booleans and categories as nodes: from a raw column to the plan's features of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from roadworthy.bundle.core.graph import Graph, text_tensor
from roadworthy.bundle.portable import patterns
from roadworthy.bundle.portable.inexact import InexactError
from roadworthy.cells import WHITE_SPACE, canonical_text
from roadworthy.contract import Column
from roadworthy.prepare.plan import Feature

_WHOLE = 2.0**53
"""Up to here every whole number is a float64 of its own."""


def write_number(graph: Graph, source: str, features: Sequence[Feature]) -> str:
    """A number or a boolean, NaN for a blank: `[N, 1]` -> `[N, len(features)]`."""
    blank = graph.add("IsNaN", source)
    parts = []
    for feature in features:
        if feature.read == "blank":
            parts.append(graph.add("Cast", blank, to=TensorProto.DOUBLE))
        elif feature.blank is None:
            parts.append(source)
        else:
            fill = graph.constant([[feature.blank]])
            parts.append(graph.add("Where", blank, fill, source))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def write_category(
    graph: Graph, source: str, column: Column, features: Sequence[Feature], blanks: Sequence[str]
) -> str:
    """A level, by a table of all that are known: `[N, 1]` -> `[N, len(features)]`.

    Args:
        graph: The graph.
        source: Texts; or numbers with NaN for a blank, where `has_numbers` says so.
        column: The column.
        features: The plan's features of it.
        blanks: Lower-case texts that mean a blank.

    Raises:
        InexactError: The column is hashed, or its levels cannot be told apart.
    """
    if any(feature.read == "hash" for feature in features):
        raise InexactError("hash buckets: ONNX has no CRC-32")
    listed = [level for feature in features for level in feature.levels]
    levels = list(dict.fromkeys([*listed, *column.categories]))
    readers = [feature.reader() for feature in features]
    table = [[read(level) for read in readers] for level in levels]
    table.append([feature.fill for feature in features])
    table.append([0.0 if each.read == "blank" else each.unseen for each in features])
    places = _numbers if has_numbers(column) else _texts
    place = places(graph, source, column, levels, blanks)
    flat = graph.add("Squeeze", place, graph.constant([1], np.int64))
    return graph.add("Gather", graph.constant(table), flat, axis=0)


def has_numbers(column: Column) -> bool:
    """Whether a column's cells are numbers in a request, be they levels or not."""
    if column.kind == "category":
        return column.dtype in ("integer", "number")
    return column.kind != "text"


def _numbers(
    graph: Graph, source: str, column: Column, levels: list[str], blanks: Sequence[str]
) -> str:
    """Each number's place among the levels; a blank's is after the last, then the unseen."""
    try:
        values = [float(level) for level in levels]
    except ValueError:
        raise InexactError("its levels are numbers and texts") from None
    exact = all(
        abs(value) <= _WHOLE and canonical_text(value) == level
        for value, level in zip(values, levels, strict=True)
    )
    if not exact:
        raise InexactError("levels that float64 cannot tell apart, or that are written in two ways")
    if not values:
        return _where_blank(graph, graph.add("IsNaN", source), source, 0)
    plain = graph.add("Add", source, graph.constant([[0.0]]))  # -0 is the level 0
    keys = numpy_helper.from_array(np.array(values), "keys")
    found = _look_up(graph, plain, keys, len(levels))
    blank = graph.constant([[len(levels)]], np.int64)
    return graph.add("Where", graph.add("IsNaN", source), blank, found)


def _where_blank(graph: Graph, blank: str, source: str, levels: int) -> str:
    places = (graph.constant([[place]], np.int64) for place in (levels, levels + 1))
    return graph.add("Where", blank, *places)


def _texts(
    graph: Graph, source: str, column: Column, levels: list[str], blanks: Sequence[str]
) -> str:
    """Each text's place among the levels; a blank's is after the last, then the unseen."""
    check_blank(column, blanks, levels)
    plain = write_trimmed(graph, source)
    blank = graph.add("RegexFullMatch", plain, pattern=patterns.any_of(blanks))
    if not levels:
        return _where_blank(graph, blank, source, 0)
    keys = text_tensor(levels, "keys")
    found = _look_up(graph, plain, keys, len(levels))
    unseen = graph.constant([[len(levels) + 1]], np.int64)
    if any(level != level.strip(WHITE_SPACE) for level in levels):  # such a level is no other
        raw = _look_up(graph, source, keys, len(levels))
        found = graph.add("Where", graph.add("Equal", raw, unseen), found, raw)
    blank = graph.add("And", blank, graph.add("Equal", found, unseen))
    return graph.add("Where", blank, graph.constant([[len(levels)]], np.int64), found)


def check_blank(column: Column, blanks: Sequence[str], levels: Sequence[str] = ()) -> None:
    """Raise InexactError when a column takes blanks and an empty text is none."""
    if column.on_blank == "impute" and ("" not in blanks or "" in levels):
        raise InexactError("an empty text is no blank here, and a graph has no other text for one")


def write_trimmed(graph: Graph, source: str) -> str:
    """Texts `[N, 1]` without the white space around them."""
    found = write_tokens(graph, source, patterns.trimmed())
    return graph.add("Gather", found, graph.constant(0, np.int64), axis=2)


def write_tokens(graph: Graph, source: str, pattern: str) -> str:
    """What a pattern finds in texts `[N, 1]` -> `[N, 1, D]`, empty texts after the last."""
    found = graph.add(
        "Tokenizer",
        source,
        domain="com.microsoft",
        mark=0,
        mincharnum=1,
        pad_value="",
        tokenexp=pattern,
    )
    # where no text has any, D is 0: one empty text more for all
    never = graph.add("Not", graph.add("Equal", source, source))
    empty = graph.add("Where", never, source, graph.texts([""], [1, 1]))
    last = graph.add("Unsqueeze", empty, graph.constant([2], np.int64))
    return graph.add("Concat", found, last, axis=2)


def _look_up(graph: Graph, source: str, keys: onnx.TensorProto, count: int) -> str:
    return graph.add(
        "LabelEncoder",
        source,
        domain="ai.onnx.ml",
        keys_tensor=keys,
        values_tensor=numpy_helper.from_array(np.arange(count), "values"),
        default_tensor=numpy_helper.from_array(np.array([count + 1]), "default"),
    )
