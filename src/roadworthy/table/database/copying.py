"""Copy a table of a database to the disk of this machine, once, as one moment shows it.

It is read as a stream within one read-only transaction, into Parquet, and from there on it is a
file as any other: what does not fit into memory is drawn from it by parts, and what is read twice
is the same twice.

The rows come in an order of their own content, not in that in which they happen to lie: along the
primary key, else sorted by every column, so that the same rows give the same split and the same
model; a query may say its own order.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import DataSection
from roadworthy.table.database.address import Address, parse_address
from roadworthy.table.database.cells import common_type, type_cells
from roadworthy.table.database.columns import Column, describe, find_table
from roadworthy.table.database.failures import explain
from roadworthy.table.database.statement import Statement, read_statement
from roadworthy.table.delimited import check_names
from roadworthy.table.parts import File

_MOST_ROWS, _MOST_CELLS = 50_000, 1_000_000
"""Rows, and cells, that are held at a time."""
_GROUP_ROWS = 50_000
"""Rows that are scored together at least."""
_READ_ONLY = {
    "mysql": "START TRANSACTION READ ONLY",
    "mariadb": "START TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "sqlite": "BEGIN",
}
_TAKEN = "SELECT * FROM (\n"


class _Plan(NamedTuple):
    """What is sent to the database.

    Attributes:
        sql: One SELECT.
        names: Its columns.
        columns: Those of the table or the query.
        order: In which order the rows come, for people.
    """

    sql: str
    names: list[str]
    columns: list[Column]
    order: str


class _Seen(NamedTuple):
    """What was read.

    Attributes:
        digest: SHA-256 of the rows.
        parts: Files of some rows each, in their order.
        rounded: Columns with numbers of more digits than a float64.
        odd: Columns that are left out, and of what type they are.
        mixed: Columns of texts among which were numbers, or the like.
    """

    digest: Any
    parts: list[Path]
    rounded: dict[str, None]
    odd: dict[str, str]
    mixed: dict[str, None]

    def notes(self) -> list[str]:
        """For people."""
        return [
            *(f"column {n!r} is left out: cells of type {kind}" for n, kind in self.odd.items()),
            *(f"column {n!r}: rounded, some have more digits than a float64" for n in self.rounded),
            *(f"column {n!r} mixes types: its cells are read as texts" for n in self.mixed),
        ]


def copy_table(address: str, options: DataSection) -> File:
    """Copy a table, or what a query finds, to the disk of this machine.

    Args:
        address: `postgresql://HOST/DB#TABLE`, `sqlite:///FILE#TABLE`, or without a table.
        options: `[data]`, of which `query` or `query_file` say what is read without a table.

    Raises:
        InputError: There is no such table, the query is none that reads or is refused, two columns
            are called the same, or no row is found.
        OutsideError: The database is out of reach, or the disk is full.
    """
    wanted = parse_address(address, options)
    statement = None if wanted.query is None else read_statement(wanted.query)
    folder = tempfile.TemporaryDirectory(prefix="roadworthy-", ignore_cleanup_errors=True)
    try:
        with _connected(wanted) as connection:
            plan = _plan(connection, wanted, statement)
            seen = _read(connection, wanted, plan, Path(folder.name))
        path = _joined(seen, wanted, Path(folder.name))
    except BaseException as error:
        folder.cleanup()
        if not isinstance(error, (OSError, pl.exceptions.PolarsError)):
            raise
        raise OutsideError(
            f"the table cannot be copied here: {getattr(error, 'strerror', None) or error}",
            where=wanted.shown,
            fix="TMPDIR names another disk, when this one is full",
        ) from None
    rows = str(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    read = f"{int(rows):,} rows of a {'table' if wanted.table else 'query'}, {plan.order}"
    content = seen.digest.hexdigest()
    lineage = {**wanted.lineage(), "rows": rows, "order": plan.order, "content": content}
    return File(path, wanted.shown, options, folder, (read, *seen.notes()), lineage)


@contextmanager
def _connected(address: Address) -> Iterator[Connection]:
    """A connection that can only read, and sees one moment; it is closed and undone after use."""
    engine = address.engine()
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    try:
        with engine.connect().execution_options(**options) as connection:
            connection.exec_driver_sql(_READ_ONLY.get(engine.dialect.name, "SELECT 1"))
            yield connection
            connection.rollback()
    except DBAPIError as error:
        raise explain(error.orig or error, address, None) from None
    except ModuleNotFoundError as error:
        raise OutsideError(f"the driver needs {error.name!r}, which is not installed") from None
    except SQLAlchemyError as error:
        raise OutsideError(
            f"the database cannot be read: {address.without_secrets(str(error)):.200}",
            where=address.shown,
        ) from None
    finally:
        engine.dispose()


def _plan(connection: Connection, address: Address, statement: Statement | None) -> _Plan:
    key: list[str] = []
    if statement is None:
        schema, name, key = find_table(connection, address)
        source = ".".join(_quoted(connection, part) for part in (schema, name) if part)
        raw = f"SELECT * FROM {source}"
    else:
        raw, source = statement.text, f"(\n{statement.text}\n) taken"
    columns = describe(connection, _description(connection, address, raw))
    names = [column.name for column in columns]
    check_names(tuple(names), address.shown)
    if statement is not None and statement.ordered:
        return _Plan(raw, names, columns, "in the order that the query says")
    kept = [column for column in columns if column.odd is None]
    if not kept:
        raise _unreadable(address, {each.name: str(each.odd) for each in columns})
    order = ", ".join(_order(connection, kept, columns, key))
    told = f"along its key ({', '.join(key)})" if key else "sorted by every column"
    shown = "*"
    if len(kept) < len(columns):
        shown = ", ".join(_quoted(connection, column.name) for column in kept)
    sql = f"SELECT {shown} FROM {source} ORDER BY {order}"
    return _Plan(sql, [column.name for column in kept], columns, told)


def _unreadable(address: Address, odd: dict[str, str]) -> InputError:
    return InputError(
        "no column is of a type that can be read",
        where=address.shown,
        fix="; ".join(f"{name}: {kind}" for name, kind in list(odd.items())[:5]),
    )


def _order(
    connection: Connection, kept: list[Column], columns: list[Column], key: list[str]
) -> list[str]:
    """What ORDER BY names: texts by their bytes, which are the same in every language."""
    kind = connection.dialect.name
    if kind == "postgresql":
        named = {column.name: column for column in columns}
        sorted_by = [named[name] for name in key] or kept
        bytewise = {True: ' COLLATE "C"', False: ""}
        blank = "" if key else " NULLS FIRST"
        return [
            f"{_quoted(connection, column.name)}{bytewise[column.text]}{blank}"
            for column in sorted_by
        ]
    bytewise_here = " COLLATE BINARY" if kind == "sqlite" else ""
    places = [_quoted(connection, name) for name in key] or range(1, len(kept) + 1)
    return [f"{place}{bytewise_here}" for place in places]


def _quoted(connection: Connection, name: str) -> str:
    preparer = connection.dialect.identifier_preparer
    end = preparer.final_quote
    return f"{preparer.initial_quote}{name.replace(end, end * 2)}{end}"


def _description(connection: Connection, address: Address, query: str) -> Any:
    """The columns of a query that is not run."""
    said = None if address.query is None else query
    if connection.dialect.name == "postgresql":
        import psycopg

        from roadworthy.table.database.postgresql import blank_endless_dates, described

        link = connection.connection.driver_connection
        blank_endless_dates(link)
        try:
            return described(link, query)
        except psycopg.Error as error:
            raise explain(error, address, said) from None
    begin, end = _TAKEN, "\n) taken WHERE 1 = 0"
    if connection.dialect.name == "sqlite":
        begin = end = ""  # it makes rows as they are asked for, and renames what it takes
    try:
        options = {"no_parameters": True}
        result = connection.exec_driver_sql(f"{begin}{query}{end}", execution_options=options)
        found = list(result.cursor.description)
        result.close()
        return found
    except DBAPIError as error:
        raise explain(error.orig or error, address, said) from None


def _read(connection: Connection, address: Address, plan: _Plan, folder: Path) -> _Seen:
    """Write the rows to files, some tens of thousands in each."""
    rows = max(1_000, min(_MOST_ROWS, _MOST_CELLS // max(1, len(plan.columns))))
    options = {"no_parameters": True, "stream_results": True, "max_row_buffer": rows}
    odd = {each.name: each.odd for each in plan.columns if each.odd}
    seen = _Seen(hashlib.sha256(), [], {}, odd, {})
    try:
        result = connection.exec_driver_sql(plan.sql, execution_options=options)
        for block in result.partitions(rows):
            path = folder / f"{len(seen.parts):06d}.part"
            part = _typed(plan.names, block, seen)
            part.write_parquet(path)
            with io.BytesIO() as content:
                part.write_ipc_stream(content, compression="uncompressed")
                seen.digest.update(content.getbuffer())
            seen.parts.append(path)
    except DBAPIError as error:
        raise explain(error.orig or error, address, None) from None
    except UnicodeDecodeError as error:
        raise InputError(f"a text cannot be read: {error}", where=address.shown) from None
    if not seen.parts:
        what = "the table has no rows" if address.table else "the query finds no rows"
        raise InputError(what, where=address.shown)
    return seen


def _typed(names: list[str], block: Sequence[Any], seen: _Seen) -> pl.DataFrame:
    columns = []
    for name, cells in zip(names, zip(*block, strict=True), strict=True):
        if name in seen.odd:
            continue
        typed = type_cells(name, cells)
        columns.append(typed.series)
        if typed.odd is not None:
            seen.odd[name] = typed.odd
        if typed.rounded:
            seen.rounded[name] = None
        if typed.mixed:
            seen.mixed[name] = None
    return pl.DataFrame(columns)


def _joined(seen: _Seen, address: Address, folder: Path) -> Path:
    """One file of all parts, in which each column is of the type that holds its cells."""
    schemas = [pl.read_parquet_schema(part) for part in seen.parts]
    kept = []
    for name in schemas[0]:
        types = [schema.get(name, pl.Null) for schema in schemas]
        wide = common_type(types)
        if name in seen.odd:
            continue
        if wide == pl.String and any(each not in (pl.String, pl.Null) for each in types):
            seen.mixed[name] = None
        kept.append(pl.col(name).cast(pl.String if wide == pl.Null else wide))
    if not kept:
        raise _unreadable(address, seen.odd)
    path = folder / "table.parquet"
    frames = [pl.scan_parquet(part, glob=False).select(kept) for part in seen.parts]
    pl.concat(frames).sink_parquet(path, maintain_order=True, row_group_size=_GROUP_ROWS)
    for part in seen.parts:
        part.unlink()
    return path
