"""What PostgreSQL has of its own: statements that are parsed and not run, and endless dates."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors, pq
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader


def blank_endless_dates(connection: Any) -> None:
    """Read dates outside the years 1 to 9999, and `infinity`, as blanks, as of any other table.

    Args:
        connection: Of psycopg.
    """
    for name, loader in _LENIENT.items():
        connection.adapters.register_loader(name, loader)


def described(connection: Any, query: str) -> list[tuple[str, int]]:
    """Names and types of the columns of one statement, which is parsed and not run.

    Args:
        connection: Of psycopg, in a transaction.
        query: The statement.

    Raises:
        psycopg.Error: It cannot be parsed.
    """
    result = connection.pgconn.prepare(b"", query.encode())
    if result.status == pq.ExecStatus.COMMAND_OK:
        result = connection.pgconn.describe_prepared(b"")
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result, encoding="utf-8")
    names = [result.fname(number) or b"" for number in range(result.nfields)]
    return [(name.decode(), result.ftype(number)) for number, name in enumerate(names)]


class _Date(DateLoader):
    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return None


class _Timestamp(TimestampLoader):
    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return None


class _TimestampWithZone(TimestamptzLoader):
    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return None


_LENIENT: dict[str, Any] = {
    "date": _Date,
    "timestamp": _Timestamp,
    "timestamptz": _TimestampWithZone,
}
