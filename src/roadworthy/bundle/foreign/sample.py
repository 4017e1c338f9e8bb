"""The sample that comes with a model: read with the model's idea of its columns and classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor

from roadworthy.bundle.foreign.apart import Apart, Levels
from roadworthy.cells import WHITE_SPACE
from roadworthy.contract import ClassValue, Contract, Task, class_name
from roadworthy.errors import InputError
from roadworthy.project import ColumnOptions, Project
from roadworthy.project.data import DEFAULT_BLANKS
from roadworthy.table import Table, read_table
from roadworthy.table.sources import Source, read_frame
from roadworthy.table.target import usable_target

Floats = NDArray[np.float64]
_TRUTHS = {"true", "false"}
_ONE_TARGET = "fit one model for each target, and package each"


def classes_of(model: Any) -> tuple[ClassValue, ...]:
    """The model's classes in the order of its probabilities; empty for a regressor.

    Raises:
        InputError: It is neither, or gives no probabilities of classes that a bundle can name.
    """
    if not hasattr(model, "predict"):
        raise InputError(
            f"{type(model).__name__} is neither a fitted classifier nor a regressor",
            fix="give an object with predict, and for classes predict_proba and classes_",
        )
    if is_regressor(model):
        if _targets(model) > 1:
            raise InputError(f"{type(model).__name__} predicts several targets", fix=_ONE_TARGET)
        return ()
    name = type(model).__name__
    if not is_classifier(model) or not hasattr(model, "classes_"):
        raise InputError(
            f"{name} is neither a fitted classifier nor a regressor of scikit-learn's kind",
            fix="give an object with predict, and for classes predict_proba and classes_",
        )
    if not hasattr(model, "predict_proba"):
        last = type(model.steps[-1][1]).__name__ if hasattr(model, "steps") else name
        hard = " with voting='hard'" if last == "VotingClassifier" else ""
        raise InputError(
            f"{last}{hard} gives no probabilities",
            fix="voting='soft'"
            if hard
            else "calibrate it (CalibratedClassifierCV), or train another",
        )
    if isinstance(model.classes_, list) or np.ndim(model.classes_) != 1:
        raise InputError(f"{name} predicts several targets", fix=_ONE_TARGET)
    classes = np.asarray(model.classes_)
    if len(classes) < 2:
        raise InputError(f"{name} knows one class only: there is nothing to predict")
    if classes.dtype.kind == "f":
        if (classes != np.floor(classes)).any():
            raise InputError(f"{name} has classes that are fractions")
        classes = classes.astype(np.int64)
    return tuple(value if isinstance(value, (bool, int)) else str(value)
                 for value in classes.tolist())  # fmt: skip


def _targets(model: Any) -> int:
    """How many numbers a fitted regressor predicts of a row, as far as it says so."""
    model = getattr(model, "best_estimator_", model)
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    said = getattr(last, "n_outputs_", None)
    if said is None:
        coefficients = np.shape(getattr(last, "coef_", ()))
        said = coefficients[0] if len(coefficients) == 2 else 1
    return int(said)


def read_source(data: Any, target: str, project: Project) -> tuple[Source, Project]:
    """The raw sample, and the project that reads it so: its header is known to name the target.

    Raises:
        InputError: The sample cannot be read, or has no column of the target's name.
    """
    source = read_frame(data, project.data)
    if target not in source.frame.columns and source.text and project.data.header is None:
        project = project.override("data", header=True)
        source = read_frame(data, project.data)
    there = source.frame.columns
    if target not in there:
        shown = ", ".join(map(repr, there[:20])) + (" …" if len(there) > 20 else "")
        raise InputError(
            f"the sample has no column {target!r}: the model is measured on it",
            where=source.origin,
            fix=f"--target COLUMN; the sample's columns are {shown}",
        )
    return source, project


def columns_of(apart: Apart, source: Source, target: str) -> tuple[str, ...]:
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
        trimmed = [name for name in missing if name.strip(WHITE_SPACE) in there]
        raise InputError(
            f"the sample lacks columns of the model: {', '.join(map(repr, missing[:10]))}",
            where=source.origin,
            fix="names in a text file are read without white space around them: fit the model on "
            "such names, or give the sample as Parquet"
            if trimmed
            else "give rows as the model was fitted on, with the target",
        )
    return apart.names


def read_sample(
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
        if kind == "number" and is_boolean(source.frame[name], blanks):
            kind = "boolean"
        said = project.data.columns.get(name, ColumnOptions())
        columns[name] = msgspec.structs.replace(said, kind=kind)
    others = [name for name in source.frame.columns if name not in (*names, target)]
    wanted = project.override(
        "data",
        columns=msgspec.to_builtins(columns),
        blanks=tuple(blank for blank in blanks if blank.lower() not in known or not blank),
        task=_task_of(source.frame[target], classes, blanks),
        drop=tuple(others),
        split="random",
    ).override("prepare", drop_columns_above=1.0)
    try:
        table = read_table(data, target, project=wanted, name=project.project.name, fitted=True)
    except InputError as error:
        raise _explained(error, columns) from None
    task: Task = _task(len(classes)) if classes else "regression"
    contract = msgspec.structs.replace(
        table.contract,
        columns=tuple(
            next(each for each in table.contract.columns if each.name == name) for name in names
        ),
        blanks=tuple(blank.lower() for blank in blanks),
        target=msgspec.structs.replace(table.contract.target, classes=classes, task=task),
    )
    labels = _labels(table, classes)
    return dataclasses.replace(
        table, contract=contract, classes=classes, labels=labels, task=task, split=None
    )


def _task(classes: int) -> Task:
    return "binary" if classes == 2 else "multiclass"


def _task_of(target: pl.Series, classes: tuple[ClassValue, ...], blanks: Sequence[str]) -> Task:
    """The task that the sample alone shows: it need not have every class of the model."""
    if not classes:
        return "regression"
    return _task(usable_target(target, blanks).drop_nulls().n_unique())


def _explained(error: InputError, columns: Mapping[str, ColumnOptions]) -> InputError:
    """A cell that its kind cannot take, told as what the model takes: nobody said that kind."""
    name = next((name for name in columns if error.where == f"column {name!r}"), None)
    found = error.what.partition("they look like ")[2]
    if name is None or not found:
        return error
    reads = "levels" if columns[name].kind == "category" else "numbers"
    fix = "give rows as the model was fitted on; "
    if "date" in found:
        fix += "turn dates into numbers before the model is fitted, by a step outside of it"
    else:
        fix += "texts need an encoder in the model's pipeline (OneHotEncoder, OrdinalEncoder)"
    return InputError(
        f"the model reads this column as {reads}, and the sample's cells look like {found}",
        where=error.where,
        fix=fix,
    )


def complete(contract: Contract, levels: dict[str, Levels]) -> Contract:
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


def _labels(table: Table, classes: tuple[ClassValue, ...]) -> Floats:
    """The sample's targets as positions among the model's classes."""
    if not classes:
        return table.labels
    places = {class_name(value): place for place, value in enumerate(classes)}
    if set(classes) <= {0, 1}:
        places |= {"false": 0, "true": 1, "0": 0, "1": 1}
    # a table's classes are trimmed, and truths as texts are read as truths
    plain = {name.strip(WHITE_SPACE): place for name, place in places.items()}
    plain |= {name.lower(): at for name, at in plain.items() if name.lower() in _TRUTHS}
    if len(set(plain.values())) == len(classes) and len(plain) >= len(classes):
        places = plain | places
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


def is_boolean(series: pl.Series, blanks: Sequence[str]) -> bool:
    """Whether a column holds truths, which a file writes as words."""
    if series.dtype != pl.String:
        return bool(series.dtype == pl.Boolean)
    words = series.drop_nulls().str.strip_chars().str.to_lowercase().unique()
    said = set(words) - set(blanks)
    return bool(said) and said <= _TRUTHS
