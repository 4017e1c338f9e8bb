"""Where tables come from: text files, Parquet, databases, data frames."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from roadworthy.errors import InputError
from roadworthy.project import DataSection
from roadworthy.project.data import is_database
from roadworthy.table.delimited import check_names, read_delimited
from roadworthy.table.file_names import for_polars, named, shown_name
from roadworthy.table.parts import File

_PARQUET = (".parquet", ".pq")


class Source(NamedTuple):
    """A table as it was found.

    Attributes:
        frame: The raw columns.
        origin: Where it came from, for people.
        notes: How it is written, for people.
        text: Whether its cells are all texts, numbers too.
        semicolons: Whether the text is cut at semicolons, as files with decimal commas are.
        lineage: Where it comes from, when that is no file.
    """

    frame: pl.DataFrame
    origin: str
    notes: tuple[str, ...] = ()
    text: bool = False
    semicolons: bool = False
    lineage: Mapping[str, str] = {}


def read_frame(data: Any, options: DataSection) -> Source:
    """The raw frame of a file, of a database's table or of a data frame object.

    Raises:
        InputError: The data cannot be read.
    """
    if isinstance(data, str) and is_database(data):
        from roadworthy.table.database import copy_table

        file = copy_table(data, options)
        return copied(file, _read_file(file.path, options))
    if isinstance(data, (str, os.PathLike)):
        return _read_file(named(data), options)
    if isinstance(data, pl.DataFrame):
        frame = data
    elif isinstance(data, pl.LazyFrame):
        frame = data.collect()
    else:
        frame = _from_object(data)
    if "" in frame.columns:
        frame = frame.rename({"": f"column_{frame.columns.index('') + 1}"})
    check_names(tuple(frame.columns), "the data frame")
    return Source(frame, "a data frame")


def copied(file: File, source: Source) -> Source:
    """What was read of a copy, told as what it is a copy of."""
    notes = file.notes or source.notes
    return source._replace(origin=file.origin, notes=notes, lineage=file.lineage)


def _read_file(path: Path, options: DataSection) -> Source:
    origin = shown_name(path)
    if not path.exists():
        raise InputError("the file does not exist", where=origin)
    if path.is_dir():
        raise InputError("a folder, not a file", where=origin, fix="name one file")
    if path.suffix.lower() in _PARQUET:
        try:
            return Source(pl.read_parquet(for_polars(path)), origin, ("Parquet",))
        except (pl.exceptions.PolarsError, OSError) as error:
            first_line = str(error).splitlines()[0]
            raise InputError(f"not a Parquet file: {first_line}", where=origin) from None
    try:
        frame, dialect = read_delimited(path, options)
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=origin
        ) from None
    notes = [dialect.describe()]
    if dialect.short_line is not None:
        notes.append(
            f"line {dialect.short_line:,} has fewer cells than there are columns; what is missing "
            "there, and on any such line after it, counts as blank"
        )
    return Source(frame, origin, tuple(notes), True, dialect.delimiter == ";")


def _from_object(data: Any) -> pl.DataFrame:
    pandas = type(data).__module__.startswith("pandas")
    try:
        if pandas and importlib.util.find_spec("pyarrow") is None:
            check_names(tuple(str(name) for name in data.columns), "the data frame")
            return from_pandas_alone(data)
        if hasattr(data, "__arrow_c_stream__"):
            # pyarrow calls its names column_names, and its arrays columns
            names = getattr(data, "column_names", None) or getattr(data, "columns", [])
            check_names(tuple(str(name) for name in names), "the data frame")
            frame = pl.DataFrame(data)
            return frame.drop([c for c in frame.columns if c.startswith("__index_level_")])
        if pandas:
            return pl.from_pandas(data, nan_to_null=True)
        if isinstance(data, dict) or (isinstance(data, list) and data):
            return pl.DataFrame(data, infer_schema_length=None, strict=False)
    except (
        pl.exceptions.PolarsError,
        TypeError,
        ValueError,
        ImportError,
        NotImplementedError,
    ) as error:
        first_line = (str(error).splitlines() or ["unknown reason"])[0]
        raise InputError(f"the data frame cannot be read: {first_line}") from None
    raise InputError(
        f"cannot read a table from {type(data).__name__}",
        fix="give a file name, a pandas or Polars frame, or an Arrow table",
    )


def from_pandas_alone(data: Any) -> pl.DataFrame:
    """A pandas frame where pyarrow, by which Polars reads its texts and categories, is absent."""
    columns = {}
    for name in data.columns:
        cells = data[name]
        if getattr(cells.dtype, "kind", "O") in "biufM" and hasattr(cells.dtype, "newbyteorder"):
            column = pl.Series(cells.to_numpy())
            columns[str(name)] = column.fill_nan(None) if column.dtype.is_float() else column
            continue
        blank, values = cells.isna().tolist(), cells.astype(object).tolist()
        known = [None if b else value for b, value in zip(blank, values, strict=True)]
        columns[str(name)] = pl.Series(known, strict=False)
    return pl.DataFrame(columns)


def trim(series: pl.Series, blanks: Sequence[str]) -> pl.Series:
    """Trim text cells and turn those that mean a blank into nulls."""
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    if series.dtype != pl.String:
        return series
    if series.cast(pl.Float64, strict=False).null_count() == series.null_count():
        return series  # numbers throughout: nothing to trim, and NaN is a blank to them anyway
    series = series.str.strip_chars()
    longest = max((len(blank.encode()) for blank in blanks), default=0)
    lower = {blank.lower() for blank in blanks}
    short = series.filter(series.str.len_bytes() <= longest).unique()
    found = [cell for cell in short if cell is not None and cell.lower() in lower]
    return series.set(series.is_in(found), None) if found else series
