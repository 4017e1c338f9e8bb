"""Bodies that are not JSON: CSV, JSON lines, Arrow and Parquet, straight to columns."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import io
import struct
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.cells import EPOCH
from roadworthy.errors import Problem
from roadworthy.serve.bodies import SLICE, BodyReader, Rows, refuse
from roadworthy.serve.columns import Cells, Coded, Encoded
from roadworthy.serve.problems import RequestProblem

JSON_TYPES = ("application/json",)
CSV_TYPES = ("text/csv", "application/csv")
LINES_TYPES = (
    "application/x-ndjson", "application/ndjson", "application/jsonlines", "application/jsonl",
    "application/x-jsonlines",
)  # fmt: skip
STREAM_TYPE = "application/vnd.apache.arrow.stream"
ARROW_TYPES = (STREAM_TYPE, "application/vnd.apache.arrow.file")
PARQUET_TYPES = ("application/vnd.apache.parquet", "application/x-parquet")
_DELIMITERS = (",", ";", "\t", "|")
_MAX_FIRST_LINE = 1 << 16
"""Letters of a CSV in which its first line is looked for, to find the delimiter."""
_FILE_MARK = b"ARROW1"
_NUMBERS = {
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "halffloat": "float16", "float": "float32", "double": "float64",
}  # fmt: skip
"""Arrow's names of the types of numbers, and NumPy's."""
_TEXTS = ("string", "large_string")
_EXPECTED = {
    "number": "a number", "category": "text or a number", "boolean": "true or false",
    "date": "a date",
}  # fmt: skip
_TICKS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
"""Ticks a second of timestamps."""
_MAX_UNPACKED = 8
"""Times the largest body that a Parquet file may unpack to."""


def media_type(header: str | None) -> tuple[str, str]:
    """Media type and its parameters, both in lower case."""
    essence, _, parameters = (header or "").lower().partition(";")
    return essence.strip(), parameters.strip()


def is_json(essence: str, parameters: str) -> bool:
    """Whether a media type is JSON in UTF-8, by whatever name."""
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "')
    suffixed = essence.startswith("application/") and essence.endswith("+json")
    return (essence in JSON_TYPES or suffixed) and charset in ("", "utf-8", "utf8")


async def read_body(reader: BodyReader, body: bytes, media: str | None, limit: int) -> Rows:
    """Read a body by its media type.

    Args:
        reader: What knows the contract.
        body: The body, decompressed.
        media: The header Content-Type.
        limit: Most bytes that the body may have.

    Raises:
        RequestProblem: The type is not taken (415), or the body cannot be answered.
    """
    essence, parameters = media_type(media)
    if is_json(essence, parameters):
        return await reader.json(body)
    if essence in CSV_TYPES:
        return Rows(await read_csv(reader, body, header="absent" not in parameters), single=False)
    if essence in LINES_TYPES:
        return Rows(await reader.lines(body), single=False)
    if essence in ARROW_TYPES + PARQUET_TYPES:
        if importlib.util.find_spec("pyarrow") is None:
            raise RequestProblem(
                415,
                "this server has no Arrow library: send JSON or CSV, or install roadworthy[arrow]",
            )
        if essence in ARROW_TYPES:
            await load_arrow("pyarrow.compute")
            return Rows(await reader.table(_arrow(reader, body)), single=False)
        await load_arrow("pyarrow.parquet")
        return Rows(await reader.table(_parquet(reader, body, limit)), single=False)
    raise RequestProblem(
        415,
        "send Content-Type: application/json in UTF-8; also taken are text/csv, "
        f"{LINES_TYPES[0]}, {ARROW_TYPES[0]} and {PARQUET_TYPES[0]}",
    )


async def load_arrow(module: str) -> None:
    """Load a module of pyarrow in a thread: that takes a while, and others are answered meanwhile.

    Arrow then takes its memory from the system, which gets it back: its own pools keep it.
    """
    if module not in sys.modules:
        await asyncio.to_thread(_import_arrow, module)


def _import_arrow(module: str) -> None:
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    importlib.import_module(module)


async def read_csv(reader: BodyReader, body: bytes, *, header: bool = True) -> Encoded:
    """Read CSV in UTF-8; commas, semicolons, tabs or bars stand between the cells.

    Args:
        reader: What knows the contract.
        body: The text.
        header: Whether the first line names the columns; otherwise the cells stand in the
            contract's order.

    Raises:
        RequestProblem: It is no CSV (400), or its rows break the contract (422).
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestProblem(400, "the body is not UTF-8 text") from None
    delimiter = csv_delimiter(reader, text, header=header)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = list(reader.contract.names)
    rows: list[list[str]] = []
    try:
        if header:
            names = [name.strip() for name in next(lines, [])]
        while len(rows) <= reader.max_rows and (part := list(islice(lines, SLICE))):
            rows += filter(None, part)  # an empty line is no row
            await asyncio.sleep(0)
    except csv.Error as error:
        raise RequestProblem(400, f"the body is not well-formed CSV: {error}") from None
    if len(set(names)) < len(names):
        raise RequestProblem(400, "a column stands twice in the header: send each once")
    reader.check_count(len(rows))
    if set(map(len, rows)) != {len(names)}:
        row, line = next((row, line) for row, line in enumerate(rows) if len(line) != len(names))
        refuse([Problem(f"has {len(line)} cells, expected {len(names)}", None, row)])
    columns = zip(*rows, strict=True)
    return await reader.table(dict(zip(names, columns, strict=True)), text=True)


def csv_delimiter(reader: BodyReader, text: str, *, header: bool) -> str:
    """The delimiter of a CSV text: the training file's, unless another fits the contract better.

    Clients that write commas ask a model that was trained on semicolons, and the other way round.
    What the first line must hold is known, so there is nothing to guess.

    Args:
        reader: What knows the contract.
        text: The text, or its first line.
        header: Whether the first line names the columns.
    """
    names = set(reader.contract.names)
    own = reader.contract.text.delimiter or ","

    def fit(delimiter: str) -> int:
        start = io.StringIO(text[:_MAX_FIRST_LINE], newline="")
        try:
            cells = next(csv.reader(start, delimiter=delimiter), [])
        except csv.Error:
            return 0
        if header:
            return len(names.intersection(cell.strip() for cell in cells))
        return int(len(cells) == len(names))

    return max((own, *_DELIMITERS), key=fit)


def _arrow(reader: BodyReader, body: bytes) -> dict[str, Cells]:
    """Columns of an Arrow IPC stream or file."""
    import pyarrow as pa

    batches = []
    rows = 0
    content = pa.py_buffer(body)
    try:
        is_file = body.startswith(_FILE_MARK)
        if any(map(_is_compressed, _file_blocks(body) if is_file else _stream_blocks(content))):
            raise RequestProblem(
                415, "compressed Arrow buffers are not taken: use Content-Encoding instead"
            )
        for batch in _batches(content):
            batch.validate(full=True)
            batches.append(batch)
            rows += batch.num_rows
            if rows > reader.max_rows:
                reader.check_count(rows)
        reader.check_count(rows)
        batch = batches[0] if len(batches) == 1 else _one_batch(pa.Table.from_batches(batches))
    except (pa.ArrowException, OSError, struct.error, IndexError, EOFError) as error:
        raise RequestProblem(400, f"the body is not Arrow IPC: {type(error).__name__}") from None
    return _columns(reader, batch)


def _batches(content: Any) -> Iterator[Any]:
    import pyarrow as pa

    if content[:6].to_pybytes() == _FILE_MARK:
        with pa.ipc.open_file(content) as file:
            for number in range(file.num_record_batches):
                yield file.get_batch(number)
    else:
        with pa.ipc.open_stream(content) as stream:
            yield from stream


def _stream_blocks(content: Any) -> Iterator[memoryview]:
    """The metadata of each message of a stream."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(content):
        yield memoryview(message.metadata)


def _file_blocks(body: bytes) -> list[memoryview]:
    """The metadata of each batch of a file, by its footer (File.fbs)."""
    end = len(body) - len(_FILE_MARK) - 4
    footer = memoryview(body)[max(0, end - struct.unpack_from("<I", body, end)[0]) : end]
    root = struct.unpack_from("<I", footer, 0)[0]
    blocks = []
    for number in (2, 3):  # dictionaries, record batches
        if place := _field(footer, root, number):
            place += struct.unpack_from("<I", footer, place)[0]
            for block in range(struct.unpack_from("<I", footer, place)[0]):
                start, size = struct.unpack_from("<qi", footer, place + 4 + 24 * block)
                metadata = memoryview(body)[start : start + size]
                blocks.append(metadata[8 if metadata[:4] == b"\xff" * 4 else 4 :])
    return blocks


def _parquet(reader: BodyReader, body: bytes, limit: int) -> dict[str, Cells]:
    """Columns of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        about = file.metadata
        reader.check_count(about.num_rows)
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        if sum(group.total_byte_size for group in groups) > _MAX_UNPACKED * limit:
            raise RequestProblem(413, "the Parquet file unpacks to too much: send fewer rows")
        texts = [field.name for field in file.schema_arrow if str(field.type) in _TEXTS]
        levels = [name for name in texts if _kinds(reader).get(name) == "category"]
        if levels:  # Parquet has most texts as codes already
            file = pq.ParquetFile(pa.BufferReader(body), metadata=about, read_dictionary=levels)
        wanted = [name for name in file.schema_arrow.names if name in reader.contract.names]
        table = file.read(columns=wanted, use_threads=False)
        table.validate(full=True)
        batch = _one_batch(table)
    except (pa.ArrowException, OSError, EOFError, ValueError, KeyError) as error:
        raise RequestProblem(400, f"the body is not Parquet: {type(error).__name__}") from None
    return _columns(reader, batch)


def _columns(reader: BodyReader, batch: Any) -> dict[str, Cells]:
    """An Arrow record batch's columns in the forms that encode fast.

    Buffers are looked at in place. What would make pyarrow import pandas, which it does for most
    conversions where pandas is installed, is left alone: that alone holds 40 MB.
    """
    import pyarrow as pa

    kinds = _kinds(reader)
    try:
        names = batch.schema.names
    except UnicodeDecodeError:
        raise RequestProblem(400, "the name of a column is not UTF-8 text") from None
    if len(set(names)) < len(names):
        raise RequestProblem(400, "a column stands twice: send each once")
    columns: dict[str, Cells] = {}
    for place, name in enumerate(names):
        column = batch.column(place)
        try:
            if name in kinds:
                column = _decoded(column)
            kind = column.type
            if name not in kinds:
                columns[name] = np.zeros(len(column))  # it is not looked at
            elif kinds[name] == "number" and str(kind) in _NUMBERS:
                columns[name] = _numbers(column)
            elif pa.types.is_dictionary(kind):
                columns[name] = _coded(column)
            elif str(kind) in _TEXTS:
                columns[name] = _coded(column.dictionary_encode())
            elif str(kind) == "string_view":
                columns[name] = _coded(column.cast(pa.string()).dictionary_encode())
            elif pa.types.is_timestamp(kind):
                columns[name] = _moments(column, name)
            elif _is_plain(kind):
                columns[name] = column.to_pylist()
            else:
                found = str(kind).partition("<")[0].partition("[")[0]  # no names of its fields
                refuse([Problem(f"expected {_EXPECTED[kinds[name]]}, found {found}", name)])
        except (pa.ArrowException, ValueError, OverflowError):
            refuse([Problem("cannot be read as what the contract says", name)])
    return columns


def _decoded(array: Any) -> Any:
    """An array without run ends, and without a dictionary unless it is one of texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if pa.types.is_dictionary(array.type) and str(array.type.value_type) not in _TEXTS:
        array = array.dictionary_decode()
    return array


def _is_plain(kind: Any) -> bool:
    """Whether an Arrow type's cells are Python's own: nothing nested, no durations, no bytes."""
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        or types.is_boolean(kind) or types.is_date(kind) or types.is_null(kind)
    )  # fmt: skip


def _moments(array: Any, name: str) -> list[datetime | None]:
    """Timestamps as moments of UTC, whatever zone they are to be shown in."""
    start, end = array.offset, array.offset + len(array)
    ticks = np.frombuffer(array.buffers()[1], np.int64, end)[start:].tolist()
    valid = _is_valid(array).tolist() if array.null_count else [True] * len(ticks)
    a_second = _TICKS[array.type.unit]
    found: list[datetime | None] = []
    for row, (tick, good) in enumerate(zip(ticks, valid, strict=True)):
        try:
            since = timedelta(microseconds=tick * 1_000_000 // a_second)
            found.append(EPOCH + since if good else None)
        except OverflowError:
            if good:
                refuse([Problem("is a date outside the years 1 to 9999", name, row)])
            found.append(None)
    return found


def _kinds(reader: BodyReader) -> dict[str, str]:
    return {column.name: column.kind for column in reader.contract.columns}


def _numbers(array: Any) -> NDArray[np.float64]:
    """An array of numbers, NaN where it is null; a view where it can be."""
    numbers = _values(array).astype(np.float64, copy=False)
    return np.where(_is_valid(array), numbers, np.nan) if array.null_count else numbers


def _coded(array: Any) -> Coded:
    """A dictionary array."""
    cells = array.dictionary.to_pylist()
    indices = array.indices
    codes = _values(indices).astype(np.int64)
    if indices.null_count:
        codes = np.where(_is_valid(indices), codes, len(cells))
        cells.append(None)
    return Coded(cells, codes)


def _values(array: Any) -> NDArray[Any]:
    """The numbers of an array as they lie in its buffer; what stands at a null means nothing."""
    start, end = array.offset, array.offset + len(array)
    return np.frombuffer(array.buffers()[1], _NUMBERS[str(array.type)], end)[start:]


def _is_valid(array: Any) -> NDArray[np.bool_]:
    """Which cells of an array with nulls are none."""
    start, end = array.offset, array.offset + len(array)
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=end, bitorder="little")[start:].view(np.bool_)


def _one_batch(table: Any) -> Any:
    """A table that has rows as one record batch."""
    return table.combine_chunks().to_batches()[0]


def _is_compressed(metadata: memoryview) -> bool:
    """Whether a record batch's buffers are compressed (Message.fbs of the Arrow format).

    How much such buffers unpack to is not known beforehand.
    """
    message = struct.unpack_from("<I", metadata, 0)[0]
    kind, header = _field(metadata, message, 1), _field(metadata, message, 2)
    if not kind or not header:
        return False
    table = header + struct.unpack_from("<I", metadata, header)[0]
    if metadata[kind] == 2:  # a dictionary batch holds a record batch
        inner = _field(metadata, table, 1)
        table = inner + struct.unpack_from("<I", metadata, inner)[0]
    return metadata[kind] in (2, 3) and _field(metadata, table, 3) != 0


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a FlatBuffers table lies; 0 when it is absent."""
    places = table - struct.unpack_from("<i", data, table)[0]
    size = struct.unpack_from("<H", data, places)[0]
    if 4 + 2 * number + 2 > size:
        return 0
    offset: int = struct.unpack_from("<H", data, places + 4 + 2 * number)[0]
    return table + offset if offset else 0
