"""Read a table from CSV, Parquet or a data frame and learn its contract."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.cells import TextOptions
from roadworthy.contract import ClassValue, Column, Contract, Target, Task
from roadworthy.errors import InputError
from roadworthy.project import ColumnOptions, DataSection, Project
from roadworthy.table.kinds import Typed, infer, level_text
from roadworthy.table.sources import Source, read_frame, trim
from roadworthy.table.split import Split, split_rows
from roadworthy.table.table import ColumnProfile, Table
from roadworthy.table.weights import read_weights

MIN_ROWS = 20
MAX_CLASSES = 200
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def read_table(
    data: Any, target: str | None = None, *, project: Project | None = None, name: str | None = None
) -> Table:
    """Read a table, infer its columns and split off the holdout.

    Args:
        data: A CSV/TSV file (plain, .gz, .bz2, .xz), a Parquet file, or a data frame (pandas,
            Polars, or anything that speaks Arrow's PyCapsule interface).
        target: The column to predict; None takes `[data] target`.
        project: The project; None takes every default.
        name: A short name for the table; None takes the file's.

    Returns:
        The table with typed columns, contract and split.

    Raises:
        InputError: The data cannot be read or cannot be trained on; the message says where.
    """
    options = (project or Project()).data
    seed = (project or Project()).train.seed
    source = read_frame(data, options)
    frame, origin, notes = source.frame, source.origin, list(source.notes)
    wanted = target or options.target
    if wanted is None:
        raise InputError("no target column is named", fix="give --target or [data] target")
    _check_columns_exist(frame, wanted, options)
    raw_target, dropped = _read_target(frame[wanted], options.blanks)
    notes += dropped
    typed = _infer_columns(source, raw_target, options)
    del source, frame
    task, classes, labels = _target(typed.pop(wanted), raw_target.drop_nulls(), options.task)
    if task != "regression":
        _check_classes(labels, classes)
    split = _split(typed, labels, task, options, seed)
    if task != "regression":
        _check_trained_classes(labels[split.train], classes, split.policy)
    roles = {
        column: role
        for column, role in (
            (options.group, "says which rows belong together"),
            (options.weight, "says how much a row weighs"),
        )
        if column
    }
    profiles = tuple(_profile(column, cells, options, roles) for column, cells in typed.items())
    used = [profile.name for profile in profiles if profile.used]
    if not used:
        raise InputError(
            "no column is left to predict from",
            where=origin,
            fix="; ".join(f"{p.name}: {p.why_not}" for p in profiles[:5]) or "add columns",
        )
    contract = Contract(
        target=Target(name=wanted, task=task, classes=classes, scale=_scale(labels, split, task)),
        columns=tuple(
            _learn(typed[column], options.columns.get(column, ColumnOptions()), split.train)
            for column in used
        ),
        ignored=tuple(profile.name for profile in profiles if not profile.used),
        blanks=tuple(blank.lower() for blank in options.blanks),
        rows=len(split.train),
        text=TextOptions(options.delimiter, options.encoding, options.header),
    )
    typed_frame = pl.DataFrame([cells.series.alias(column) for column, cells in typed.items()])
    return Table(
        name=name or _short_name(data),
        source=origin,
        frame=typed_frame,
        labels=labels,
        target=wanted,
        task=task,
        classes=classes,
        profiles=profiles,
        contract=contract,
        split=split,
        notes=(*notes, *_time_note(profiles, options)),
        groups=_codes(typed[options.group].series) if options.group else None,
        times=_times(typed, options.time) if options.time else None,
        weights=(
            read_weights(
                typed[options.weight].series, raw_target.is_not_null().arg_true().to_numpy()
            )
            if options.weight
            else None
        ),
    )


def _check_columns_exist(frame: pl.DataFrame, target: str, options: DataSection) -> None:
    named = {
        "target": (target,),
        "[data] group": (options.group,),
        "[data] time": (options.time,),
        "[data] weight": (options.weight,),
        "[data] drop": options.drop,
        "[data.columns]": tuple(options.columns),
    }
    for key, columns in named.items():
        for column in columns:
            if column is not None and column not in frame.columns:
                lower = {name.lower(): name for name in frame.columns}
                near = [lower[n] for n in difflib.get_close_matches(column.lower(), lower, n=1)]
                shown = ", ".join(frame.columns[:20]) + (" …" if frame.width > 20 else "")
                if frame.columns[0] == "column_1":
                    shown += " (no header line was found: [data] header = true if there is one)"
                hint = f"did you mean {near[0]!r}?" if near else f"the columns are: {shown}"
                raise InputError(f"there is no column {column!r}", where=key, fix=hint)
            if column is not None and column == target and key != "target":
                if key == "[data.columns]":
                    continue
                raise InputError(f"column {column!r} is the target", where=key)


def _infer_columns(source: Source, target: pl.Series, options: DataSection) -> dict[str, Typed]:
    """Type the columns one by one, letting go of each raw one: a wide text is not held twice."""
    raw = source.frame.clone()
    keep = target.is_not_null()
    typed = {}
    for name in source.frame.columns:
        series = raw.drop_in_place(name)
        series = target if name == target.name else trim(series, options.blanks)
        typed[name] = infer(
            series if keep.all() else series.filter(keep),
            text=source.text,
            semicolons=source.semicolons,
            options=options.columns.get(name, ColumnOptions()),
        )
    return typed


def _read_target(series: pl.Series, blanks: Sequence[str]) -> tuple[pl.Series, list[str]]:
    if not len(series):
        raise InputError("the table has a header and no rows")
    series = trim(series, blanks)
    numbers = series.cast(pl.Float64, strict=False) if series.dtype == pl.String else series
    if numbers.dtype.is_float() and numbers.null_count() == series.null_count():
        series = series.set((~numbers.is_finite()).fill_null(value=False), None)
    missing = series.null_count()
    if missing == len(series):
        raise InputError("every cell of the target is blank", where=f"column {series.name!r}")
    if len(series) - missing < MIN_ROWS:
        raise InputError(
            f"{len(series) - missing} usable rows are too few to train on",
            fix=f"give at least {MIN_ROWS} rows with a target",
        )
    return series, [f"{missing:,} rows dropped: their target is blank"] if missing else []


def _target(
    goal: Typed, raw: pl.Series, wanted: str
) -> tuple[Task, tuple[ClassValue, ...], NDArray[np.float64]]:
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
            fix="choose another target, group the classes, or say task = 'regression'",
        )
    classes, codes = _classes(goal, raw)
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    if wanted in ("binary", "multiclass") and wanted != task:
        raise InputError(f"the target has {len(classes)} classes, not a {wanted} task", where=where)
    return task, classes, codes


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


def _check_classes(labels: NDArray[np.float64], classes: tuple[ClassValue, ...]) -> None:
    counts = np.bincount(labels.astype(int), minlength=len(classes))
    rare = [str(name) for name, count in zip(classes, counts, strict=True) if count < 2]
    if rare:
        raise InputError(
            f"classes with a single row cannot be trained and tested: {', '.join(rare[:10])}",
            where="target column",
            fix="remove or merge them, or add rows",
        )


def _check_trained_classes(
    labels: NDArray[np.float64], classes: tuple[ClassValue, ...], policy: str
) -> None:
    missing = sorted(set(range(len(classes))) - set(labels.astype(int).tolist()))
    if missing:
        names = ", ".join(repr(classes[code]) for code in missing[:10])
        raise InputError(
            f"classes that only the holdout has cannot be trained: {names} ({policy})",
            where="target column",
            fix="leave out group or time, hold out less ([data] holdout), or drop these rows",
        )


def _scale(labels: NDArray[np.float64], split: Split, task: Task) -> float:
    if task != "regression":
        return 1.0
    with np.errstate(over="ignore"):  # a target whose squares are beyond float64
        spread = float(labels[split.train].std())
    return spread if 0.0 < spread < np.inf else 1.0


def _split(
    typed: dict[str, Typed],
    labels: NDArray[np.float64],
    task: Task,
    options: DataSection,
    seed: int,
) -> Split:
    if options.group and options.time:
        raise InputError(
            "group and time cannot both decide the holdout: the newest rows tear groups apart",
            where="[data] group, time",
            fix="name one of them",
        )
    return split_rows(
        len(labels),
        options.holdout,
        seed,
        strata=None if task == "regression" else labels.astype(np.int64),
        groups=_codes(typed[options.group].series) if options.group else None,
        times=_times(typed, options.time) if options.time else None,
    )


def _codes(series: pl.Series) -> NDArray[np.int64]:
    return series.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)


def _times(typed: dict[str, Typed], column: str) -> NDArray[np.float64]:
    cells = typed[column]
    if cells.series.dtype.is_temporal():
        micros = cells.series.cast(pl.Int64)
        return micros.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if cells.series.dtype.is_numeric():
        return cells.series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    raise InputError(
        f"the time column holds neither dates nor numbers but {cells.kind}",
        where=f"[data] time = {column!r}",
    )


def _profile(name: str, cells: Typed, options: DataSection, roles: dict[str, str]) -> ColumnProfile:
    why_not = None
    if name in options.drop:
        why_not = "dropped by the project file"
    elif name in roles:
        why_not = roles[name]
    elif cells.kind in ("text", "identifier", "constant"):
        why_not = f"{cells.kind}: {cells.reason}"
    return ColumnProfile(
        name=name,
        kind=cells.kind,
        reason=cells.reason,
        blanks=cells.series.null_count(),
        distinct=cells.series.drop_nulls().n_unique(),
        used=why_not is None,
        why_not=why_not,
    )


def _learn(cells: Typed, options: ColumnOptions, rows: NDArray[np.int64]) -> Column:
    """The contract of one column, from the training rows only."""
    series = cells.series[rows]
    known = series.drop_nulls()
    levels: dict[str, int] = {}
    numbers: pl.Series | None = None
    if cells.kind == "category":
        counts = known.value_counts().sort(["count", known.name], descending=[True, False])
        levels = dict(counts.iter_rows())
    elif cells.kind == "date":
        numbers = pl.Series(known.cast(pl.Int64).to_numpy() / 1e6)
    elif cells.kind == "number":
        numbers = known.cast(pl.Float64)
    quantiles: list[Any] = []
    if numbers is not None and len(numbers):
        quantiles = [numbers.quantile(share, "nearest") for share in _QUANTILES]
    return Column(
        name=series.name,
        kind=cells.kind,  # type: ignore[arg-type]  # unused kinds never come here
        dtype=cells.dtype,  # type: ignore[arg-type]
        blank_share=series.null_count() / max(1, len(series)),
        minimum=None if numbers is None else numbers.min(),  # type: ignore[arg-type]
        maximum=None if numbers is None else numbers.max(),  # type: ignore[arg-type]
        quantiles=tuple(quantiles),
        categories=levels,
        on_blank=options.blank,
        on_unseen=options.unseen,
        number_format=cells.number_format,
        date_format=cells.date_format,
    )


def _time_note(profiles: tuple[ColumnProfile, ...], options: DataSection) -> list[str]:
    dates = [profile.name for profile in profiles if profile.kind == "date"]
    if dates and options.time is None:
        return [
            f"column {dates[0]!r} is a date and the split is random: a model that must predict "
            f"the future may score worse than shown; say --time {dates[0]} to hold out the newest"
        ]
    return []


def _short_name(data: Any) -> str:
    stem = Path(data).name.split(".")[0] if isinstance(data, (str, os.PathLike)) else "model"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "model"
