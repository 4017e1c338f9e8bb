"""Bodies that are not JSON: CSV, JSON lines, Arrow and Parquet, straight to columns."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import io
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

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
ARROW_TYPES = ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file")
PARQUET_TYPES = ("application/vnd.apache.parquet", "application/x-parquet")
_FILE_MARK = b"ARROW1"
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
        if "pyarrow.parquet" not in sys.modules:  # a second's work: others are answered meanwhile
            await asyncio.to_thread(importlib.import_module, "pyarrow.parquet")
        read = _arrow if essence in ARROW_TYPES else _parquet
        return Rows(await reader.table(read(reader, body, limit)), single=False)
    raise RequestProblem(
        415,
        "send Content-Type: application/json in UTF-8; also taken are text/csv, "
        f"{LINES_TYPES[0]}, {ARROW_TYPES[0]} and {PARQUET_TYPES[0]}",
    )


async def read_csv(reader: BodyReader, body: bytes, *, header: bool = True) -> Encoded:
    """Read CSV in UTF-8.

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
    delimiter = reader.contract.text.delimiter or ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = list(reader.contract.names)
    rows: list[list[str]] = []
    try:
        if header:
            names = [name.strip() for name in next(lines, [])]
        for line in lines:
            if not line:
                continue
            if len(line) != len(names):
                what = f"has {len(line)} cells, expected {len(names)}"
                refuse([Problem(what, None, len(rows))])
            rows.append(line)
            if len(rows) > reader.max_rows:
                break
            if len(rows) % SLICE == 0:
                await asyncio.sleep(0)
    except csv.Error as error:
        raise RequestProblem(400, f"the body is not well-formed CSV: {error}") from None
    if len(set(names)) < len(names):
        raise RequestProblem(400, "a column stands twice in the header: send each once")
    reader.check_count(len(rows))
    columns = zip(*rows, strict=True)
    return await reader.table(dict(zip(names, columns, strict=True)), text=True)


def _arrow(reader: BodyReader, body: bytes, _: int) -> dict[str, Cells]:
    """Columns of an Arrow IPC stream or file."""
    import pyarrow as pa

    batches = []
    rows = 0
    content = pa.py_buffer(body)
    try:
        if any(map(_is_compressed, _file_blocks(body) or _stream_blocks(content))):
            raise RequestProblem(
                415, "compressed Arrow buffers are not taken: use Content-Encoding instead"
            )
        for batch in _batches(content):
            batch.validate(full=True)
            batches.append(batch)
            rows += batch.num_rows
            if rows > reader.max_rows:
                reader.check_count(rows)
        if not batches:
            reader.check_count(0)
        table = pa.Table.from_batches(batches)
    except (pa.ArrowException, OSError, struct.error, IndexError, EOFError) as error:
        raise RequestProblem(400, f"the body is not Arrow IPC: {type(error).__name__}") from None
    return _columns(reader, table)


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
    """The metadata of each batch of a file, by its footer (File.fbs); none for a stream."""
    if not body.startswith(_FILE_MARK):
        return []
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
        wanted = [name for name in file.schema_arrow.names if name in reader.contract.names]
        table = file.read(columns=wanted, use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise RequestProblem(400, f"the body is not Parquet: {type(error).__name__}") from None
    return _columns(reader, table)


def _columns(reader: BodyReader, table: Any) -> dict[str, Cells]:
    """An Arrow table's columns in the forms that encode fast."""
    import pyarrow as pa

    kinds = {column.name: column.kind for column in reader.contract.columns}
    if len(set(table.column_names)) < table.num_columns:
        raise RequestProblem(400, "a column stands twice: send each once")
    columns: dict[str, Cells] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        try:
            if name not in kinds:
                columns[name] = np.zeros(len(column))  # it is not looked at
            elif kinds[name] == "number" and (
                pa.types.is_integer(kind) or pa.types.is_floating(kind)
            ):
                is_double = kind == pa.float64()
                numbers = column if is_double else column.cast(pa.float64(), safe=False)
                columns[name] = numbers.to_numpy()
            elif pa.types.is_dictionary(kind):
                columns[name] = _coded(column)
            elif str(kind) in ("string", "large_string", "string_view"):
                columns[name] = _coded(column if kind == pa.string() else column.cast(pa.string()))
            elif pa.types.is_timestamp(kind):
                zone = kind.tz
                columns[name] = column.cast(pa.timestamp("us", zone), safe=False).to_pylist()
            else:
                columns[name] = column.to_pylist()
        except (pa.ArrowException, ValueError, OverflowError):
            refuse([Problem("cannot be read as what the contract says", name)])
    return columns


def _coded(column: Any) -> Coded:
    array = column.combine_chunks()
    coded = array if hasattr(array, "dictionary") else array.dictionary_encode()
    cells = [*coded.dictionary.to_pylist(), None]
    indices = coded.indices
    if indices.null_count:
        indices = indices.fill_null(len(cells) - 1)
    codes = indices.to_numpy(zero_copy_only=False)
    return Coded(cells, codes.astype(np.int64))


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
