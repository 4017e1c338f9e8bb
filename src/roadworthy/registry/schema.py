"""The catalogue's tables and how an older catalogue becomes a newer one.

Migrations only go forward. A migration that has been released is never edited: what changes is a
further one at the end.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, insert, inspect, select
from sqlalchemy import update as sql_update

from roadworthy.errors import InputError

_metadata = MetaData()


def _table(name: str, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    named = [Column(each, Integer if each in numbers else Text) for each in columns]
    return Table(f"roadworthy_{name}", _metadata, *named)


schema = _table("schema", "number", numbers=("number",))
versions = _table(
    "versions", "model", "version", "blob", "size", "sealed", "task", "family", "metrics",
    "created", "registered", "data", "code", "parent", "signer", numbers=("size", "sealed"),
)  # fmt: skip
aliases = _table("aliases", "model", "alias", "version")
tags = _table("tags", "model", "version", "tag", "value")
deployments = _table("deployments", "target", "model", "version", "at")
leases = _table("leases", "id", "blob", "holder", "expires")
ledger = _table(
    "ledger", "number", "at", "who", "action", "model", "version", "place", "verdict", "details",
    "operation", "previous", "digest", numbers=("number",),
)  # fmt: skip

_VERSION_KEY = "FOREIGN KEY (model, version) REFERENCES roadworthy_versions (model, version)"
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE roadworthy_versions (model TEXT NOT NULL, version TEXT NOT NULL, "
        "blob TEXT NOT NULL, size BIGINT NOT NULL, sealed INTEGER NOT NULL, task TEXT NOT NULL, "
        "family TEXT NOT NULL, metrics TEXT NOT NULL, created TEXT NOT NULL, "
        "registered TEXT NOT NULL, data TEXT, code TEXT, parent TEXT, "
        "PRIMARY KEY (model, version))",
        "CREATE TABLE roadworthy_aliases (model TEXT NOT NULL, alias TEXT NOT NULL, "
        f"version TEXT NOT NULL, PRIMARY KEY (model, alias), {_VERSION_KEY})",
        "CREATE TABLE roadworthy_tags (model TEXT NOT NULL, version TEXT NOT NULL, "
        "tag TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, version, tag), "
        f"{_VERSION_KEY})",
        "CREATE TABLE roadworthy_ledger (number BIGINT PRIMARY KEY, at TEXT NOT NULL, "
        "who TEXT NOT NULL, action TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, "
        "place TEXT NOT NULL, verdict TEXT NOT NULL, details TEXT NOT NULL, "
        "operation TEXT NOT NULL UNIQUE, previous TEXT NOT NULL, digest TEXT NOT NULL)",
    ),
    (
        "ALTER TABLE roadworthy_versions ADD COLUMN signer TEXT",
        "CREATE TABLE roadworthy_deployments (target TEXT NOT NULL, model TEXT NOT NULL, "
        "version TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (target, model), "
        f"{_VERSION_KEY})",
        "CREATE TABLE roadworthy_leases (id TEXT PRIMARY KEY, blob TEXT NOT NULL, "
        "holder TEXT NOT NULL, expires TEXT NOT NULL)",
    ),
)


def schema_number(connection: Connection) -> int:
    """Migrations that a catalogue has seen; 0 for an empty one."""
    if not inspect(connection).has_table(schema.name):
        return 0
    return int(connection.scalar(select(schema.c.number)) or 0)


def migrate(connection: Connection, where: str) -> None:
    """Bring a catalogue up to date inside the caller's transaction: wholly or not at all.

    Raises:
        InputError: The catalogue is newer than this Roadworthy.
    """
    number = schema_number(connection)
    if number > len(MIGRATIONS):
        raise InputError(
            f"the catalogue has schema {number}, this Roadworthy knows up to {len(MIGRATIONS)}",
            where=where,
            fix="upgrade Roadworthy",
        )
    if number == len(MIGRATIONS):
        return
    if number == 0:
        connection.exec_driver_sql("CREATE TABLE roadworthy_schema (number INTEGER NOT NULL)")
        connection.execute(insert(schema).values(number=0))
    for statements in MIGRATIONS[number:]:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.execute(sql_update(schema).values(number=len(MIGRATIONS)))
