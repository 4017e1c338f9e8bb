"""The address of a table in a database: `postgresql://HOST/DB#schema.table`, `sqlite:///FILE#table`.

The table stands behind a `#`, which no shell and no driver takes for its own in the middle of a
word; what stands behind a `?` are the driver's options, as everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from roadworthy.databases import postgresql_engine
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import DataSection
from roadworthy.project.data import DATABASES, is_database
from roadworthy.table.database.sqlite import open_sqlite
from roadworthy.table.file_names import shown_name

_DRIVERS = {
    "postgresql": "psycopg[binary]",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "mssql": "pyodbc",
    "oracle": "oracledb",
}
"""What is installed with pip to reach each kind of database."""
_PREFERRED = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql", "oracle": "oracle+oracledb"}
_PASSWORD = "ROADWORTHY_DATABASE_PASSWORD"

__all__ = ["Address", "is_database"]


class Address(NamedTuple):
    """A table of a database, or a query of it.

    Attributes:
        url: The database.
        table: The table, with its schema where that is said.
        query: The query, when there is no table.
    """

    url: URL
    table: str | None
    query: str | None

    @property
    def database(self) -> str:
        """The database, without who asks and with what password."""
        plain = URL.create(
            self.url.get_backend_name(),
            host=self.url.host,
            port=self.url.port,
            database=self.url.database,
        )
        return plain.render_as_string()

    @property
    def shown(self) -> str:
        """What is read, for people."""
        return f"{self.database}#{self.table}" if self.table else f"{self.database} (query)"

    def without_secrets(self, text: str) -> str:
        """A driver's message without the password."""
        words = [self.url.password, self.url.query.get("password"), os.environ.get(_PASSWORD)]
        for word in words:
            if word:
                text = text.replace(str(word), "***")
        return text

    def lineage(self) -> dict[str, str]:
        """Where a model's rows come from; no path of this machine and no password."""
        file = self.url.get_backend_name() == "sqlite"
        place = f"sqlite:///{Path(self.url.database or '').name}" if file else self.database
        what = {"table": self.table} if self.table else {"query": self.query or ""}
        return {"database": place, **what}

    def engine(self) -> Engine:
        """An engine of it, with one connection that is closed after use.

        Raises:
            InputError: There is no such file.
            OutsideError: Its driver is not installed.
        """
        kind = self.url.get_backend_name()
        try:
            if kind == "sqlite":
                return open_sqlite(self.url)
            if kind == "postgresql":
                return postgresql_engine(self.url, poolclass=NullPool)
            url = self.url
            if "+" not in url.drivername:
                url = url.set(drivername=_PREFERRED.get(kind, kind))
            if url.password is None and os.environ.get(_PASSWORD):
                url = url.set(password=os.environ[_PASSWORD])
            return create_engine(url, poolclass=NullPool, hide_parameters=True)
        except (ModuleNotFoundError, NoSuchModuleError):
            raise OutsideError(
                f"the driver for {kind} is not installed",
                where=self.database,
                fix=f"pip install '{_DRIVERS.get(kind, kind)}'",
            ) from None
        except (SQLAlchemyError, TypeError, ValueError) as error:
            raise InputError(
                f"the address cannot be used: {self.without_secrets(str(error)):.200}",
                where=self.database,
            ) from None


def parse_address(address: str, options: DataSection) -> Address:
    """Read an address; without a table in it, `[data] query` or `query_file` says what is read.

    Raises:
        InputError: It is no address, or neither a table nor a query is named.
    """
    address = shown_name(address)
    place, _, table = address.partition("#") if "://" in address else (address, "", "")
    if place.startswith("postgres://"):
        place = place.replace("postgres://", "postgresql://", 1)
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):
        raise InputError(
            "not an address of a database",
            where=f"{address.partition('://')[0]}://…",
            fix="write postgresql://HOST/DATABASE#TABLE or sqlite:///FILE#TABLE",
        ) from None
    if url.get_backend_name() not in DATABASES:  # a caller that does not ask before
        raise InputError(f"unknown address {url.drivername}://", where=url.drivername)
    if table:
        return Address(url, table, None)
    query = _query(options)
    found = Address(url, None, query)
    if query is None:
        raise InputError(
            "the address names a database, and no table of it",
            where=found.database,
            fix=f"write {found.database}#TABLE, or say --query or [data] query",
        )
    return found


def _query(options: DataSection) -> str | None:
    if options.query_file is None:
        return None if options.query is None else shown_name(options.query)
    try:
        return Path(options.query_file).read_text("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"the query cannot be read: {error.strerror or error}",
            where=f"[data] query_file, {options.query_file}",
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            "the query is not in UTF-8", where=f"[data] query_file, {options.query_file}"
        ) from None
