"""Bring your own model: a fitted estimator of others becomes a bundle, or is refused in words.

Its pipeline is taken apart into a plan (one number a column) and a core (everything else); an
estimator that our exporters do not know is converted by skl2onnx; an ONNX file is joined to a plan
as it is. Whatever the way, its answers are
compared with the model's own, and there is no bundle that differs.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.bundle import Bundle
from roadworthy.bundle.foreign.apart import Levels, unseen_value
from roadworthy.bundle.foreign.core import plan_of
from roadworthy.bundle.foreign.model import ForeignModel
from roadworthy.bundle.foreign.onnx_file import OnnxFile, open_onnx
from roadworthy.bundle.foreign.onnx_model import OnnxRows
from roadworthy.bundle.foreign.rows import ask
from roadworthy.bundle.foreign.runtime import (
    core_or_reason,
    cost_of,
    engine_of,
    note_of,
    only_exact,
)
from roadworthy.bundle.foreign.sample import complete, read_sample, read_source
from roadworthy.bundle.foreign.taking import take_estimator, take_graph
from roadworthy.bundle.parity import answers_of
from roadworthy.contract import Contract
from roadworthy.errors import CheckFailed, InputError
from roadworthy.evaluate import Report
from roadworthy.evaluate.report import headline_metric, measure, with_checks
from roadworthy.evaluate.scored import Scored
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project
from roadworthy.table import Table
from roadworthy.train.record import SearchRecord

Floats = NDArray[np.float64]


def adopt(
    model: Any,
    data: Any,
    target: str | None = None,
    project: Project | None = None,
    *,
    without_core: bool = False,
) -> ForeignModel:
    """Take a model of others apart and write its core.

    Args:
        model: A fitted scikit-learn estimator, Pipeline, an estimator of LightGBM, XGBoost or
            CatBoost with scikit-learn's interface, or an ONNX model.
        data: Sample rows with the target: a file or a data frame. The contract is learned from
            them, and the model is measured on them.
        target: The column that the model predicts; None takes `[data] target`.
        project: The project; None takes every default.
        without_core: Whether a model is taken whose core cannot be written, or would differ.

    Raises:
        InputError: A step or the estimator cannot be served, or the sample does not fit the model.
    """
    wanted = project or Project()
    target = target or wanted.data.target
    if target is None:
        raise InputError(
            "no target column is named: the model is measured on it",
            fix="give --target or [data] target",
        )
    source, wanted = read_source(data, target, wanted)
    if isinstance(model, onnx.ModelProto):
        model = open_onnx(model)
    take = take_graph if isinstance(model, OnnxFile) else take_estimator
    taken = take(model, source, target)
    levels = dict(taken.levels)
    table = read_sample(data, source, target, taken.names, levels, taken.classes, wanted)
    contract = complete(table.contract, levels)
    core, why = core_or_reason(taken, without_core=without_core)
    adopted = ForeignModel(
        name=table.name,
        table=table,
        contract=contract,
        plan=plan_of(contract, levels),
        estimator=taken.estimator,
        family=taken.family,
        search=_no_search(),
        seconds={},
        original=taken.original,
        rows=taken.rows,
        core=core,
        why=why,
        lineage=taken.lineage,
    )
    contract = _refusals(adopted, levels)
    adopted = dataclasses.replace(adopted, contract=contract, table=_answered(adopted, contract))
    _check_answers(adopted)
    return only_exact(adopted) if without_core else adopted


def measure_adopted(model: ForeignModel, project: Project | None = None) -> Report:
    """Measure a model on the sample that it came with; whether it knows these rows is not known."""
    wanted = project or Project()
    scored = Scored(model.table, model.scores(model.table.frame), 0)
    metric = headline_metric("", model.table.task)
    engine = engine_of(model)

    def predict(frame: pl.DataFrame) -> Floats:
        """The core's answers: it may be asked blanks that the model itself refuses."""
        return answers_of(engine, encode_columns(frame, model.plan))

    report = measure(scored, predict, wanted, metric=metric)
    notes = [
        "The model was fitted elsewhere: whether it has seen the rows it is measured on is unknown."
    ]
    if isinstance(model.rows, OnnxRows):
        notes.append("Parity is proven against the ONNX file itself, asked by plain ONNX Runtime.")
    if not model.core:
        notes.append(note_of(model))
    report = msgspec.structs.replace(
        report,
        name=model.name,
        family=model.family,
        policy="the sample that came with the model",
        notes=(*report.notes, *notes),
    )
    return with_checks(report, wanted)


def package_foreign(
    model: Any,
    data: Any,
    target: str | None = None,
    *,
    project: Project | None = None,
    gate: Callable[[Bundle], object] | None = None,
    formats: Sequence[str] = ("onnx",),
    directory: str | os.PathLike[str] = "bundles",
    signing_key: str | None = None,
    trusted_types: Sequence[str] = (),
) -> Bundle:
    """Make a bundle of a model that was fitted elsewhere.

    Args:
        model: As for `adopt`.
        data: As for `adopt`.
        target: As for `adopt`.
        project: As for `adopt`; its `[package]` is not looked at.
        gate: As for `write.package`, as are the rest.
        formats: Formats of the bundle; ONNX alone for a model that came as an ONNX file. With
            another one, a model whose core cannot be written exactly is served by scikit-learn.
        directory: The bundle becomes `directory/NAME/VERSION`.
        signing_key: The key that signs it.
        trusted_types: Types that a skops file may hold.

    Raises:
        InputError: The model cannot be served; the message names the step.
        CheckFailed: What would be served differs from the model.
    """
    from roadworthy.bundle.formats.estimator import PackagedClassifier, PackagedRegressor
    from roadworthy.bundle.write import Parts, write_bundle

    further = bool(set(formats) - {"onnx"})
    graph = isinstance(model, (OnnxFile, onnx.ModelProto))
    if graph and further:
        raise InputError(
            "a model that came as an ONNX file has no scikit-learn estimator for another format",
            where="[package] formats",
            fix='formats = ["onnx"]',
        )
    adopted = adopt(model, data, target, project, without_core=further)
    kind = PackagedClassifier if adopted.contract.target.classes else PackagedRegressor
    parts = Parts(
        core=adopted.core or None,
        estimator=functools.partial(
            kind,
            contract=msgspec.json.encode(adopted.contract, order="sorted").decode(),
            prepare=adopted.rows,
            model=model,
        ),
        reference=lambda typed, _: adopted.each(typed),
        lineage=adopted.lineage,
        engine=None if adopted.core else engine_of(adopted),
        why={} if adopted.core else {"core.onnx and portable.onnx": adopted.why},
        measured={} if adopted.core else cost_of(adopted),
    )
    return write_bundle(
        adopted,
        measure_adopted(adopted, project),
        parts,
        formats=formats,
        directory=directory,
        signing_key=signing_key,
        trusted_types=trusted_types,
        gate=gate,
    )


def _refusals(model: ForeignModel, levels: dict[str, Levels]) -> Contract:
    """The contract with `error` for blanks and unseen levels that the model itself refuses."""
    frame = model.table.frame.select(model.contract.names)
    complete = frame.filter(pl.all_horizontal(pl.all().is_not_null()))
    row = (complete if complete.height else frame).head(1)
    if np.isnan(model.each(row)).any():
        raise InputError(
            f"the model refuses a row of the sample: {model.why_refused(row)}",
            fix="give rows as the model was fitted on",
        )
    columns = []
    for column in model.contract.columns:
        name = column.name
        blank = row.with_columns(pl.lit(None, dtype=row[name].dtype).alias(name))
        if np.isnan(model.each(blank)).any():
            column = msgspec.structs.replace(column, on_blank="error")
        if name in levels:
            text = unseen_value(levels[name])
            strange = row.with_columns(pl.lit(str(text)).alias(name))
            if np.isnan(model.each(strange)).any():
                column = msgspec.structs.replace(column, on_unseen="error")
        columns.append(column)
    return msgspec.structs.replace(model.contract, columns=tuple(columns))


def _answered(model: ForeignModel, contract: Contract) -> Table:
    """The rows of the sample that the model has an answer to."""
    table = dataclasses.replace(model.table, contract=contract)
    found = model.each(table.frame)
    known = np.flatnonzero(np.isfinite(found.reshape(len(found), -1)).all(axis=1))
    if len(known) == len(table):
        return table
    note = f"{len(table) - len(known):,} rows of the sample left out: the model refuses them"
    return dataclasses.replace(table.take(known), notes=(*table.notes, note))


def _check_answers(model: ForeignModel) -> None:
    """Refuse a classifier whose class is not its most probable one: a bundle answers that one."""
    if not model.contract.target.classes:
        return
    rows = model._own(model.table.frame.head(2000))
    scores = ask(model.original, rows, len(model.contract.target.classes))
    best = scores.max(axis=1)
    said = np.asarray(model.original.predict(rows)).reshape(-1)
    places = {str(name): place for place, name in enumerate(model.original.classes_)}
    codes = np.array([places[str(name)] for name in said])  # CatBoost answers texts for truths
    other = scores[np.arange(len(scores)), codes] < best - 1e-9
    if other.any():
        raise CheckFailed(
            f"{model.family}.predict answers another class than the most probable one in "
            f"{int(other.sum())} of {len(scores)} rows: which one to serve is not clear",
            where=f"row {int(other.argmax())} of the sample",
            fix="calibrate it: CalibratedClassifierCV(SVC(…))",
        )


def _no_search() -> SearchRecord:
    return SearchRecord(
        metric="",
        trials=(),
        chosen=0,
        folds=0,
        search_rows=0,
        training_rows=0,
        policy="",
        seed=0,
        complete=True,
        kind="elsewhere",
    )
