"""Read the target: which task it is, its classes, and what cannot be trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import ClassValue, Task
from roadworthy.errors import InputError
from roadworthy.table.kinds import Typed, level_text
from roadworthy.table.sources import trim
from roadworthy.table.split import Split

MIN_ROWS = 20
MAX_CLASSES = 200
_NUMBER_AND_WORD = r"^[+-]?\d[\d.,]*\s+([\p{L}µ°²³/]{1,8})$"


def read_target(series: pl.Series, blanks: Sequence[str]) -> tuple[pl.Series, list[str]]:
    """Trim the target and turn what is no target (blank, infinite) into null.

    Returns:
        The cells, and what was dropped, for people.

    Raises:
        InputError: Too few rows have a target.
    """
    if not len(series):
        raise InputError(
            "the table has a header and no rows",
            where=f"target column {series.name!r}",
            fix=f"give at least {MIN_ROWS} rows with a target",
        )
    series = usable_target(series, blanks)
    missing = series.null_count()
    if missing == len(series):
        raise InputError(
            "every cell of the target is blank", where=f"target column {series.name!r}"
        )
    if len(series) - missing < MIN_ROWS:
        raise InputError(
            f"too few rows to train on: {len(series) - missing} have a target",
            where=f"target column {series.name!r}",
            fix=f"give at least {MIN_ROWS} rows with a target",
        )
    rows = "1 row" if missing == 1 else f"{missing:,} rows"
    return series, [f"{rows} dropped: the target is blank there"] if missing else []


def usable_target(series: pl.Series, blanks: Sequence[str]) -> pl.Series:
    """The target's cells, trimmed; null where there is none."""
    series = trim(series, blanks)
    numbers = series.cast(pl.Float64, strict=False) if series.dtype == pl.String else series
    if numbers.dtype.is_float() and numbers.null_count() == series.null_count():
        series = series.set((~numbers.is_finite()).fill_null(value=False), None)
    return series


def type_target(
    goal: Typed, raw: pl.Series, wanted: str
) -> tuple[Task, tuple[ClassValue, ...], NDArray[np.float64]]:
    """Find the task, the classes, and each row's class position or number.

    Args:
        goal: The target after inference.
        raw: Its cells as they were written, without blanks.
        wanted: `[data] task`.

    Raises:
        InputError: Nothing can be predicted, or the task does not fit.
    """
    series = goal.series
    if raw.dtype.is_nested() or raw.dtype in (pl.Binary, pl.Object, pl.Duration, pl.Time):
        raise InputError(f"{goal.reason}", where=f"target column {raw.name!r}")
    where = f"target column {raw.name!r}"
    if series.drop_nulls().n_unique() < 2:
        raise InputError(
            "the target has one value in every row: there is nothing to predict", where=where
        )
    numeric = series.dtype.is_numeric()
    distinct = series.n_unique()
    few = series.dtype == pl.Int64 and distinct <= max(2, min(20, len(series) // 20))
    if wanted == "regression" or (wanted == "auto" and numeric and not few):
        if not numeric and series.dtype != pl.Boolean:
            raise InputError(f"regression needs numbers, this is {goal.kind}", where=where)
        return "regression", (), series.cast(pl.Float64).to_numpy()
    if distinct > MAX_CLASSES:
        raise InputError(
            f"{distinct:,} different classes are more than {MAX_CLASSES}",
            where=where,
            fix=_fix_of_many(goal, raw),
        )
    classes, codes = _classes(goal, raw)
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    if wanted in ("binary", "multiclass") and wanted != task:
        raise InputError(f"the target has {len(classes)} classes, not a {wanted} task", where=where)
    return task, classes, codes


def _fix_of_many(goal: Typed, raw: pl.Series) -> str:
    """What to do about a target that is no number and has too many values for classes."""
    if goal.kind == "date":
        return "dates are not predicted: make a number of them, such as the days until then"
    if raw.dtype == pl.String and (word := word_behind_numbers(raw)):
        return f"take the word {word!r} away from behind the numbers: then they are predicted"
    if goal.series.dtype.is_numeric():
        return "choose another target, group the classes, or say task = 'regression'"
    return "choose another target, or group the classes"


def word_behind_numbers(texts: pl.Series) -> str:
    """The one word that stands behind the number in every cell, as kg in 12 kg; or nothing."""
    words = texts.drop_nulls().unique().head(1000).str.extract(_NUMBER_AND_WORD, 1)
    alike = len(words) > 1 and not words.null_count() and words.n_unique() == 1
    return str(words[0]) if alike else ""


def _classes(goal: Typed, raw: pl.Series) -> tuple[tuple[ClassValue, ...], NDArray[np.float64]]:
    values = goal.series
    if values.dtype == pl.Boolean:
        if raw.dtype == pl.String and set(raw.str.to_lowercase().unique()) != {"true", "false"}:
            values = raw if goal.dtype == "string" else values.cast(pl.Int64)
        elif raw.dtype.is_numeric():
            values = values.cast(pl.Int64)
    elif values.dtype.is_float():
        values = level_text(values)
    elif not values.dtype.is_integer():
        values = raw.cast(pl.String)
    classes = tuple(sorted(values.unique().to_list()))
    codes = values.replace_strict(
        pl.Series(list(classes), dtype=values.dtype),
        pl.Series(range(len(classes)), dtype=pl.Float64),
        return_dtype=pl.Float64,
    )
    return classes, codes.to_numpy()


def check_classes(
    labels: NDArray[np.float64], classes: tuple[ClassValue, ...], target: str
) -> None:
    """Refuse classes with a single row, which cannot be trained and tested."""
    counts = np.bincount(labels.astype(int), minlength=len(classes))
    rare = [str(name) for name, count in zip(classes, counts, strict=True) if count < 2]
    if rare:
        raise InputError(
            f"classes with a single row cannot be trained and tested: {', '.join(rare[:10])}",
            where="target column",
            fix="the header stands among the rows again: remove that line"
            if target in rare
            else "remove or merge them, or add rows",
        )


def check_trained_classes(
    labels: NDArray[np.float64], classes: tuple[ClassValue, ...], policy: str
) -> None:
    """Refuse classes that only the holdout has."""
    missing = sorted(set(range(len(classes))) - set(labels.astype(int).tolist()))
    if missing:
        names = ", ".join(repr(classes[code]) for code in missing[:10])
        raise InputError(
            f"classes that only the holdout has cannot be trained: {names} ({policy})",
            where="target column",
            fix="leave out group or time, hold out less ([data] holdout), or drop these rows",
        )


def target_scale(labels: NDArray[np.float64], split: Split, task: Task) -> float:
    """Standard deviation of a regression's training target, 1 where it has none."""
    if task != "regression":
        return 1.0
    with np.errstate(over="ignore"):  # a target whose squares are beyond float64
        spread = float(labels[split.train].std())
    return spread if 0.0 < spread < np.inf else 1.0
