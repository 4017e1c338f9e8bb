"""SQLite files, opened to be read and not made when they are not there."""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from roadworthy.errors import InputError
from roadworthy.table.file_names import named, shown_name

_BUSY_SECONDS = 60


def open_sqlite(url: URL) -> Engine:
    """An engine of a SQLite file that can write nothing.

    Raises:
        InputError: There is no such file, or it is no database.
    """
    if not url.database or url.database == ":memory:":
        raise InputError("no file is named", where="sqlite://", fix="write sqlite:///FILE#TABLE")
    file = named(url.database)
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = "the file does not exist" if missing else f"cannot be read: {error.strerror}"
        raise InputError(what, where=shown_name(file)) from None
    if head and head != b"SQLite format 3\0":
        raise InputError("the file is not an SQLite database", where=shown_name(file))

    def connect() -> sqlite3.Connection:
        place = f"file:{quote(os.fsencode(file.absolute()))}?mode=ro"
        connection = sqlite3.connect(place, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA query_only = ON")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
