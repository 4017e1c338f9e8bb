"""What is read of a table to train on: all of it, or a random sample of what does not fit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.project import DataSection
from roadworthy.project.data import is_database
from roadworthy.table.file_names import named, shown_name
from roadworthy.table.memory import memory_bytes
from roadworthy.table.parts import File, fetch, is_address
from roadworthy.table.sources import Source, copied, read_frame

_COPIES = 8
"""Times that the cells of a table lie in memory in training: raw, typed, encoded, in folds."""
_SHARE = 0.5
"""Of the memory, that a table with its copies may take."""
_SMALL = 1 / 500
"""Of the memory: a file below it fits, however well it is packed."""
_LEAST = 20_000


class Drawn(NamedTuple):
    """A random sample of rows.

    Attributes:
        frame: The rows, in the file's order.
        places: Their numbers in the file, ascending.
        total: Rows of the file.
    """

    frame: pl.DataFrame
    places: NDArray[np.int64]
    total: int


class Reading(NamedTuple):
    """A table as it was read.

    Attributes:
        source: The rows that were read.
        file: The file that they were drawn from; None when all of it was read.
        places: Their numbers in that file.
        total: Rows of that file.
    """

    source: Source
    file: File | None = None
    places: NDArray[np.int64] | None = None
    total: int = 0


def read_sample(data: Any, options: DataSection, seed: int) -> Reading:
    """Read a table, or as many of its rows as are wanted or fit into memory.

    Args:
        data: A path, an address of a bucket (`s3://`, `gs://`, `az://`), a table of a database
            (`postgresql://`, `sqlite://`) or a data frame.
        options: `[data]`.
        seed: Of the draw.

    Raises:
        InputError: The data cannot be read.
        OutsideError: A bucket or a database cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        return Reading(read_frame(data, options))
    name = os.fspath(data)
    file = _at_hand(name, options)
    rows = options.sample_rows or rows_that_fit(file, memory_bytes())
    if rows is None or not file.path.is_file():
        return Reading(copied(file, read_frame(file.path, options)))
    found = draw(file.parts(), rows, seed)
    with file.opened() as (_, dialect):
        notes = ("Parquet",) if dialect is None else (dialect.describe(),)
        semicolons = dialect is not None and dialect.delimiter == ";"
    source = copied(file, Source(found.frame, file.origin, notes, file.text, semicolons))
    if len(found.places) == found.total:
        return Reading(source)
    why = "[data] sample_rows" if options.sample_rows else "all of them do not fit into memory"
    told = (
        f"{len(found.places):,} of {found.total:,} rows were drawn at random (seed {seed}; {why}): "
        "the model is trained and tested on these; blanks, levels and ranges of the contract and "
        "the reference of drift are of all rows"
    )
    return Reading(source._replace(notes=(*notes, told)), file, found.places, found.total)


def _at_hand(name: str, options: DataSection) -> File:
    if is_database(name):
        from roadworthy.table.database import copy_table

        return copy_table(name, options)
    return (
        fetch(name, options) if is_address(name) else File(named(name), shown_name(name), options)
    )


def rows_that_fit(file: File, memory: int) -> int | None:
    """Rows of a file that can be trained on in so much memory; None for all of them.

    Raises:
        InputError: The file cannot be read.
    """
    if not file.path.is_file() or file.path.stat().st_size < memory * _SMALL:
        return None
    first = next(file.parts(), None)
    if first is None or not first.height:
        return None
    row = max(first.estimated_size() / first.height, 8.0 * first.width) * _COPIES
    limit = max(_LEAST, int(memory * _SHARE / row))
    with file.opened() as (rows, _):
        total = rows.select(pl.len()).collect(engine="streaming").item()
    return limit if total > limit else None


def draw(parts: Iterable[pl.DataFrame], rows: int, seed: int) -> Drawn:
    """Draw rows without replacement, each as likely as any other, in one pass.

    Each row draws a number, and those with the smallest are kept: at no time are more than twice
    the wanted rows and one part held, and how the file is cut into parts does not matter.

    Args:
        parts: The rows in their order.
        rows: Wanted; all, when there are fewer.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    frames: list[pl.DataFrame] = []
    keys, places = np.empty(0), np.empty(0, np.int64)
    bar, total = 1.0, 0
    for part in parts:
        drawn = random.random(part.height)
        chosen = np.flatnonzero(drawn <= bar)
        frames.append(part[chosen])
        keys = np.concatenate([keys, drawn[chosen]])
        places = np.concatenate([places, total + chosen])
        total += part.height
        if len(keys) > 2 * rows:
            frame, keys, places = _smallest(frames, keys, places, rows)
            frames, bar = [frame], float(keys.max())
    if not frames:
        return Drawn(pl.DataFrame(), places, 0)
    frame, _, places = _smallest(frames, keys, places, rows)
    return Drawn(frame, places, total)


def _smallest(
    frames: list[pl.DataFrame], keys: NDArray[np.float64], places: NDArray[np.int64], rows: int
) -> tuple[pl.DataFrame, NDArray[np.float64], NDArray[np.int64]]:
    frame = pl.concat(frames)
    if len(keys) <= rows:
        return frame, keys, places
    kept = np.sort(np.argsort(keys, kind="stable")[:rows])
    return frame[kept], keys[kept], places[kept]
