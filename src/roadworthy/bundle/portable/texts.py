"""Free text as nodes: tf-idf weights of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import Graph
from roadworthy.bundle.portable import patterns
from roadworthy.bundle.portable.cells import check_blank, write_tokens, write_trimmed
from roadworthy.bundle.portable.inexact import InexactError
from roadworthy.contract import Column
from roadworthy.prepare.plan import Feature


def write_text(
    graph: Graph, source: str, column: Column, features: Sequence[Feature], blanks: Sequence[str]
) -> str:
    """Weights of words, brought to length 1: `[N, 1]` -> `[N, len(features)]`.

    Squares are added one after the other, as the plan does, so that sums have the same bits.

    Raises:
        InexactError: Letter triples are hashed, or a word's lower case depends on its neighbours.
    """
    if any(feature.read == "ngram" for feature in features):
        raise InexactError("hashed letter triples: ONNX has no CRC-32")
    check_blank(column, blanks)
    found = write_tokens(graph, source, patterns.words())
    axis = graph.constant([2], np.int64)
    zero = graph.constant([[0.0]])
    values: list[str] = []
    squares = zero
    chosen = [feature for feature in features if feature.read == "word"]
    for feature in chosen:
        is_word = graph.add("RegexFullMatch", found, pattern=patterns.word(feature.levels[0]))
        each = graph.add("Cast", is_word, to=TensorProto.DOUBLE)
        count = graph.add("ReduceSum", each, axis, keepdims=0)
        values.append(graph.add("Mul", count, graph.constant([[feature.values[0]]])))
        squares = graph.add("Add", squares, graph.add("Mul", values[-1], values[-1]))
    length = graph.add("Sqrt", squares)
    empty = graph.add("Equal", length, zero)
    weights = graph.add("Div", graph.add("Concat", *values, axis=1), length)
    blank = graph.add(
        "RegexFullMatch", write_trimmed(graph, source), pattern=patterns.any_of(blanks)
    )
    weights = graph.add("Where", empty, zero, weights)
    fill = graph.constant([[feature.fill for feature in chosen]])
    parts = [graph.add("Where", blank, fill, weights)]
    if len(chosen) < len(features):
        parts.append(graph.add("Cast", blank, to=TensorProto.DOUBLE))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
