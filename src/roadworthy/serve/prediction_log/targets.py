"""Where whole segments of the prediction log go: Parquet files, a bucket, PostgreSQL.

Each target takes a segment by its name, and taking the same one again changes nothing: a shipper
that is killed between taking and forgetting a segment counts no row twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import ServeSection
from roadworthy.serve.prediction_log.entries import Kinds, Logged
from roadworthy.serve.prediction_log.parquet import read_parquet, stream_parquet, write_parquet
from roadworthy.serve.prediction_log.reading import read_lines

BUCKETS = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_COLUMNS = (
    "time", "request_id", "row", "model", "version", "inputs", "prediction", "probabilities",
    "interval",
)  # fmt: skip
_TABLES = """
CREATE TABLE IF NOT EXISTS roadworthy_log_segments (
    name text PRIMARY KEY, stored timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS roadworthy_predictions (
    "time" timestamptz NOT NULL, "request_id" text NOT NULL, "row" integer NOT NULL,
    "model" text NOT NULL, "version" text NOT NULL, "inputs" jsonb NOT NULL,
    "prediction" jsonb NOT NULL, "probabilities" jsonb, "interval" jsonb
);
CREATE INDEX IF NOT EXISTS roadworthy_predictions_request
    ON roadworthy_predictions ("request_id", "row");
CREATE INDEX IF NOT EXISTS roadworthy_predictions_time ON roadworthy_predictions ("time");
"""
_LOCK = 0x524F4144  # of the statements above: two servers may start at once


class Target(Protocol):
    """Where segments go. Everything raises OutsideError when it is out of reach or full."""

    def take(self, segment: Path, kinds: Kinds) -> None:
        """Keep a segment, whole or not at all; one that is there already changes nothing."""


def open_target(options: ServeSection) -> Target | None:
    """What takes the segments; None where JSON lines stay in the folder.

    Raises:
        OutsideError: A library is missing.
    """
    if not options.ships_log:
        return None
    if options.log_to is None:
        return Folder(Path(str(options.log_folder)))
    if options.log_to.startswith("postgresql://"):
        return Database(options.log_to)
    return Bucket(options.log_to, options.log_format)


class Folder:
    """Parquet files in the folder of the segments."""

    def __init__(self, folder: Path) -> None:
        _need("pyarrow", "arrow")
        self._folder = folder

    def take(self, segment: Path, kinds: Kinds) -> None:
        """Write `NAME.parquet`."""
        path = self._folder / f"{segment.stem}.parquet"
        try:
            write_parquet(read_lines(segment), kinds, path)
        except OSError as error:
            raise OutsideError(f"cannot write: {error.strerror}", where=str(path)) from None


class Bucket:
    """Objects in S3, Google Cloud Storage or Azure, a segment each."""

    def __init__(self, url: str, form: str) -> None:
        _need("obstore", "registry")
        if form == "parquet":
            _need("pyarrow", "arrow")
        self._url = url
        self._form = form
        self._store: Any = None

    def take(self, segment: Path, kinds: Kinds) -> None:
        """Put `NAME.parquet` or `NAME.jsonl`."""
        import obstore

        from roadworthy.buckets import open_bucket

        content = io.BytesIO()
        if self._form == "parquet":
            stream_parquet(read_lines(segment), kinds, content)
        else:
            content.write(segment.read_bytes())
        content.seek(0)
        try:
            self._store = self._store or open_bucket(self._url)
            obstore.put(self._store, f"{segment.stem}.{self._form}", content)
        except Exception as error:  # obstore raises a class of its own for each reason
            raise _refused(self._url, error) from None

    def read(self) -> Iterator[Logged]:
        """Every segment's rows."""
        import obstore

        from roadworthy.buckets import open_bucket

        try:
            store = open_bucket(self._url)
            paths = sorted(str(each["path"]) for page in obstore.list(store) for each in page)
            for path in paths:
                content = bytes(obstore.get(store, path).bytes())
                if path.endswith(".parquet"):
                    yield from read_parquet(io.BytesIO(content), path)
                elif path.endswith(".jsonl"):
                    yield from msgspec.json.Decoder(Logged).decode_lines(content)
        except InputError:
            raise
        except Exception as error:  # obstore raises a class of its own for each reason
            raise _refused(self._url, error) from None


class Database:
    """The table `roadworthy_predictions` of a PostgreSQL database.

    A segment's rows and its name are stored in one transaction.
    """

    def __init__(self, url: str) -> None:
        _need("psycopg", "registry")
        self._url = url
        self._made = False

    def take(self, segment: Path, kinds: Kinds) -> None:
        """Insert the rows, unless the segment is there."""
        import psycopg

        names = ", ".join(f'"{column}"' for column in _COLUMNS)
        try:
            with psycopg.connect(self._url, connect_timeout=10) as connection:
                if not self._made:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    connection.execute(_TABLES)
                done = connection.execute(
                    "INSERT INTO roadworthy_log_segments (name) VALUES (%s) ON CONFLICT DO NOTHING",
                    (segment.stem,),
                )
                if done.rowcount:
                    copy = f"COPY roadworthy_predictions ({names}) FROM STDIN"
                    with connection.cursor().copy(copy) as into:
                        for row in read_lines(segment):
                            into.write_row(_database_row(row))
            self._made = True
        except psycopg.Error as error:
            raise _refused(_shown(self._url), error) from None

    def read(self) -> Iterator[Logged]:
        """Every row, in the order of time."""
        import psycopg

        names = ", ".join(f'"{column}"' for column in _COLUMNS)
        query = f'SELECT {names} FROM roadworthy_predictions ORDER BY "time", "request_id", "row"'
        try:
            with (
                psycopg.connect(self._url, connect_timeout=10) as connection,
                connection.cursor(name="predictions") as cursor,  # in portions
            ):
                cursor.execute(query)
                for moment, *rest in cursor:
                    yield Logged(moment.timestamp(), *rest)
        except psycopg.Error as error:
            raise _refused(_shown(self._url), error) from None


def _database_row(row: Logged) -> list[Any]:
    moment = datetime.fromtimestamp(row.time, UTC)
    content = [row.inputs, row.prediction, row.probabilities, row.interval]
    kept = [None if one is None else json.dumps(_without_nul(one)) for one in content]
    return [moment, row.request_id, row.row, row.model, row.version, *kept]


def _without_nul(content: Any) -> Any:
    """PostgreSQL's texts hold no NUL."""
    if isinstance(content, dict):
        return {_without_nul(key): _without_nul(value) for key, value in content.items()}
    return content.replace("\0", "\ufffd") if isinstance(content, str) else content


def read_address(url: str) -> Iterator[Logged]:
    """What was logged to a bucket or database; raises as `reading.read`."""
    scheme = url.partition("://")[0]
    if scheme == "postgresql":
        return Database(url).read()
    if scheme in BUCKETS:
        return Bucket(url, "jsonl").read()
    raise InputError("no prediction log has such an address", where=url)


def _refused(where: str, error: Exception) -> OutsideError:
    words = (str(error).splitlines() or [""])[0][:160]
    what = f"the prediction log cannot be used there: {type(error).__name__}: {words}"
    return OutsideError(what, where=where, fix="check address, network and credentials")


def _shown(url: str) -> str:
    return url.rpartition("@")[2].partition("?")[0]


def _need(module: str, extra: str) -> None:
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise OutsideError(
            f"the prediction log needs {module} to go there",
            where="[serve] log_to, log_format",
            fix=f"pip install roadworthy[{extra}]",
        )
