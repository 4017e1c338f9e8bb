"""Cut delimited text into slices of whole rows, and read a slice as the whole file is read.

A line break ends a row when the quotation marks before it are even: what Polars goes by, too.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO, NamedTuple

import msgspec
import polars as pl

from roadworthy.errors import InputError
from roadworthy.project import DataSection
from roadworthy.table.delimited import lines_before, sniff

_BLOCK = 1 << 20
_HEAD = 1 << 18
_LONGEST_ROW = 64 << 20
_BOM = codecs.BOM_UTF8


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a text file is written, found once for all of its slices.

    Attributes:
        names: Its columns.
        delimiter: Between two cells.
        line_end: Ends a row: a line feed, which a carriage return may precede, or that alone.
    """

    names: tuple[str, ...]
    delimiter: str
    line_end: str


class Cut(NamedTuple):
    """Whole rows of a text file: bytes `start` to `stop`, `rows` of them from row `first`."""

    start: int
    stop: int
    first: int
    rows: int


class NotUtf8(Exception):  # noqa: N818 (a finding, not a fault)
    """The text is in another encoding: it cannot be cut where it lies."""


def find_layout(head: bytes, options: DataSection, where: str) -> tuple[Layout, int]:
    """How a file is written, and at which byte its first row begins.

    Args:
        head: Its beginning, at least its first lines, in UTF-8.
        options: What the user says of delimiter and header.
        where: The file, for messages.

    Raises:
        InputError: The file is empty, or a column name stands twice.
    """
    text = head.decode("utf-8", "ignore").removeprefix("\ufeff")
    dialect = sniff(text, "utf-8", options, where)
    line_end = "\r" if "\r" in text and "\n" not in text else "\n"
    layout = Layout(dialect.names, dialect.delimiter, line_end)
    end = line_end.encode()
    at = len(_BOM) if head.startswith(_BOM) else 0
    for _ in range(lines_before(text, dialect.delimiter)):
        at = head.find(end, at) + 1 or len(head)
    if dialect.header:
        at = _row_end(head, at, end)
    return layout, at


def _row_end(content: bytes, start: int, line_end: bytes) -> int:
    """Where the row that begins at `start` ends, its line break included."""
    at = start
    while True:
        at = content.find(line_end, at) + 1
        if not at:
            return len(content)
        if content.count(b'"', start, at) % 2 == 0:
            return at


def read_head(stream: IO[bytes]) -> bytes:
    """The beginning of a file: at least its first three lines, however long they are."""
    head = stream.read(_HEAD)
    while head.count(b"\n") < 3 and (more := stream.read(len(head))):
        head += more
    return head


def cut_text(stream: IO[bytes], begin: int, layout: Layout, size: int, where: str) -> Iterator[Cut]:
    """Cut a text into slices of about so many bytes; all of it is read, and little is held.

    Raises:
        NotUtf8: The text is in another encoding.
        InputError: A row is longer than the header.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    end = layout.line_end.encode()
    stream.seek(begin)
    held, start, first, more = b"", begin, 0, True
    while more:
        parts, length = [held], len(held)
        while length < size + len(held) and (block := stream.read(min(size, _BLOCK))):
            _check_utf8(decoder, block)
            parts.append(block)
            length += len(block)
        more = length >= size + len(held)
        content = b"".join(parts)
        stop = _last_row_end(content, end) if more else len(content)
        if stop:
            rows = count_rows(content[:stop], layout)
            yield Cut(start, start + stop, first, rows)
            start, first = start + stop, first + rows
        held = content[stop:]
        if len(held) > max(_LONGEST_ROW, 4 * size):
            raise InputError(
                "a quotation mark is opened and not closed",
                where=f"{where}, after row {first:,}",
                fix="close it, or double quotation marks inside a cell and quote the cell",
            )
    _check_utf8(decoder, b"", final=True)


def _check_utf8(decoder: codecs.IncrementalDecoder, block: bytes, final: bool = False) -> None:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        raise NotUtf8 from None


def _last_row_end(content: bytes, line_end: bytes) -> int:
    """Where the last whole row ends: after the last line break outside quotation marks."""
    odd = content.count(b'"') % 2
    at = len(content)
    while (found := content.rfind(line_end, 0, at)) >= 0:
        odd ^= content.count(b'"', found, at) % 2
        if not odd:
            return found + 1
        at = found
    return 0


def read_slice(content: bytes, layout: Layout, where: str, first: int) -> pl.DataFrame:
    """The rows of a slice, the first of which is row `first` of the file, with every cell as text.

    Raises:
        InputError: The slice cannot be read; the message names the row.
    """
    try:
        return _parse(content, layout)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(content, layout, where, first, error) from None


def count_rows(content: bytes, layout: Layout) -> int:
    """Rows of a slice, as `read_slice` will find them; also of one that cannot be read."""
    if layout.line_end == "\n" and len(layout.names) > 1 and b'"' not in content:
        return content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    try:
        return _parse(content, layout).height
    except pl.exceptions.PolarsError:
        return len(_rows(content, layout))


def _parse(content: bytes, layout: Layout) -> pl.DataFrame:
    # A first row of full width: without it Polars goes by the first row that it happens to see,
    # and takes text for a packed file that begins as those do.
    lead = layout.delimiter.join("x" * len(layout.names)) + layout.line_end
    return pl.read_csv(
        io.BytesIO(lead.encode() + content),
        separator=layout.delimiter,
        has_header=False,
        schema=dict.fromkeys(layout.names, pl.String),
        eol_char=layout.line_end,
    ).slice(1)


def _rows(content: bytes, layout: Layout) -> list[list[str]]:
    text = content.decode("utf-8", "replace")
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter))
    except csv.Error:
        return []


def split_ragged(content: bytes, layout: Layout) -> tuple[pl.DataFrame, list[int], list[int]]:
    """The rows of a slice that no one reading takes, without those that are too long.

    Returns:
        The others as a frame, their places in the slice, and the places of those that are left out.
    """
    width = len(layout.names)
    rows = _rows(content, layout)
    good = [place for place, row in enumerate(rows) if len(row) <= width]
    cells = [rows[place] + [""] * (width - len(rows[place])) for place in good]
    frame = pl.DataFrame(cells, schema=dict.fromkeys(layout.names, pl.String), orient="row")
    return frame, good, [place for place, row in enumerate(rows) if len(row) > width]


def _unreadable(
    content: bytes, layout: Layout, where: str, first: int, error: Exception
) -> InputError:
    width = len(layout.names)
    for place, row in enumerate(_rows(content, layout)):
        if len(row) > width:
            return InputError(
                f"a row has {len(row)} cells where the header has {width}",
                where=f"{where}, row {first + place}",
                fix="quote cells that hold the delimiter, or score on with --bad-rows reject",
            )
    first_line = str(error).splitlines()[0]
    return InputError(f"the file cannot be cut into rows: {first_line}", where=where)
