"""Bring your own model: a fitted estimator of others becomes a bundle, or is refused in words.

Its pipeline is taken apart into a plan (one number a column) and a core (everything else); an
estimator that our exporters do not know is converted by skl2onnx. Whatever the way, its answers are
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
import polars as pl
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor

from roadworthy.bundle.bundle import Bundle
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.foreign.apart import Apart, Levels, take_apart, unseen_value
from roadworthy.bundle.foreign.core import core_of, plan_of
from roadworthy.bundle.foreign.rows import OwnRows, ask, ask_each, own_rows
from roadworthy.contract import ClassValue, Contract, class_name
from roadworthy.errors import CheckFailed, InputError
from roadworthy.evaluate import Report
from roadworthy.evaluate.report import headline_metric, measure, with_checks
from roadworthy.evaluate.scored import Scored
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import ColumnOptions, Project
from roadworthy.project.data import DEFAULT_BLANKS
from roadworthy.table import Table, read_table
from roadworthy.table.sources import Source, read_frame
from roadworthy.train import SearchRecord, TrainedModel

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ForeignModel(TrainedModel):
    """A model that was fitted elsewhere.

    Attributes:
        original: The fitted estimator or pipeline, as it came.
        rows: What makes its own rows of typed ones.
        core: Everything after the plan, as ONNX.
    """

    original: Any = None
    rows: OwnRows | None = None
    core: bytes = b""

    def scores(self, frame: pl.DataFrame) -> Floats:
        """Probabilities `[N, K]` or predictions `[N]` for typed rows, by the model itself."""
        return ask(self.original, self._own(frame), len(self.contract.target.classes))

    def each(self, frame: pl.DataFrame) -> Floats:
        """As `scores`; NaN for the rows that the model refuses."""
        return ask_each(self.original, self._own(frame), len(self.contract.target.classes))

    def _own(self, frame: pl.DataFrame) -> Any:
        if self.rows is None:
            raise ValueError("a foreign model without its rows")
        return self.rows.transform(frame)


def adopt(
    model: Any, data: Any, target: str | None = None, project: Project | None = None
) -> ForeignModel:
    """Take a model of others apart and write its core.

    Args:
        model: A fitted scikit-learn estimator, Pipeline, or an estimator of LightGBM, XGBoost or
            CatBoost with scikit-learn's interface.
        data: Sample rows with the target: a file or a data frame. The contract is learned from
            them, and the model is measured on them.
        target: The column that the model predicts; None takes `[data] target`.
        project: The project; None takes every default.

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
    classes = _classes(model)
    apart = take_apart(model)
    source = read_frame(data, wanted.data)
    every = _columns(apart, source, target)
    names = tuple(every[place] for place in apart.used)
    levels = {every[place]: each for place, each in apart.levels.items()}
    table = _read(data, source, target, names, levels, classes, wanted)
    contract = _complete(table.contract, levels)
    adopted = ForeignModel(
        name=table.name,
        table=table,
        contract=contract,
        plan=plan_of(contract, levels),
        estimator=apart.estimator,
        family=type(apart.estimator).__name__,
        search=_no_search(table),
        seconds={},
        original=model,
        rows=own_rows(
            list(every),
            [name for name in every if name not in names],
            levels,
            named=apart.names is not None,
        ),
        core=core_of(apart),
    )
    contract = _refusals(adopted, levels)
    adopted = dataclasses.replace(
        adopted, contract=contract, table=dataclasses.replace(table, contract=contract)
    )
    _check_answers(adopted)
    return adopted


def measure_adopted(model: ForeignModel, project: Project | None = None) -> Report:
    """Measure a model on the sample that it came with; whether it knows these rows is not known."""
    wanted = project or Project()
    scored = Scored(model.table, model.scores(model.table.frame), 0)
    metric = headline_metric("", model.table.task)
    engine = Engine(model.contract, model.plan, model.core)

    def predict(frame: pl.DataFrame) -> Floats:
        """The core's answers: it may be asked blanks that the model itself refuses."""
        return engine.run_many(encode_columns(frame, model.plan))

    report = measure(scored, predict, wanted, metric=metric)
    note = (
        "The model was fitted elsewhere: whether it has seen the rows it is measured on is unknown."
    )
    report = msgspec.structs.replace(
        report,
        name=model.name,
        family=model.family,
        policy="the sample that came with the model",
        notes=(*report.notes, note),
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
        formats: Formats of the bundle.
        directory: The bundle becomes `directory/NAME/VERSION`.
        signing_key: The key that signs it.
        trusted_types: Types that a skops file may hold.

    Raises:
        InputError: The model cannot be served; the message names the step.
        CheckFailed: What would be served differs from the model.
    """
    from roadworthy.bundle.formats.estimator import PackagedClassifier, PackagedRegressor
    from roadworthy.bundle.write import Parts, write_bundle

    adopted = adopt(model, data, target, project)
    kind = PackagedClassifier if adopted.contract.target.classes else PackagedRegressor
    parts = Parts(
        core=adopted.core,
        estimator=functools.partial(
            kind,
            contract=msgspec.json.encode(adopted.contract, order="sorted").decode(),
            prepare=adopted.rows,
            model=model,
        ),
        reference=lambda typed, _: adopted.each(typed),
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


def _classes(model: Any) -> tuple[ClassValue, ...]:
    """The model's classes in the order of its probabilities; empty for a regressor."""
    if is_regressor(model):
        return ()
    name = type(model).__name__
    if not is_classifier(model) or not hasattr(model, "classes_"):
        raise InputError(
            f"{name} is neither a fitted classifier nor a regressor of scikit-learn's kind",
            fix="give an object with predict, and for classes predict_proba and classes_",
        )
    if not hasattr(model, "predict_proba"):
        raise InputError(f"{name} gives no probabilities", fix="calibrate it, or train another")
    classes = np.asarray(model.classes_)
    if classes.ndim != 1 or len(classes) < 2:
        raise InputError(f"{name} predicts several targets, or one class only")
    if classes.dtype.kind == "f":
        if (classes != np.floor(classes)).any():
            raise InputError(f"{name} has classes that are fractions")
        classes = classes.astype(np.int64)
    return tuple(value if isinstance(value, (bool, int)) else str(value)
                 for value in classes.tolist())  # fmt: skip


def _columns(apart: Apart, source: Source, target: str) -> tuple[str, ...]:
    """The names of the model's columns, all of which the sample must have."""
    there = source.frame.columns
    if apart.names is None:
        rest = tuple(name for name in there if name != target)
        if len(rest) != apart.width:
            raise InputError(
                f"the model takes {apart.width} columns and does not know their names; the sample "
                f"has {len(rest)} beside the target",
                where=source.origin,
                fix="give a sample with exactly the model's columns, in its order",
            )
        return rest
    missing = [name for name in apart.names if name not in there]
    if missing:
        raise InputError(
            f"the sample lacks columns of the model: {', '.join(map(repr, missing[:10]))}",
            where=source.origin,
            fix="give rows as the model was fitted on, with the target",
        )
    return apart.names


def _read(
    data: Any,
    source: Source,
    target: str,
    names: tuple[str, ...],
    levels: dict[str, Levels],
    classes: tuple[ClassValue, ...],
    project: Project,
) -> Table:
    """Read the sample with the model's idea of its columns; all of it is one part."""
    known = {level.lower() for each in levels.values() for level in each.values}
    blanks = project.data.blanks or DEFAULT_BLANKS
    columns = {}
    for name in names:
        kind = "category" if name in levels else "number"
        if kind == "number" and _is_boolean(source.frame[name], blanks):
            kind = "boolean"
        said = project.data.columns.get(name, ColumnOptions())
        columns[name] = msgspec.structs.replace(said, kind=kind)
    task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    others = [name for name in source.frame.columns if name not in (*names, target)]
    wanted = project.override(
        "data",
        columns=msgspec.to_builtins(columns),
        blanks=tuple(blank for blank in blanks if blank.lower() not in known or not blank),
        task=task,
        drop=tuple(others),
        split="random",
    ).override("prepare", drop_columns_above=1.0)
    table = read_table(data, target, project=wanted, name=project.project.name)
    contract = msgspec.structs.replace(
        table.contract,
        columns=tuple(
            next(each for each in table.contract.columns if each.name == name) for name in names
        ),
        blanks=tuple(blank.lower() for blank in blanks),
        target=msgspec.structs.replace(table.contract.target, classes=classes),
    )
    labels = _labels(table, classes)
    return dataclasses.replace(table, contract=contract, classes=classes, labels=labels, split=None)


def _is_boolean(series: pl.Series, blanks: Sequence[str]) -> bool:
    """Whether a column holds truths, which a file writes as words."""
    if series.dtype != pl.String:
        return bool(series.dtype == pl.Boolean)
    words = series.drop_nulls().str.strip_chars().str.to_lowercase().unique()
    said = set(words) - set(blanks)
    return bool(said) and said <= {"true", "false"}


def _labels(table: Table, classes: tuple[ClassValue, ...]) -> Floats:
    """The sample's targets as positions among the model's classes."""
    if not classes:
        return table.labels
    places = {class_name(value): place for place, value in enumerate(classes)}
    if set(classes) <= {0, 1}:
        places |= {"false": 0, "true": 1, "0": 0, "1": 1}
    strange = [class_name(value) for value in table.classes if class_name(value) not in places]
    if strange:
        raise InputError(
            f"the sample's target has classes that the model does not know: "
            f"{', '.join(strange[:10])}",
            where=f"column {table.target!r}",
            fix=f"the model's are {', '.join(list(places)[:10])}",
        )
    own = np.array([places[class_name(value)] for value in table.classes], dtype=np.float64)
    labels: Floats = own[table.labels.astype(int)]
    return labels


def _complete(contract: Contract, levels: dict[str, Levels]) -> Contract:
    """The contract with every level that the model knows, and none but those."""
    columns = []
    for column in contract.columns:
        if column.name in levels:
            known = levels[column.name]
            counts = {level: column.categories.get(level, 0) for level in known.values}
            whole = all(float(level).is_integer() for level in counts) if known.numeric else False
            dtype = "string" if not known.numeric else "integer" if whole else "number"
            column = msgspec.structs.replace(column, categories=counts, dtype=dtype)
        columns.append(column)
    return msgspec.structs.replace(contract, columns=tuple(columns))


def _refusals(model: ForeignModel, levels: dict[str, Levels]) -> Contract:
    """The contract with `error` for blanks and unseen levels that the model itself refuses."""
    frame = model.table.frame.select(model.contract.names)
    complete = frame.filter(pl.all_horizontal(pl.all().is_not_null()))
    row = (complete if complete.height else frame).head(1)
    if np.isnan(model.each(row)).any():
        raise InputError(
            "the model refuses a row of the sample",
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


def _check_answers(model: ForeignModel) -> None:
    """Refuse a classifier whose class is not its most probable one: a bundle answers that one."""
    if not model.contract.target.classes:
        return
    rows = model._own(model.table.frame.head(2000))
    scores = ask(model.original, rows, len(model.contract.target.classes))
    best = scores.max(axis=1)
    said = np.asarray(model.original.predict(rows)).reshape(-1)
    codes = np.searchsorted(model.original.classes_, said)
    other = scores[np.arange(len(scores)), codes] < best - 1e-9
    if other.any():
        raise CheckFailed(
            f"{model.family}.predict answers another class than the most probable one in "
            f"{int(other.sum())} of {len(scores)} rows: which one to serve is not clear",
            where=f"row {int(other.argmax())} of the sample",
            fix="calibrate it (CalibratedClassifierCV), or put a threshold into [train.decision]",
        )


def _no_search(table: Table) -> SearchRecord:
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
