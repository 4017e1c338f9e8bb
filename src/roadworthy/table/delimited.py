"""Read delimited text: encoding, delimiter, header and line ends are found out, then said."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import lzma
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from roadworthy.cells import WHITE_SPACE
from roadworthy.errors import InputError
from roadworthy.project import DataSection
from roadworthy.table.encodings import detect_encoding
from roadworthy.table.file_names import for_polars

_HEAD_BYTES = 1 << 18
_ZLIB = ("x^", "x\x01")
_DELIMITERS = ",;\t|"
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Dialect(NamedTuple):
    """How a delimited file is written.

    Attributes:
        encoding: Its encoding.
        delimiter: What stands between cells.
        header: Whether the first row names the columns.
        names: The columns.
        short_line: The first line with fewer cells than columns, as far as the file was read.
    """

    encoding: str
    delimiter: str
    header: bool
    names: tuple[str, ...]
    short_line: int | None = None

    def describe(self) -> str:
        """One line for people."""
        delimiter = {"\t": "tab", " ": "space"}.get(self.delimiter, repr(self.delimiter))
        header = "with a header line" if self.header else "without a header line"
        return f"{self.encoding}, delimiter {delimiter}, {header}"


def read_delimited(path: Path, options: DataSection) -> tuple[pl.DataFrame, Dialect]:
    """Read a delimited text file with every cell as text.

    Args:
        path: The file, plain or compressed (.gz, .bz2, .xz).
        options: What the user says of delimiter, encoding and header; None is found out.

    Returns:
        A frame of strings (an empty cell is an empty string or null), and how it was written.

    Raises:
        InputError: The file is empty, not text, or has a row longer than its header. A shorter
            row is filled up with blanks.
    """
    with opened_text(path, options) as (utf8, dialect, head):
        frame = _parse(utf8, dialect, head, path)
        if len(dialect.names) > 1 and frame[dialect.names[-1]].null_count():
            dialect = dialect._replace(short_line=_short_line(utf8, dialect))
        return frame, dialect


@contextmanager
def opened_text(path: Path, options: DataSection) -> Iterator[tuple[Path, Dialect, str]]:
    """A delimited file in UTF-8 and unpacked, how it is written, and its beginning.

    Raises:
        InputError: The file is empty, or not text.
    """
    with plain_file(path) as plain:
        encoding = options.encoding or detect_encoding(plain, path)
        with utf8_file(plain, encoding, path) as utf8:
            head = _read_head(utf8)
            _refuse_json(head, path)
            yield utf8, sniff(head, encoding, options, path), head


def _refuse_json(head: str, path: Path) -> None:
    """Say what a file of JSON objects is, before its first line is cut at commas."""
    if re.match(r'[\[\s]*\{\s*"(?:[^"\\]|\\.)*"\s*:', head):
        raise InputError(
            "the file is JSON, not delimited text",
            where=str(path),
            fix="give a CSV, TSV or Parquet file, or read it into a data frame and give that",
        )


def _read_head(utf8: Path) -> str:
    """The beginning of a file: at least its first three lines, however long they are."""
    with utf8.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
        while head.count(b"\n") < 3 and (more := stream.read(len(head))):
            head += more
    return head.decode("utf-8", "ignore").removeprefix("\ufeff")


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """The file itself, or a temporary one that holds what it packs."""
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="roadworthy-") as copy:
        try:
            with opener(path, "rb") as packed:
                shutil.copyfileobj(packed, copy, 1 << 20)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise InputError(f"the file cannot be unpacked: {error}", where=str(path)) from None
        copy.flush()
        yield Path(copy.name)


@contextmanager
def utf8_file(plain: Path, encoding: str, path: Path) -> Iterator[Path]:
    """The file itself, or a temporary one in UTF-8."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(encoding)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}", where=str(path)) from None
    if name in ("utf-8", "ascii"):
        yield plain
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", prefix="rw-") as copy:
        with plain.open("r", encoding=name, errors="replace", newline="") as text:
            shutil.copyfileobj(text, copy, 1 << 20)
        copy.flush()
        yield Path(copy.name)


def sniff(head: str, encoding: str, options: DataSection, path: Path | str) -> Dialect:
    """How a file is written, from its beginning without a byte order mark.

    Raises:
        InputError: There is no row, or a column name stands twice.
    """
    delimiter = options.delimiter or _sniff_delimiter(head)
    rows = _first_rows(head, delimiter, 200)
    if not rows:
        raise InputError("the file is empty", where=str(path))
    header = _looks_like_header(rows) if options.header is None else options.header
    count = len(rows[0])
    if header:
        names = tuple(
            name.strip(WHITE_SPACE) or f"column_{number}" for number, name in enumerate(rows[0], 1)
        )
        check_names(names, str(path))
    else:
        names = tuple(f"column_{number}" for number in range(1, count + 1))
    return Dialect(encoding, delimiter, header, names)


def check_names(names: tuple[str, ...], where: str) -> None:
    """Refuse a table in which a column name stands twice.

    Raises:
        InputError: With each such name and the columns it stands in.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = "; ".join(
            f"{name!r} in columns "
            + ", ".join(str(number) for number, other in enumerate(names, 1) if other == name)
            for name in twice[:5]
        )
        raise InputError(
            f"column names stand more than once: {places}",
            where=where,
            fix="rename or remove the repeated columns: a request could not tell them apart",
        )


def _first_rows(head: str, delimiter: str, limit: int) -> list[list[str]]:
    rows: list[list[str]] = []
    text = head.replace("\r\n", "\n").replace("\r", "\n")
    if len(head) * 4 > _HEAD_BYTES and text.count("\n") > 2:
        text = text[: text.rindex("\n")]  # the last line may be cut
    try:
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) >= limit:
                break
    except csv.Error:
        pass
    return rows


def _sniff_delimiter(head: str) -> str:
    """The delimiter that cuts most rows into the same number of cells, above one."""

    def score(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in _first_rows(head, delimiter, 200))
        width, rows = widths.most_common(1)[0] if widths else (1, 0)
        return (rows / max(1, widths.total()) if width > 1 else 0.0, width)

    best = max(_DELIMITERS, key=score)
    return best if score(best)[0] > 0.5 else ","


def _looks_like_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: no number, or a text above a column of numbers."""
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    if not body or not any(_is_data(cell) for cell in first):
        return True
    for place, cell in enumerate(first):
        below = [row[place].strip() for row in body if len(row) > place and row[place].strip()]
        if cell and not _is_data(cell) and below and all(_is_data(other) for other in below):
            return True
    return False


def _is_data(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return any(letter.isdigit() for letter in cell)  # nan and inf may be names


def _parse(utf8: Path, dialect: Dialect, head: str, path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_csv(_not_packed(utf8, head), **_written(dialect, head))
    except pl.exceptions.PolarsError as error:
        raise unreadable(utf8, dialect, path, error) from None
    return frame.slice(1) if dialect.header else frame


def scan_text(utf8: Path, dialect: Dialect, head: str) -> pl.LazyFrame:
    """A delimited file before it is read, its header being a row of it."""
    return pl.scan_csv(_not_packed(utf8, head), glob=False, **_written(dialect, head))


def _written(dialect: Dialect, head: str) -> dict[str, Any]:
    return {
        "separator": dialect.delimiter,
        "has_header": False,
        "skip_lines": lines_before(head, dialect.delimiter) + head.startswith(_ZLIB),
        "schema": dict.fromkeys(dialect.names, pl.String),
        "eol_char": "\r" if "\r" in head and "\n" not in head else "\n",
    }


def _short_line(utf8: Path, dialect: Dialect) -> int | None:
    """The first line with fewer cells than there are columns; blank lines are rows to nobody."""
    with utf8.open("r", encoding="utf-8", errors="replace", newline="") as text:
        reader = csv.reader(text, delimiter=dialect.delimiter)
        with contextlib.suppress(csv.Error):
            for row in reader:
                if 0 < len(row) < len(dialect.names) and any(cell.strip() for cell in row):
                    return reader.line_num
    return None


def lines_before(head: str, delimiter: str) -> int:
    """Lines before the first row that holds anything: blank ones, or delimiters alone."""
    reader = csv.reader(
        io.StringIO(head.replace("\r\n", "\n").replace("\r", "\n")), delimiter=delimiter
    )
    passed = 0
    with contextlib.suppress(csv.Error):
        for row in reader:
            if any(cell.strip() for cell in row):
                break
            passed = reader.line_num
    return passed


def _not_packed(utf8: Path, head: str) -> Any:
    """The file, or its content behind a line break where it begins as zlib's format does."""
    return io.BytesIO(b"\n" + utf8.read_bytes()) if head.startswith(_ZLIB) else for_polars(utf8)


def unreadable(utf8: Path, dialect: Dialect, path: Path, error: Exception) -> InputError:
    """What is wrong with a delimited file that cannot be read: the line, where it can be told."""
    width, before = len(dialect.names), 0
    with utf8.open("r", encoding="utf-8", errors="replace", newline="") as text:
        reader = csv.reader(text, delimiter=dialect.delimiter, strict=True)
        try:
            for row in reader:
                before = reader.line_num
                if len(row) > width:
                    return InputError(
                        f"a row has {len(row)} cells where the header has {width}",
                        where=f"{path}, line {reader.line_num}",
                        fix="quote cells that hold the delimiter, or set [data] delimiter",
                    )
        except csv.Error as problem:
            started, ended = before + 1, reader.line_num
            through = (
                f" (the row that begins there runs to line {ended})" if ended > started else ""
            )
            return InputError(
                f"the file cannot be cut into rows: {problem}{through}",
                where=f"{path}, line {started}",
                fix="close the quotation mark, or double it inside a quoted cell",
            )
    first_line = str(error).splitlines()[0]
    return InputError(
        f"the file cannot be read as CSV: {first_line}",
        where=str(path),
        fix="double a quotation mark inside a cell and quote the cell; check [data] encoding",
    )
