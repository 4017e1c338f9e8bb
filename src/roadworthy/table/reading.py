"""Read a table from CSV, Parquet, a database or a data frame and learn its contract."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.cells import TextOptions
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import InputError
from roadworthy.project import ColumnOptions, DataSection, PrepareSection, Project
from roadworthy.project.data import is_database
from roadworthy.project.prepare import Impute
from roadworthy.table.kinds import Typed, infer
from roadworthy.table.roles import Roles, choose_split
from roadworthy.table.sample import read_sample
from roadworthy.table.sources import Source, trim
from roadworthy.table.table import ColumnProfile, Table
from roadworthy.table.target import (
    MIN_ROWS,
    check_classes,
    check_trained_classes,
    read_target,
    target_scale,
    type_target,
    word_behind_numbers,
)
from roadworthy.table.weights import read_weights
from roadworthy.table.whole import Whole

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def read_table(
    data: Any,
    target: str | None = None,
    *,
    project: Project | None = None,
    name: str | None = None,
    fitted: bool = False,
) -> Table:
    """Read a table, infer its columns and split off the holdout.

    Args:
        data: A CSV/TSV file (plain, .gz, .bz2, .xz), a Parquet file, the address of one in a
            bucket (`s3://`, `gs://`, `az://`), a table of a database
            (`postgresql://HOST/DB#TABLE`, `sqlite:///FILE#TABLE`, or without a table what
            `[data] query` finds), or a data frame (pandas, Polars, or anything that speaks
            Arrow's PyCapsule interface). Of what does not fit into memory a random sample is
            read; the contract is learned of all rows.
        target: The column to predict; None takes `[data] target`.
        project: The project; None takes every default.
        name: A short name for the table; None takes the file's.
        fitted: Whether it is a sample for a model that is fitted: a class may have a single row.

    Returns:
        The table with typed columns, contract and split.

    Raises:
        InputError: The data cannot be read or cannot be trained on; the message says where.
        OutsideError: A bucket or a database cannot be read.
    """
    options = (project or Project()).data
    prepare = (project or Project()).prepare
    seed = (project or Project()).train.seed
    reading = read_sample(data, options, seed)
    source = reading.source
    frame, origin, notes = source.frame, source.origin, list(source.notes)
    lineage = source.lineage
    wanted = target or options.target
    if wanted is None:
        raise InputError("no target column is named", fix="give --target or [data] target")
    _check_columns_exist(frame, wanted, options, prepare)
    raw_target, dropped = read_target(frame[wanted], options.blanks)
    notes += dropped
    typed = _infer_columns(source, raw_target, options)
    groups = trim(frame[options.group], options.blanks) if options.group else None
    reading = reading._replace(source=source._replace(frame=pl.DataFrame()))
    del source, frame
    typed, kept, dropped = _drop_rows(typed, wanted, options, prepare)
    notes += dropped
    lines = raw_target.is_not_null().arg_true().filter(kept)
    raw_target = raw_target.drop_nulls().filter(kept)
    task, classes, labels = type_target(typed.pop(wanted), raw_target, options.task)
    if task != "regression" and not fitted:
        check_classes(labels, classes, wanted)
    roles = choose_split(typed, labels, task, options, seed)
    split = roles.split
    if task != "regression" and not fitted:
        check_trained_classes(labels[split.train], classes, split.policy)
    notes += _word_notes(typed)
    profiles = tuple(_profile(column, cells, options, prepare) for column, cells in typed.items())
    used = [profile.name for profile in profiles if profile.used]
    if not used:
        raise InputError(
            "no column is left to predict from",
            where=origin,
            fix="; ".join(f"{p.name}: {p.why_not}" for p in profiles[:5]) or "add columns",
        )
    contract = Contract(
        target=Target(
            name=wanted, task=task, classes=classes, scale=target_scale(labels, split, task)
        ),
        columns=tuple(
            _learn(
                typed[column],
                options.columns.get(column, ColumnOptions()),
                split.train,
                refuses_blanks=_impute(column, typed[column], prepare) == "drop_rows",
            )
            for column in used
        ),
        ignored=tuple(profile.name for profile in profiles if not profile.used),
        blanks=tuple(blank.lower() for blank in options.blanks),
        rows=len(split.train),
        text=TextOptions(options.delimiter, options.encoding, options.header),
    )
    whole = None
    if reading.file is not None and reading.places is not None:
        held = lines.to_numpy()[split.holdout]
        whole = Whole(
            file=reading.file,
            target=wanted,
            total=reading.total,
            required=tuple(n for n in used if _impute(n, typed[n], prepare) == "drop_rows"),
            held=reading.places[held],
            group=None if groups is None else (groups.name, groups[held].drop_nulls().unique()),
            border=_border(roles, typed),
        )
        contract = whole.learn(contract)
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
        notes=(*notes, *roles.notes),
        groups=roles.groups,
        times=roles.times,
        weights=(
            read_weights(typed[options.weight].series, lines.to_numpy()) if options.weight else None
        ),
        whole=whole,
        lineage=lineage,
    )


def _word_notes(typed: dict[str, Typed]) -> list[str]:
    """What to know of columns whose numbers have a word behind them, which makes texts of them."""
    return [
        f"column {name!r} is read as {cells.kind}: take the word {word!r} away to have numbers"
        for name, cells in typed.items()
        if cells.series.dtype == pl.String and (word := word_behind_numbers(cells.series))
    ]


def _border(roles: Roles, typed: dict[str, Typed]) -> tuple[Column, float] | None:
    """The column that orders the rows in time, and the moment from which they are held out."""
    if roles.time is None or roles.times is None:
        return None
    cells = typed[roles.time]
    column = _learn(cells, ColumnOptions(), roles.split.train, refuses_blanks=False)
    dated = cells.series.dtype.is_temporal()
    column = msgspec.structs.replace(column, kind="date" if dated else "number")
    return column, float(roles.times[roles.split.holdout].min())


def _check_columns_exist(
    frame: pl.DataFrame, target: str, options: DataSection, prepare: PrepareSection
) -> None:
    named = {
        "target": (target,),
        "[data] group": (options.group,),
        "[data] time": (options.time,),
        "[data] weight": (options.weight,),
        "[data] drop": options.drop,
        "[data.columns]": tuple(options.columns),
        "[prepare.columns]": tuple(prepare.columns),
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


def _drop_rows(
    typed: dict[str, Typed], target: str, options: DataSection, prepare: PrepareSection
) -> tuple[dict[str, Typed], pl.Series, list[str]]:
    """Leave out the rows with a blank where the project wants such rows dropped."""
    kept = pl.Series([True]).new_from_index(0, len(typed[target].series))
    notes = []
    for name, cells in typed.items():
        unused = name == target or _why_not(name, cells, options, prepare) is not None
        if unused or _impute(name, cells, prepare) != "drop_rows" or not cells.series.null_count():
            continue
        notes.append(
            f"{cells.series.null_count():,} rows dropped: {name!r} is blank "
            "([prepare] drop_rows); requests with a blank there are refused"
        )
        kept &= cells.series.is_not_null()
    if kept.all():
        return typed, kept, notes
    if int(kept.sum() or 0) < MIN_ROWS:
        raise InputError(
            f"{int(kept.sum() or 0)} rows have no blank in the columns that may have none",
            where="[prepare] impute = 'drop_rows'",
            fix="impute these columns, or leave out those that are mostly blank",
        )
    typed = {
        name: cells._replace(series=cells.series.filter(kept)) for name, cells in typed.items()
    }
    return typed, kept, notes


def _impute(name: str, cells: Typed, prepare: PrepareSection) -> Impute:
    """What the project wants a blank of this column to become."""
    if cells.kind == "text":
        return "auto"
    said = prepare.of(name).impute
    usual = prepare.category_impute if cells.kind == "category" else prepare.number_impute
    return said if said not in (None, "auto") else usual


def _profile(
    name: str, cells: Typed, options: DataSection, prepare: PrepareSection
) -> ColumnProfile:
    why_not = _why_not(name, cells, options, prepare)
    return ColumnProfile(
        name=name,
        kind=cells.kind,
        reason=cells.reason,
        blanks=cells.series.null_count(),
        distinct=cells.series.drop_nulls().n_unique(),
        used=why_not is None,
        why_not=why_not,
    )


def _why_not(name: str, cells: Typed, options: DataSection, prepare: PrepareSection) -> str | None:
    """Why a column is not given to the model; None when it is."""
    if name in options.drop:
        return "dropped by the project file"
    if name == options.group:
        return "says which rows belong together"
    if name == options.weight:
        return "says how much a row weighs"
    if cells.kind in ("identifier", "constant"):
        return f"{cells.kind}: {cells.reason}"
    said = prepare.of(name).text
    if cells.kind == "text" and (said or prepare.text) == "drop":
        return f"text: {cells.reason}; dropped by the project file"
    share = cells.series.null_count() / max(1, len(cells.series))
    if share > prepare.drop_columns_above:
        return f"{share:.1%} blank, more than [prepare] drop_columns_above"
    return None


def _learn(
    cells: Typed, options: ColumnOptions, rows: NDArray[np.int64], *, refuses_blanks: bool
) -> Column:
    """The contract of one column, from the training rows only."""
    series = cells.series[rows]
    known = series.drop_nulls()
    levels: dict[str, int] = {}
    numbers: pl.Series | None = None
    if cells.kind == "category":
        counts = known.alias("level").value_counts()  # a column may be called "count"
        counts = counts.sort(["count", "level"], descending=[True, False])
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
        on_blank="error" if refuses_blanks else options.blank,
        on_unseen=options.unseen,
        number_format=cells.number_format,
        date_format=cells.date_format,
    )


def _short_name(data: Any) -> str:
    if isinstance(data, str) and is_database(data):
        place, _, table = data.partition("#")
        named = table or Path(place.partition("?")[0]).name.partition(".")[0]
        return re.sub(r"[^a-z0-9]+", "-", named.rpartition(".")[2].lower()).strip("-") or "model"
    stem = Path(data).name.split(".")[0] if isinstance(data, (str, os.PathLike)) else "model"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "model"
