"""What is done with each column, and why: the project's word where there is one, else evidence."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from roadworthy.contract import Column, Contract
from roadworthy.errors import InputError
from roadworthy.prepare.plan import Scale
from roadworthy.project import PrepareSection

ORDERED_LEVELS = 30
"""Categories of up to so many levels are coded in the order of the target's mean (W. D. Fisher
1958; Breiman et al. 1984, section 9.4: a tree then finds the best grouping by one threshold);
larger ones in the order of frequency: means of rare levels leak the target, and on the tables
tried cross-fitted means were no better than the plain codes (flights, 3,808 tail numbers: area
.781 with means, .784 with codes)."""
ONE_HOT_LEVELS = 100
"""Levels above which one feature a level would make every request pay for a wide vector."""
TARGET_CLASSES = 10
_SKEWED = 2.0

Blank = Literal["keep", "mean", "median", "most_frequent", "constant"]
Encoding = Literal[
    "number", "boolean", "parts", "cyclic", "one_hot", "ordinal", "code", "target", "frequency",
    "hash", "tf_idf",
]  # fmt: skip


class Choice(NamedTuple):
    """What is done with one column.

    Attributes:
        column: The column.
        encoding: How its cells become numbers.
        blank: What a blank becomes.
        fill: The constant, for `constant`.
        indicator: Whether a further feature says that the cell was blank.
        scale: How models that need one scale bring its numbers there.
        reasons: Why, in a few words each.
    """

    column: str
    encoding: Encoding
    blank: Blank
    fill: float | str | None
    indicator: bool
    scale: Scale
    reasons: tuple[str, ...]


def check_options(contract: Contract, options: PrepareSection) -> None:
    """Refuse what does not fit a column's kind before any work.

    Raises:
        InputError: Names the column, the key and what would fit.
    """
    for column in contract.columns:
        if column.name in options.columns:
            where = f"[prepare.columns.{column.name}]"
            _check_column(column, options.columns[column.name], where)


def _check_column(column: Column, said: Any, where: str) -> None:
    of_kind = {
        "number": {"impute", "fill", "indicator", "scale"},
        "boolean": {"impute", "fill", "indicator"},
        "date": {"impute", "indicator", "date", "scale"},
        "category": {"impute", "fill", "indicator", "encode", "order"},
        "text": {"text", "indicator"},
    }[column.kind]
    given = {
        key
        for key in ("impute", "fill", "indicator", "encode", "order", "scale", "date", "text")
        if getattr(said, key) not in (None, ())
    }
    for key in sorted(given - of_kind):
        raise InputError(
            f"{key} does not fit a {column.kind} column",
            where=where,
            fix=f"for this column: {', '.join(sorted(of_kind))}; or set its kind in [data.columns]",
        )
    if (said.impute == "constant") != (said.fill is not None):
        raise InputError("impute = 'constant' and fill belong together", where=where)
    if said.fill is not None and isinstance(said.fill, str) != (column.kind == "category"):
        raise InputError(
            f"fill is {said.fill!r}, which a {column.kind} column cannot hold", where=where
        )
    if column.kind == "boolean" and said.fill not in (None, 0, 1):
        raise InputError("fill must be 0 or 1 in a boolean column", where=where)
    if column.kind == "category":
        if said.impute in ("mean", "median"):
            raise InputError(f"a category has no {said.impute}", where=where, fix="most_frequent")
        _check_order(column, said, where)


def _check_order(column: Column, said: Any, where: str) -> None:
    if not said.order:
        return
    if said.encode not in (None, "ordinal"):
        raise InputError(f"order does not go with encode = {said.encode!r}", where=where)
    if len(set(said.order)) < len(said.order):
        raise InputError("order names a level twice", where=where)
    missing = [level for level in column.levels() if level not in said.order]
    if missing:
        raise InputError(
            f"order leaves out levels of the table: {', '.join(map(repr, missing[:10]))}",
            where=where,
            fix="list every level, the lowest first",
        )


def choose(
    column: Column, series: pl.Series, task: str, classes: int, options: PrepareSection
) -> Choice:
    """Choose what is done with a column.

    Args:
        column: Its contract.
        series: Its training cells, typed.
        task: The task.
        classes: Classes, 0 for regression.
        options: `[prepare]`.

    Raises:
        InputError: What the project wants cannot be served.
    """
    said = options.of(column.name)
    reasons: list[str] = []
    scale: Scale = "none"
    encoding: Encoding
    if column.kind == "category":
        encoding = _category(column, series, task, classes, options, reasons)
    elif column.kind == "text":
        wanted = said.text if said.text not in (None, "auto") else options.text
        encoding = "hash" if wanted == "hash" else "tf_idf"
        reasons.append(f"text: {_source(wanted, 'words weighted by how rare they are')}")
    elif column.kind == "date":
        date = said.date if said.date not in (None, "auto") else options.date
        encoding = "cyclic" if date == "cyclic" else "parts"
        reasons.append(f"date: {_source(date, 'trees cut plain parts where it matters')}")
    else:
        encoding = "number" if column.kind == "number" else "boolean"
    if column.kind in ("number", "date"):
        scale = _scale(column, series, options, reasons)
    blank = _blank(column, series, options, reasons)
    indicator = options.indicator if said.indicator is None else said.indicator
    indicator = indicator and (series.null_count() > 0 or said.indicator is True)
    return Choice(column.name, encoding, blank, said.fill, indicator, scale, tuple(reasons))


def _source(wanted: str | None, reason: str) -> str:
    return reason if wanted in (None, "auto") else "said in the project file"


def _blank(column: Column, series: pl.Series, options: PrepareSection, reasons: list[str]) -> Blank:
    said = options.of(column.name).impute
    if column.kind == "text":
        return "keep"
    usual = options.category_impute if column.kind == "category" else options.number_impute
    wanted = said if said not in (None, "auto") else usual
    if column.kind in ("category", "date", "boolean") and wanted in ("mean", "median"):
        wanted = "most_frequent" if column.kind == "boolean" else "mean"
    if wanted in ("auto", "drop_rows", None):
        reasons.append(
            "blanks: rows with a blank are dropped and refused"
            if wanted == "drop_rows"
            else "blanks: none in training"
            if not series.null_count()
            else "blanks: a level of their own, for being blank may tell"
            if column.kind == "category"
            else "blanks: left to the model, for being blank may tell"
        )
        return "keep"
    reasons.append("blanks: said in the project file")
    return wanted  # type: ignore[return-value]  # the same words, less auto and drop_rows


def _category(
    column: Column,
    series: pl.Series,
    task: str,
    classes: int,
    options: PrepareSection,
    reasons: list[str],
) -> Encoding:
    said = options.of(column.name)
    wanted = said.encode if said.encode not in (None, "auto") else options.encode
    if said.order:
        wanted = "ordinal"
    levels = series.drop_nulls().n_unique()
    if wanted == "target" and classes > TARGET_CLASSES:
        raise InputError(
            f"encode = 'target' makes a feature a class, and {classes} classes are more than "
            f"{TARGET_CLASSES}",
            where=f"[prepare] encode, column {column.name!r}",
            fix="use one_hot, frequency or hash",
        )
    if wanted == "one_hot":
        _check_one_hot(column.name, series, options)
    if wanted != "auto":
        reasons.append("category: said in the project file")
        return wanted
    ordered = levels <= ORDERED_LEVELS and task != "multiclass"
    order = "in the order of the target's mean" if ordered else "by frequency"
    reasons.append(f"category: {levels:,} levels, a code each {order}")
    return "code"


def _check_one_hot(name: str, series: pl.Series, options: PrepareSection) -> None:
    counts = series.drop_nulls().alias("level").value_counts()["count"]
    kept = int((counts >= options.rare_rows).sum())
    if kept > ONE_HOT_LEVELS:
        raise InputError(
            f"encode = 'one_hot' would make {kept:,} features, more than {ONE_HOT_LEVELS}: every "
            "request would pay for them",
            where=f"[prepare] encode, column {name!r}",
            fix="fold rare levels (rare_rows = 20), or encode = 'target', 'hash' or 'auto' (linear "
            "models then still give each level a weight of its own)",
        )


def _scale(column: Column, series: pl.Series, options: PrepareSection, reasons: list[str]) -> Scale:
    said = options.of(column.name).scale
    wanted = said if said not in (None, "auto") else options.scale
    if wanted != "auto":
        reasons.append("scale: said in the project file")
        return wanted
    if column.kind == "number":
        values = series.drop_nulls().cast(pl.Float64).to_numpy()
        raw = _skewness(values)
        logged = _skewness(np.sign(values) * np.log(1.0 + np.abs(values)))
        if abs(raw) > _SKEWED and abs(logged) < abs(raw) / 2:
            reasons.append(f"scale: logarithm, for a skewness of {raw:.1f}")
            return "log"
    return "standard"


def _skewness(values: Any) -> float:
    """Fisher's skewness; 0 where it is undefined."""
    if len(values) < 2:
        return 0.0
    with np.errstate(all="ignore"):
        skew = float((((values - values.mean()) / values.std()) ** 3).mean())
    return skew if np.isfinite(skew) else 0.0
