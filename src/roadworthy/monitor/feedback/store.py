"""The store of labels: one database (SQLite or PostgreSQL), one label a predicted row.

The key is the request id and the row's place in its request. Of several labels for one row the one
with the latest time holds, of those of one time the one that is greater as JSON: so the same labels
give the same store in whatever order and however often they come. A time that is still to come when
the label does counts as that moment, or a clock that is ahead would hold what nobody could correct.
Every batch is one transaction; a process that is killed leaves whole batches and nothing else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
from sqlalchemy import Connection, text

from roadworthy.errors import InputError, OutsideError
from roadworthy.project import Project
from roadworthy.registry.catalogue import Database
from roadworthy.serve.feedback import Label, check_label

_TABLES = (
    "CREATE TABLE IF NOT EXISTS roadworthy_labels (request_id TEXT NOT NULL, "
    "place BIGINT NOT NULL, label TEXT NOT NULL, given DOUBLE PRECISION NOT NULL, "
    "received DOUBLE PRECISION NOT NULL, PRIMARY KEY (request_id, place))",
    "CREATE TABLE IF NOT EXISTS roadworthy_label_files (file TEXT PRIMARY KEY, "
    "bytes BIGINT NOT NULL)",
)
_UPSERT = (
    "INSERT INTO roadworthy_labels (request_id, place, label, given, received) "
    "VALUES (:request_id, :place, :label, :given, :received) "
    "ON CONFLICT (request_id, place) DO UPDATE SET "
    "label = excluded.label, given = excluded.given, received = excluded.received"
)
_BATCH = 5000
_ASKED = 400
_READ_BYTES = 8_000_000

Key = tuple[str, int]
Held = tuple[float, str]


class Kept(NamedTuple):
    """What became of labels.

    Attributes:
        new: Rows that had no label.
        corrected: Rows that had another one.
        known: Labels that changed nothing: the same again, or older than what is held.
    """

    new: int = 0
    corrected: int = 0
    known: int = 0

    def __add__(self, other: object) -> Kept:
        if not isinstance(other, Kept):
            return NotImplemented
        return Kept(*(a + b for a, b in zip(self, other, strict=True)))


class _Labels(Database):
    what, key = "store of labels", "[monitor] labels"
    missing, fill = "no labels are kept here yet", "roadworthy feedback FILE"


class LabelStore:
    """The labels that are known; see `open_labels`.

    Args:
        url: `sqlite:///FILE` or `postgresql://HOST/DATABASE`.
        create: Whether a file may be made where there is none.

    Raises:
        InputError: This is no address of a store, or there is none.
        OutsideError: It is out of reach, full or locked for too long.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._database = _Labels(url, create=create)
        self.shown = self._database.shown
        self._database.write(_make_tables)

    def close(self) -> None:
        """Let go of the connections."""
        self._database.close()

    def add(self, labels: Iterable[Label]) -> Kept:
        """Keep labels, in batches of one transaction each.

        Raises:
            InputError: A label cannot be one; what stood before its batch is kept.
        """
        kept, remaining = Kept(), iter(labels)
        while batch := list(islice(remaining, _BATCH)):
            kept += self._database.write(functools.partial(_keep, values=_latest(batch)))
        return kept

    def collect(self, folder: Path) -> Kept:
        """Keep what servers were sent: the files of `[serve] feedback_folder`.

        How far each file was read is kept in the same transaction as its labels, so that nothing
        is lost or read twice whenever a process is killed. A line that is still being written is
        left for the next time.

        Raises:
            OutsideError: The folder cannot be read.
        """
        kept = Kept()
        try:
            for file in sorted(folder.glob("labels-*.jsonl")):
                kept += self._collect(file)
        except OSError as error:
            raise OutsideError(
                f"labels cannot be collected: {error.strerror or error}", where=str(folder)
            ) from None
        return kept

    def _collect(self, file: Path) -> Kept:
        kept = Kept()
        while True:
            start = self._database.read(lambda connection: _position(connection, file.name))
            with file.open("rb") as opened:
                opened.seek(start)
                content = opened.read(_READ_BYTES)
            whole = content[: content.rfind(b"\n") + 1]
            if not whole:
                return kept
            values = _latest(_lines(whole, file))
            until = start + len(whole)

            def work(
                connection: Connection,
                values: dict[Key, Held] = values,
                start: int = start,
                until: int = until,
            ) -> Kept:
                if _position(connection, file.name) != start:
                    return Kept()  # somebody else collected it meanwhile
                connection.execute(
                    text(
                        "INSERT INTO roadworthy_label_files (file, bytes) VALUES (:file, :bytes) "
                        "ON CONFLICT (file) DO UPDATE SET bytes = excluded.bytes"
                    ),
                    {"file": file.name, "bytes": until},
                )
                return _keep(connection, values)

            kept += self._database.write(work)

    def frame(self) -> pl.DataFrame:
        """All labels: `request_id`, `row`, `label` (JSON), `label_time` and `received`."""

        def work(connection: Connection) -> pl.DataFrame:
            query = "SELECT request_id, place, label, given, received FROM roadworthy_labels"
            rows = [tuple(row) for row in connection.execute(text(query))]
            return pl.DataFrame(rows, schema=_SCHEMA, orient="row").sort("request_id", "row")

        return self._database.read(work)

    def __len__(self) -> int:
        query = text("SELECT count(*) FROM roadworthy_labels")
        return self._database.read(lambda connection: int(connection.execute(query).scalar_one()))


_SCHEMA = {
    "request_id": pl.String,
    "row": pl.Int64,
    "label": pl.String,
    "label_time": pl.Float64,
    "received": pl.Float64,
}


@contextmanager
def open_labels(project: Project, *, create: bool = True) -> Iterator[LabelStore]:
    """The store of `[monitor] labels`; raises as `LabelStore`."""
    store = LabelStore(project.monitor.labels, create=create)
    try:
        yield store
    finally:
        store.close()


def _make_tables(connection: Connection) -> None:
    for statement in _TABLES:
        connection.execute(text(statement))


def _latest(batch: Sequence[Label]) -> dict[Key, Held]:
    """The label that holds of each row of a batch."""
    found: dict[Key, Held] = {}
    now = time.time()
    for label in batch:
        try:
            good = check_label(label, now)
        except ValueError as error:
            raise InputError(f"a label cannot be kept: {error}", where=label.request_id) from None
        value = msgspec.json.encode(good.label).decode()
        held = float(good.time or 0.0), value
        key = good.request_id, good.row
        found[key] = max(found.get(key, held), held)
    return found


def _keep(connection: Connection, values: dict[Key, Held]) -> Kept:
    held = _held(connection, sorted({request_id for request_id, _ in values}))
    now, changes, new = time.time(), [], 0
    for key, value in values.items():
        old = held.get(key)
        if old is None or (value != old[0] and min(value, (now, value[1])) > old[1]):
            new += old is None
            changes.append(
                {
                    "request_id": key[0],
                    "place": key[1],
                    "label": value[1],
                    "given": value[0],
                    "received": now,
                }
            )
    if changes:
        connection.execute(text(_UPSERT), changes)
    return Kept(new, len(changes) - new, len(values) - len(changes))


def _held(connection: Connection, ids: Sequence[str]) -> dict[Key, tuple[Held, Held]]:
    """The labels that are held, as they were given and as they count."""
    found: dict[Key, tuple[Held, Held]] = {}
    for start in range(0, len(ids), _ASKED):
        some = ids[start : start + _ASKED]
        named = {f"id{number}": each for number, each in enumerate(some)}
        marks = ", ".join(f":{name}" for name in named)
        query = (
            "SELECT request_id, place, given, label, received FROM roadworthy_labels "
            f"WHERE request_id IN ({marks})"
        )
        for row in connection.execute(text(query), named):
            found[row[0], row[1]] = (row[2], row[3]), (min(row[2], row[4]), row[3])
    return found


def _position(connection: Connection, file: str) -> int:
    query = text("SELECT bytes FROM roadworthy_label_files WHERE file = :file")
    row = connection.execute(query, {"file": file}).first()
    return 0 if row is None else int(row[0])


def _lines(content: bytes, file: Path) -> list[Label]:
    """The labels of whole lines; one that a crash of the machine damaged is left out."""
    decoder = msgspec.json.Decoder(Label)
    labels = []
    for line in content.splitlines():
        try:
            label = decoder.decode(line)
            labels.append(check_label(label, file.stat().st_mtime))
        except (msgspec.DecodeError, ValueError):
            continue
    return labels
