"""Score the rows of one task and write what comes out; runs in a worker."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from roadworthy.batch.places import Place, open_input, open_place
from roadworthy.batch.planning import open_parquet, text_options
from roadworthy.batch.tasks import Job, Model, Part, Receipt, Task
from roadworthy.batch.text import (
    Layout,
    cut_text,
    find_layout,
    read_head,
    read_slice,
    split_ragged,
)
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.frames import predict_typed
from roadworthy.errors import InputError, Problem, RowsError
from roadworthy.table.conform import conform
from roadworthy.table.delimited import plain_file, utf8_file
from roadworthy.table.encodings import detect_encoding

_CELLS, _MOST_ROWS = 2_000_000, 100_000
"""Cells and rows that are scored at a time."""
_PART_ROWS = 1_000_000
"""Rows after which a task begins another partition."""
_REJECTS = {"file": pl.String, "row": pl.Int64, "column": pl.String, "reason": pl.String}


class Chunk(NamedTuple):
    """Rows as read; `first` is the number of the first in the file.

    Attributes:
        frame: The rows.
        first: The number of the chunk's first row in the file.
        places: Where the rows stand in the chunk, when some could not be read.
        ragged: Rows of the chunk that could not be read, and why.
    """

    frame: pl.DataFrame
    first: int
    places: list[int] | None = None
    ragged: tuple[Problem, ...] = ()


def run_task(task: Task, job: Job, model: Model) -> Receipt:
    """Score a task, write its partitions and, last, its receipt.

    Doing a task twice writes the same bytes to the same names.

    Raises:
        InputError: The input cannot be read, or a row breaks the contract and `bad_rows` is `stop`.
        OutsideError: A store or disk cannot be used.
    """
    engine = _engine(model.version, _Held(model))
    place = open_place(job.output)
    parts: list[Part] = []
    lists: list[Part] = []
    rows = 0
    for scored, rejects, count in _gather(task, job, engine):
        rows += count
        name = f"part-{task.number:06d}-{len(parts):04d}"
        # a task without rows leaves an empty partition, so that every run has columns to read
        parts.append(_write(place, f"{name}.{job.format}", scored, job.format))
        if rejects.height:
            lists.append(_write(place, f"_rejects/{name}.csv", rejects, "csv"))
    receipt = Receipt(task.number, rows, tuple(parts), tuple(lists))
    place.write(receipt.name, msgspec.json.encode(receipt))
    return receipt


class _Held:
    """A model as a key: one version is one model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __hash__(self) -> int:
        return hash(self.model.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.model.version == self.model.version


@lru_cache(maxsize=2)
def _engine(version: str, held: _Held) -> Engine:
    """One session a worker, however many tasks it gets."""
    model = held.model
    return Engine(model.contract, model.plan, model.core)


def _gather(
    task: Task, job: Job, engine: Engine
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, int]]:
    """Partitions of a task, with the rows rejected from them and the rows they were made of."""
    scored: list[pl.DataFrame] = []
    rejects: list[pl.DataFrame] = []
    rows = 0
    for chunk in _read(task, job, engine):
        good, bad = _score(chunk, task, job, engine)
        scored.append(good)
        rejects.append(bad)
        rows += good.height + len(bad["row"].unique())
        if rows >= _PART_ROWS:
            yield pl.concat(scored), pl.concat(rejects), rows
            scored, rejects, rows = [], [], 0
    if scored:
        yield pl.concat(scored), pl.concat(rejects), rows


def _write(place: Place, name: str, frame: pl.DataFrame, kind: str) -> Part:
    buffer = io.BytesIO()
    if kind == "csv":
        frame.write_csv(buffer)
    else:
        frame.write_parquet(buffer)
    content = buffer.getvalue()
    place.write(name, content)
    return Part(name, frame.height, len(content), hashlib.sha256(content).hexdigest())


def _score(chunk: Chunk, task: Task, job: Job, engine: Engine) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The chunk's predictions, and the rows that are rejected."""
    contract, text = engine.contract, task.kind != "parquet"
    frame = chunk.frame
    places = pl.Series(
        "row", chunk.places if chunk.places is not None else range(frame.height), dtype=pl.Int64
    )
    missing = [name for name in job.keep if name not in frame.columns]
    if missing:
        raise InputError(f"there is no column {missing[0]!r} to keep", where=task.input.path)
    bad = [Problem(p.reason, p.column, p.row) for p in chunk.ragged]
    try:
        typed = conform(frame, contract, text=text)
    except RowsError as error:
        if job.bad_rows == "stop" or any(p.row is None for p in error.problems):
            raise _stopped(error, chunk, places, task) from None
        try:
            conform(frame, contract, text=text, every=True)
        except RowsError as whole:
            bad += [p._replace(row=places[p.row or 0]) for p in whole.problems]
        keep = ~places.is_in(list({p.row for p in bad}))
        frame, places = frame.filter(keep), places.filter(keep)
        typed = conform(frame, contract, text=text)
    kept = frame.select(pl.col(name).alias(name) for name in job.keep)
    columns = [
        pl.Series("file", [task.input.path], dtype=pl.String).new_from_index(0, frame.height),
        places + chunk.first,
        *kept.get_columns(),
        *predict_typed(engine, typed).get_columns(),
    ]
    listed = [(task.input.path, chunk.first + (p.row or 0), p.column, p.reason) for p in bad]
    return pl.DataFrame(columns), pl.DataFrame(listed, schema=_REJECTS, orient="row")


def _stopped(error: RowsError, chunk: Chunk, places: pl.Series, task: Task) -> InputError:
    told = [
        str(p if p.row is None else p._replace(row=chunk.first + places[p.row]))
        for p in error.problems[:5]
    ]
    more = f" (and {len(error.problems) - 5} more)" if len(error.problems) > 5 else ""
    return InputError(
        f"rows break the model's contract: {'; '.join(told)}{more}",
        where=task.input.path,
        fix="correct the file, or score the other rows with --bad-rows reject",
    )


def _read(task: Task, job: Job, engine: Engine) -> Iterator[Chunk]:
    """The rows of a task, so many at a time as memory should hold."""
    if task.kind == "parquet":
        return _read_parquet(task, job, engine)
    if task.kind == "text" and task.layout is not None:
        return _read_text(task, task.layout, job)
    return _read_whole(task, job, engine)


def _read_parquet(task: Task, job: Job, engine: Engine) -> Iterator[Chunk]:
    with open_parquet(task.input) as file:
        names = set(file.schema_arrow.names)
        wanted = [name for name in (*engine.contract.names, *job.keep) if name in names]
        wanted = list(dict.fromkeys(wanted))
        rows = max(1_000, min(_MOST_ROWS, _CELLS // max(1, len(wanted))))
        first = task.first
        groups = list(range(task.start, task.stop))
        if not wanted or not groups:
            yield Chunk(pl.DataFrame(pl.from_arrow(file.schema_arrow.empty_table())), first)
            return
        try:
            for batch in file.iter_batches(rows, row_groups=groups, columns=wanted):
                yield Chunk(pl.DataFrame(pl.from_arrow(batch)), first)
                first += batch.num_rows
        except (OSError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise InputError(f"damaged Parquet: {first_line}", where=task.input.path) from None


def _read_text(task: Task, layout: Layout, job: Job) -> Iterator[Chunk]:
    with open_input(task.input) as stream:
        stream.seek(task.start)
        content = stream.read(task.stop - task.start)
    yield from _chunks(content, layout, task, task.first, job)


def _chunks(content: bytes, layout: Layout, task: Task, first: int, job: Job) -> Iterator[Chunk]:
    try:
        frame = read_slice(content, layout, task.input.path, first)
    except InputError:
        if job.bad_rows == "stop":
            raise
        frame, places, long = split_ragged(content, layout)
        if not places and not long:
            raise
        reason = "has more cells than the header"
        ragged = tuple(Problem(reason, None, place) for place in long)
        yield Chunk(frame, first, places, ragged)
        return
    yield Chunk(frame, first)


def _read_whole(task: Task, job: Job, engine: Engine) -> Iterator[Chunk]:
    """A text that is packed or in another encoding, brought to this machine's disk as UTF-8."""
    options = text_options(engine.contract)
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(tempfile.TemporaryDirectory(prefix="roadworthy-"))
        near = Path(copy) / Path(task.input.path).name
        with open_input(task.input) as source, near.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        plain = stack.enter_context(plain_file(near))
        encoding = options.encoding or detect_encoding(plain, Path(task.input.path))
        utf8 = stack.enter_context(utf8_file(plain, encoding, Path(task.input.path)))
        stream = stack.enter_context(utf8.open("rb"))
        layout, begin = find_layout(read_head(stream), options, task.input.path)
        for cut in cut_text(stream, begin, layout, job.partition_bytes, task.input.path):
            with utf8.open("rb") as again:
                again.seek(cut.start)
                content = again.read(cut.stop - cut.start)
            yield from _chunks(content, layout, task, cut.first, job)
