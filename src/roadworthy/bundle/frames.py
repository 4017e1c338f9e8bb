"""Predict whole frames and files, and turn typed columns back into rows of JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from roadworthy.cells import json_level
from roadworthy.contract import Column, Contract
from roadworthy.errors import InputError
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import DataSection
from roadworthy.table.conform import conform
from roadworthy.table.sources import read_frame

if TYPE_CHECKING:
    from roadworthy.bundle.bundle import Bundle
    from roadworthy.bundle.engine import Engine


def predict_frame(
    bundle: Bundle, data: Any, *, keep: Sequence[str] = (), query: str | None = None
) -> pl.DataFrame:
    """Predict a file, a database's table or a data frame; see `Bundle.predict`.

    Args:
        bundle: The model.
        data: The rows.
        keep: Columns of theirs to put before the predictions.
        query: What is read of a database whose address names no table.
    """
    contract = bundle.contract
    said = msgspec.structs.asdict(contract.text)
    source = read_frame(data, DataSection(blanks=contract.blanks, query=query, **said))
    typed = conform(source.frame, contract, text=source.text, absent=bundle.absent)
    missing = [name for name in keep if name not in source.frame.columns]
    if missing:
        raise InputError(f"there is no column {missing[0]!r} to keep", where=source.origin)
    answers = predict_typed(bundle.engine, typed)
    return pl.DataFrame([*source.frame.select(keep).get_columns(), *answers.get_columns()])


def predict_typed(engine: Engine, typed: pl.DataFrame) -> pl.DataFrame:
    """Predict columns that `conform` has typed."""
    scores = engine.run_many(encode_columns(typed, engine.plan))
    target = engine.contract.target
    if target.task == "regression":
        answers = {"prediction": scores}
        if target.interval is not None:
            with np.errstate(over="ignore"):  # what is beyond float64 ends at its largest number
                answers["low"], answers["high"] = target.interval.around_many(scores)
        return pl.DataFrame(answers)
    classes = pl.Series(list(target.classes))
    columns = {"prediction": classes.gather(target.predicted_codes(scores))}
    for code, name in enumerate(target.class_names):
        columns[f"probability_{name}"] = pl.Series(scores[:, code])
    return pl.DataFrame(columns)


def json_rows(frame: pl.DataFrame, contract: Contract) -> list[dict[str, Any]]:
    """Typed columns as rows of the JSON values that a client would send."""
    cells = [_json_cells(frame[column.name], column) for column in contract.columns]
    return [dict(zip(contract.names, row, strict=True)) for row in zip(*cells, strict=True)]


def _json_cells(series: pl.Series, column: Column) -> list[Any]:
    if column.kind == "date":
        texts = series.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
        return list(series.dt.to_string("%Y-%m-%d") if column.dtype == "date" else texts)
    if column.kind == "category" and column.dtype != "string":
        return [None if level is None else json_level(level) for level in series]
    return series.to_list()
