"""One database (SQLite or PostgreSQL) and its transactions; the catalogue is one.

Writers take turns: `BEGIN IMMEDIATE` in SQLite, an advisory lock of the transaction in PostgreSQL.
Both are let go by the database itself when a process dies, so no lock can be left behind.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from roadworthy.databases import postgresql_engine
from roadworthy.errors import InputError, OutsideError
from roadworthy.registry.schema import migrate, schema_number

T = TypeVar("T")
_LOCK = 0x524F4144  # the advisory lock of every Roadworthy catalogue: "ROAD"
_BUSY_SECONDS = 60
_ATTEMPTS = 4


class Database:
    """One database.

    Args:
        url: `sqlite:///FILE` or `postgresql://HOST/DATABASE`; a password comes from `PGPASSWORD` or
            the password file, and remote servers are asked for TLS.
        create: Whether an embedded one may be made.

    Raises:
        InputError: This is no address of one, or there is none.
        OutsideError: It is out of reach.
    """

    what, key, missing = "catalogue", "[registry] url", "nothing is registered here yet"
    fill = "roadworthy models register BUNDLE"

    def __init__(self, url: str, *, create: bool = True) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise InputError(
                f"not an address of a {self.what}",
                where=self.key,
                fix="write sqlite:///FILE or postgresql://HOST/DATABASE",
            ) from None
        self.shown = parsed.render_as_string(hide_password=True)
        self._embedded = parsed.get_backend_name() == "sqlite"
        if self._embedded:
            self._prepare_file(parsed, create)
        self._engine = _engine(parsed)

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run queries in one consistent view; a lost connection is made anew."""
        return self._run(work, writes=False)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run changes in one transaction, alone among writers: all of them or none.

        When the connection is lost, `work` runs again on a new one: it must find out by itself
        whether it has been done (see `ledger.append`).

        Raises:
            OutsideError: The database is out of reach, full or locked for too long.
        """
        return self._run(work, writes=True)

    def _run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with (
                    self._engine.connect().execution_options(**self._options(writes)) as connection,
                    connection.begin(),
                ):
                    if writes and not self._embedded:
                        connection.execute(
                            sqlalchemy.text("SELECT pg_advisory_xact_lock(:lock)"),
                            {"lock": _LOCK},
                        )
                    return work(connection)
            except DBAPIError as error:
                if not self._lost(error) or attempt == _ATTEMPTS:
                    raise self._out_of_reach(error) from None
                time.sleep(0.2 * attempt)
            except SQLAlchemyError as error:
                raise self._out_of_reach(error) from None
        raise AssertionError("unreachable")

    def _options(self, writes: bool) -> dict[str, Any]:
        if self._embedded:
            return {"writes": writes}
        # A writer must see what was committed while it waited for its turn; a reader, one moment.
        return {"isolation_level": "READ COMMITTED" if writes else "REPEATABLE READ"}

    def _lost(self, error: DBAPIError) -> bool:
        """Whether it is the connection that failed, not the statement."""
        if error.connection_invalidated:
            return True
        name = type(error.orig).__name__
        return not self._embedded and name in ("OperationalError", "AdminShutdown")

    def _out_of_reach(self, error: SQLAlchemyError) -> OutsideError:
        cause = str(getattr(error, "orig", None) or type(error).__name__)
        return OutsideError(
            f"the {self.what} cannot be used: {(cause.splitlines() or [''])[0][:200]}",
            where=self.shown,
            fix="check the address, the disk and the rights, then run the same again",
        )

    def _prepare_file(self, url: URL, create: bool) -> None:
        if not url.database or url.database == ":memory:":
            raise InputError(f"an embedded {self.what} needs a file", where=self.key)
        file = Path(url.database)
        if not create and not file.exists():
            raise InputError(self.missing, where=str(file), fix=self.fill)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutsideError(
                f"the {self.what}'s folder cannot be made: {error.strerror or error}",
                where=str(file),
            ) from None


class Catalogue(Database):
    """The registry's database; arguments and errors as `Database`.

    Raises:
        InputError: It is newer than this Roadworthy.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(url, create=create)
        if self.read(schema_number) != _known():
            self.write(lambda connection: migrate(connection, self.shown))


def _known() -> int:
    from roadworthy.registry.schema import MIGRATIONS

    return len(MIGRATIONS)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return postgresql_engine(url, pool_pre_ping=True)


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:  # the change to WAL does not wait for others by itself
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
