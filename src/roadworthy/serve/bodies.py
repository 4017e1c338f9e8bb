"""From the bytes of a body to the matrix that the core takes.

JSON that keeps the contract takes a short way: a decoder generated from the contract and table
look-ups. Whatever the short way stumbles over is read again slowly and thoroughly, to say
everything that is wrong with it at once. Large bodies are read in slices, and between two slices
the event loop sees to other requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

import msgspec
import numpy as np

from roadworthy.bundle import Bundle
from roadworthy.cells import CellError
from roadworthy.errors import Problem
from roadworthy.prepare.rows import UNSEEN, Note
from roadworthy.serve.columns import (
    MAX_PROBLEMS,
    Cells,
    Coded,
    ColumnEncoder,
    ColumnProblems,
    Encoded,
    Inputs,
    too_long,
)
from roadworthy.serve.problems import RequestProblem

SLICE = 512
"""Rows between two looks at what else there is to do: a few milliseconds of work."""
_OF_INVOCATIONS = ("dataframe_records", "dataframe_split", "inputs", "instances")
SHORT_WAY_FAILS = (msgspec.ValidationError, CellError)


class Rows(NamedTuple):
    """The rows of a body, encoded; `single` when it was one row by itself, not a list of one."""

    encoded: Encoded
    single: bool


class BodyReader:
    """Reads bodies for one bundle.

    Args:
        bundle: The bundle.
        max_rows: Rows that one request may hold.
        max_text: Characters that one cell may hold.
    """

    def __init__(self, bundle: Bundle, max_rows: int, max_text: int) -> None:
        self.contract = bundle.contract
        self.absent = bundle.absent
        self.max_rows = max_rows
        self.max_text = max_text
        self.rows = bundle.engine.rows
        self.quotes = 2 * (len(self.contract.columns) + self.rows.texts)
        self.decode_one = msgspec.json.Decoder(self.rows.record).decode
        self._many = msgspec.json.Decoder(list[self.rows.record])  # type: ignore[name-defined]
        self._lines = msgspec.json.Decoder(self.rows.record)
        self._columns = _column_encoder(bundle)

    async def json(self, body: bytes) -> Rows:
        """Read one object, a list of objects, or an object of columns.

        Raises:
            RequestProblem: The body is not JSON, or its rows break the contract.
        """
        if body[:1] != b"{":
            with contextlib.suppress(msgspec.DecodeError, CellError, ValueError, RecursionError):
                return Rows(await self._records(self._many.decode(body), body), single=False)
        return await self.content(parse_json(body), body)

    async def lines(self, body: bytes) -> Encoded:
        """Read JSON lines: one object a line; raises as `json`."""
        lines = [line for line in body.split(b"\n") if line.strip()]
        try:
            records = self._lines.decode_lines(body)
            if len(records) != len(lines):  # the decoder takes several on one line
                raise msgspec.ValidationError
            return await self._records(records, *lines)
        except (*SHORT_WAY_FAILS, msgspec.DecodeError, ValueError, RecursionError):
            self.check_count(len(lines))
            rows = [parse_json(line) for line in lines]
            for line in lines:
                check_keys(line)
            return await self.mappings(rows)

    async def content(self, content: Any, body: bytes = b"") -> Rows:
        """Read decoded JSON; raises as `json`.

        Args:
            content: One object, a list of objects, or an object of columns.
            body: Where it came from, to be checked for repeated keys.
        """
        if body and body.count(b'"') != _quotes(content):
            check_keys(body)
        if isinstance(content, dict):
            self._check_unwrapped(content)
        if isinstance(content, dict) and _is_columns(content):
            return Rows(await self.table(content), single=False)
        if isinstance(content, dict):
            return Rows(await self.mappings([content], single=True), single=True)
        if not isinstance(content, list):
            raise RequestProblem(
                422, "send one row as an object, rows as a list of objects, or columns of lists"
            )
        return Rows(await self.mappings(content), single=False)

    def _check_unwrapped(self, content: dict[str, Any]) -> None:
        """Say it when rows came under a name that is no column, as other servers take them."""
        if any(name in content for name in self.contract.names):
            return
        for name, value in content.items():
            if isinstance(value[0] if isinstance(value, list) and value else value, dict):
                also = ", or all of it to /invocations" if name in _OF_INVOCATIONS else ""
                what = f"{name[:50]!r} is no column: send the row or the rows that it holds alone"
                raise RequestProblem(422, f"{what}{also}; GET /contract tells the columns")

    async def table(self, table: Mapping[str, Cells], *, text: bool = False) -> Encoded:
        """Read columns.

        Args:
            table: Column name -> its cells, of one length.
            text: The cells are texts of a CSV file.

        Raises:
            RequestProblem: Cells break the contract.
        """
        lengths = {_length(cells) for cells in table.values()}
        if len(lengths) > 1:
            raise RequestProblem(422, "the columns have different lengths: each needs every row")
        count = lengths.pop() if lengths else 0
        self.check_count(count)
        missing = [name for name in self.contract.names if name not in table]
        if missing and self.absent == "error":
            refuse([Problem("is absent", name, None) for name in missing])
        if self._columns is None:
            return await self._by_rows(table, count, text)
        parts = []
        try:
            for start in range(0, count, 16 * SLICE):
                end = min(count, start + 16 * SLICE)
                part = {name: _part(cells, start, end) for name, cells in table.items()}
                parts.append(
                    self._columns.encode(part, end - start, text=text, limit=self.max_text)
                )
                await asyncio.sleep(0)
        except ColumnProblems as error:
            refuse([p._replace(row=(p.row or 0) + start) for p in error.problems])
        known = {name: table[name] for name in self.contract.names if name in table}
        return _join(parts)._replace(inputs=Inputs(known, text))

    async def mappings(
        self, rows: Sequence[Any], *, single: bool = False, text: bool = False
    ) -> Encoded:
        """Read rows cell by cell; raises as `json`."""
        self.check_count(len(rows))
        problems: list[Problem] = []
        unknown: dict[str, None] = {}
        records: list[Any] = []
        vectors: list[tuple[float, ...]] = []
        noticed: dict[Note, list[int]] = {}
        for number, row in enumerate(rows):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            place = None if single else number
            if not isinstance(row, Mapping):
                problems.append(Problem("a row must be an object of column: value", None, place))
            else:
                self._mapping(row, place, text, problems, records, vectors, noticed)
                # a column that is not the model's is told once, however many rows have it
                unknown.update(dict.fromkeys(self.contract.unknown_columns(row)))
            if len(problems) >= MAX_PROBLEMS:
                break
        if problems:
            refuse(problems)
        return Encoded(np.array(vectors), dict(noticed), tuple(unknown), Inputs(records))

    def check_count(self, rows: int) -> None:
        """Refuse no rows, and more than allowed."""
        if not rows:
            raise RequestProblem(422, "there are no rows: send at least one")
        if rows > self.max_rows:
            raise RequestProblem(
                413, f"{rows} rows are more than {self.max_rows}: send them in several requests"
            )

    def quotes_of(self, record: Any) -> int:
        """Quotation marks of the JSON of a row that holds each key once.

        -1 where nobody knows: a column that is absent has none, and is as blank as one that is not.
        """
        if self.absent != "error":
            return -1
        kinds = list(map(type, msgspec.structs.astuple(record)))
        return 2 * (len(self.contract.columns) + kinds.count(str))

    def check_texts(self, record: Any) -> None:
        """Refuse a cell that is too long."""
        for place, column in enumerate(self.contract.columns):
            cell = getattr(record, f"c{place}")
            if isinstance(cell, str) and len(cell) > self.max_text:
                raise CellError(column.name)  # the slow way finds it again and says so in full

    def _mapping(
        self,
        row: Mapping[str, Any],
        place: int | None,
        text: bool,
        problems: list[Problem],
        records: list[Any],
        vectors: list[tuple[float, ...]],
        noticed: dict[Note, list[int]],
    ) -> None:
        values = self.contract.read_row(row, problems, number=place, text=text, absent=self.absent)
        for column, value in zip(self.contract.columns, values, strict=True):
            if isinstance(value, str) and len(value) > self.max_text:
                problems.append(Problem(too_long(self.max_text), column.name, place))
        if not problems:
            record = self.rows.record(*values)
            vector, notes = self.rows.encode(record)
            records.append(record)
            for note in notes or ():
                noticed.setdefault(note, []).append(len(vectors))
            vectors.append(vector)

    async def _records(self, records: list[Any], *texts: bytes) -> Encoded:
        """The short way of many rows, decoded from JSON texts."""
        self.check_count(len(records))
        encode = self.rows.encode
        vectors: list[tuple[float, ...]] = []
        noticed: dict[Note, list[int]] = {}
        quotes = self.quotes * len(records)
        for start in range(0, len(records), SLICE):
            for record in records[start : start + SLICE]:
                vector, notes = encode(record)
                if notes:
                    quotes += self.quotes_of(record) - self.quotes
                for note in notes or ():
                    noticed.setdefault(note, []).append(len(vectors))
                    if note[0] == UNSEEN:
                        self.check_texts(record)
                vectors.append(vector)
            await asyncio.sleep(0)
        if (noticed and self.absent != "error") or sum(
            text.count(b'"') for text in texts
        ) != quotes:
            for text in texts:
                check_keys(text)
        inputs = Inputs(records, size=sum(map(len, texts)))
        width = len(vectors[0])
        flat = np.fromiter(chain.from_iterable(vectors), np.float64, len(vectors) * width)
        return Encoded(flat.reshape(-1, width), dict(noticed), inputs=inputs)

    async def _by_rows(self, table: Mapping[str, Cells], count: int, text: bool) -> Encoded:
        """Columns of a plan that is only known for single rows."""
        plain = {
            name: [cells.cells[code] for code in cells.codes]
            if isinstance(cells, Coded)
            else list(cells)
            for name, cells in table.items()
        }
        rows = [dict(zip(plain, cells, strict=True)) for cells in zip(*plain.values(), strict=True)]
        return await self.mappings(rows, text=text)


def parse_json(body: bytes) -> Any:
    """Plain JSON; a number beyond float64 becomes a Decimal, which no cell can be.

    Raises:
        RequestProblem: It is not JSON.
    """
    try:
        try:
            return _PLAIN.decode(body)
        except msgspec.ValidationError:  # the one thing that untyped JSON can still break
            return _WIDE.decode(body.decode())
    except msgspec.DecodeError as error:
        raise RequestProblem(400, _malformed(body, error)) from None
    except UnicodeDecodeError:
        raise RequestProblem(400, "the body is not UTF-8 text") from None
    except RecursionError:
        raise RequestProblem(400, "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise RequestProblem(400, f"the body is not valid JSON: {error}") from None


def check_keys(body: bytes) -> None:
    """Refuse a key that stands twice in one object, which decoders take for its last value.

    The quotation marks of a row in which every column is there are known: two a column and two a
    text cell. A repeated key only adds to them, so that the short way looks at the body in full
    only where there are more, or where columns may be absent and something was noticed.
    """
    try:
        # numbers stay texts: an unused column may hold one that Python would not read
        json.loads(body, object_pairs_hook=_unique_keys, parse_int=str, parse_float=str)
    except _RepeatedKey as error:
        problem = Problem("stands twice in one row: send each once", error.args[0][:100])
        raise RequestProblem(400, str(problem), [problem]) from None
    except (ValueError, RecursionError):
        raise RequestProblem(400, "the body is nested too deeply") from None


def refuse(problems: list[Problem]) -> None:
    """Raise the problem document of rows that break the contract."""
    raise RequestProblem(422, _summary(problems), problems[:MAX_PROBLEMS])


def _finite(text: str) -> float | Decimal:
    number = float(text)
    return number if isfinite(number) else Decimal(text)


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) < 400 else Decimal(text)


_PLAIN = msgspec.json.Decoder()
_WIDE = json.JSONDecoder(parse_float=_finite, parse_int=_whole)
_NO_JSON = re.compile(rb"NaN|Infinity|nan|inf")


class _RepeatedKey(Exception):  # noqa: N818 (a signal within this file)
    pass


def _quotes(content: Any) -> int:
    """Quotation marks of columns in which no key stands twice and no text holds one; else -1."""
    if not (isinstance(content, dict) and _is_columns(content)):
        return -1
    return 2 * sum(1 + list(map(type, cells)).count(str) for cells in content.values())


def _unique_keys(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise _RepeatedKey(key)


def _is_columns(content: dict[str, Any]) -> bool:
    return bool(content) and all(isinstance(cells, list) for cells in content.values())


def _column_encoder(bundle: Bundle) -> ColumnEncoder | None:
    try:
        return ColumnEncoder(bundle.contract, bundle.plan)
    except ValueError:
        return None


def _length(cells: Cells) -> int:
    return len(cells.codes if isinstance(cells, Coded) else cells)


def _part(cells: Cells, start: int, end: int) -> Cells:
    if isinstance(cells, Coded):
        return Coded(cells.cells, cells.codes[start:end])
    return cells[start:end]


def _join(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    noticed: dict[Note, list[int]] = {}
    start = 0
    for part in parts:
        for note, rows in part.noticed.items():
            noticed.setdefault(note, []).extend(start + row for row in rows)
        start += len(part.matrix)
    return Encoded(np.concatenate([part.matrix for part in parts]), dict(noticed), parts[0].unknown)


def _summary(problems: list[Problem]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}; see errors, and GET /contract for what the model takes"


def _malformed(body: bytes, error: msgspec.DecodeError) -> str:
    if not body.strip():
        return "the body is empty: send one row as a JSON object"
    if body[:3] == b"\xef\xbb\xbf" or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "the body starts with a byte order mark: send plain UTF-8"
    place = re.search(r"\(byte (\d+)\)", str(error))
    found = _NO_JSON.match(body, int(place[1])) if place else None
    if found is not None:
        return f"{found[0].decode()} is not JSON (byte {found.start()}): send null for a blank"
    return f"the body is not valid JSON: {error}"
