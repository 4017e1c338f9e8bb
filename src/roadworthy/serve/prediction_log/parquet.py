"""Segments of the prediction log as Parquet: one typed column for each thing that an entry holds.

`inputs` is a struct with a field a column, `probabilities` one with a field a class. pyarrow comes
with `roadworthy[arrow]` and is imported when a segment is turned into Parquet or read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec

from roadworthy.errors import InputError
from roadworthy.serve.prediction_log.entries import Kinds, Logged

_BATCH = 8192


def write_parquet(rows: Iterable[Logged], kinds: Kinds, path: Path) -> None:
    """Write entries of one version, whole or not at all.

    Args:
        rows: The entries.
        kinds: What the version's columns hold.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            stream_parquet(rows, kinds, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def stream_parquet(rows: Iterable[Logged], kinds: Kinds, into: IO[bytes]) -> None:
    """Write entries of one version to a file that is open, some thousands at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = schema(kinds)
    left = iter(rows)
    with pq.ParquetWriter(into, wanted, compression="zstd") as file:
        while some := [_plain(row) for row in islice(left, _BATCH)]:
            file.write_table(pa.Table.from_pylist(some, wanted))


def schema(kinds: Kinds) -> Any:
    """The Arrow schema of a version's entries."""
    import pyarrow as pa

    types = {"number": pa.float64(), "boolean": pa.bool_()}
    answer = pa.float64()
    if kinds.classes:
        answer = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(
            type(kinds.classes[0]), pa.string()
        )
    inputs = [(name, types.get(kind, pa.string())) for name, kind in kinds.columns.items()]
    shares = [(name, pa.float64()) for name in kinds.class_names]
    fields = [
        ("time", pa.timestamp("us", "UTC")),
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("inputs", pa.struct(inputs)),
        ("prediction", answer),
        ("probabilities", pa.struct(shares) if shares else pa.null()),
        ("interval", pa.list_(pa.float64())),
    ]
    return pa.schema(fields)


def read_parquet(source: Any, shown: str) -> Iterator[Logged]:
    """Read entries back.

    Args:
        source: A path, or a file that is open.
        shown: Its name, for messages.

    Raises:
        InputError: It is no Parquet file, or not one of a prediction log.
        FileNotFoundError: It is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    row["time"] = row["time"].timestamp()
                    yield msgspec.convert(row, Logged)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, AttributeError, msgspec.ValidationError):
        raise InputError("this is no segment of a prediction log", where=shown) from None


def _plain(row: Logged) -> dict[str, Any]:
    """An entry for Arrow, which takes times as microseconds."""
    content = msgspec.structs.asdict(row)
    content["time"] = round(row.time * 1e6)
    return content
