"""What is known of a model of others before the sample is read: columns, levels, classes, core."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import polars as pl
from onnx import TensorProto

from roadworthy.bundle.foreign.apart import Levels, take_apart
from roadworthy.bundle.foreign.core import core_of
from roadworthy.bundle.foreign.onnx_core import graph_core
from roadworthy.bundle.foreign.onnx_file import OnnxFile
from roadworthy.bundle.foreign.onnx_inputs import inputs_of
from roadworthy.bundle.foreign.onnx_model import FLOATS, OnnxClassifier, OnnxRegressor, OnnxRows
from roadworthy.bundle.foreign.onnx_outputs import classes_of_graph, outputs_of
from roadworthy.bundle.foreign.onnx_texts import known_texts
from roadworthy.bundle.foreign.rows import own_rows
from roadworthy.bundle.foreign.sample import classes_of, columns_of, is_boolean
from roadworthy.cells import WHITE_SPACE
from roadworthy.contract import ClassValue
from roadworthy.project.data import DEFAULT_BLANKS
from roadworthy.table.sources import Source

_PROBED = 2000


class Taken(NamedTuple):
    """A model of others, before its sample is read.

    Attributes:
        original: What answers rows as `rows` makes them.
        estimator: The estimator in it.
        family: What it is called.
        names: The columns that it uses.
        levels: Column that is read by its levels -> these.
        classes: Its classes; none for a regression.
        rows: Makes its own rows of typed ones.
        core: Writes everything after the plan as ONNX.
        lineage: Where it came from.
    """

    original: Any
    estimator: Any
    family: str
    names: tuple[str, ...]
    levels: Mapping[str, Levels]
    classes: tuple[ClassValue, ...]
    rows: Any
    core: Callable[[], bytes]
    lineage: Mapping[str, str]


def take_estimator(model: Any, source: Source, target: str) -> Taken:
    """An estimator or pipeline of scikit-learn's kind.

    Raises:
        InputError: It predicts nothing that can be served, or the sample lacks its columns.
    """
    classes = classes_of(model)
    apart = take_apart(model)
    every = columns_of(apart, source, target)
    truths = [
        place
        for place, each in apart.levels.items()
        if each.numeric
        and set(each.values) <= {"0", "1"}
        and is_boolean(source.frame[every[place]], DEFAULT_BLANKS)
    ]
    apart = apart.with_numbers(truths)
    names = tuple(every[place] for place in apart.used)
    levels = {every[place]: each for place, each in apart.levels.items()}
    dropped = [name for name in every if name not in names]
    return Taken(
        original=model,
        estimator=apart.estimator,
        family=type(apart.estimator).__name__,
        names=names,
        levels=levels,
        classes=classes,
        rows=own_rows(list(every), dropped, levels, named=apart.names is not None),
        core=functools.partial(core_of, apart),
        lineage={},
    )


def take_graph(file: OnnxFile, source: Source, target: str) -> Taken:
    """A model that came as an ONNX file.

    Raises:
        InputError: Its inputs or outputs cannot be served, or the sample lacks its columns.
        CheckFailed: Its scores are no probabilities.
    """
    columns = [name for name in source.frame.columns if name != target]
    names, inputs = inputs_of(file, columns, source.origin)
    outputs = outputs_of(file)
    texts = {each.name: each.columns for each in inputs if each.kind == TensorProto.STRING}
    levels = {
        column: Levels(_levels(known), "", numeric=False)
        for column, known in known_texts(file.model, texts).items()
    }
    by_name = {names[column]: each for column, each in levels.items()}
    rows = OnnxRows(names, {name: dict(each.values) for name, each in by_name.items()})
    unknown = OnnxClassifier(file, names, inputs, outputs)
    whole = {names[column] for each in inputs if each.kind not in FLOATS for column in each.columns}
    probe = _probe(source.frame.select(names).head(_PROBED), rows, whole)
    targets = source.frame[target].unique().to_list() if target in source.frame.columns else []
    classes = classes_of_graph(unknown, probe, targets)
    kind = OnnxClassifier if classes else OnnxRegressor
    asked = kind(file, names, inputs, outputs, classes)
    width = asked.answers(probe.head(1))[0].shape[1]
    return Taken(
        original=asked,
        estimator=asked,
        family=f"ONNX ({file.model.producer_name or 'unknown producer'})",
        names=names,
        levels=by_name,
        classes=classes,
        rows=rows,
        core=functools.partial(graph_core, file, inputs, outputs, levels, width),
        lineage={"model": hashlib.sha256(file.content).hexdigest()},
    )


def _levels(known: tuple[str, ...]) -> dict[str, str]:
    """Level as the contract writes it, without white space around it -> the graph's text."""
    found: dict[str, str] = {}
    for text in known:
        level = text.strip(WHITE_SPACE)
        if level and (level not in found or text == level):
            found[level] = text
    return found


def _probe(frame: pl.DataFrame, rows: OnnxRows, whole: set[str]) -> pl.DataFrame:
    """Rows to ask the graph for the form of its answers, whatever the sample's cells are like."""
    cells = []
    for name in rows.names:
        if name in rows.levels:
            cells.append(pl.col(name).cast(pl.String).str.strip_chars())
        else:
            number = pl.col(name).cast(pl.Float64, strict=False)
            cells.append(number.fill_nan(None).fill_null(0.0) if name in whole else number)
    return rows.transform(frame.select(cells))
