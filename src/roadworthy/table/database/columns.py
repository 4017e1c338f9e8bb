"""Which columns a table or a query has, and which of them a table to train on can hold."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from sqlalchemy import Connection, inspect

from roadworthy.errors import InputError
from roadworthy.table.database.address import Address

_KEPT = "BDEINSTV"
"""PostgreSQL's categories of types that are kept: truths, dates, enumerations, addresses, numbers,
texts, spans, bits; not arrays, composites, shapes, ranges, and of its other types few."""
_KEPT_TYPES = ("uuid", "citext")
_TYPES = (
    "SELECT oid, typname, typcategory, typcollation <> 0 FROM pg_catalog.pg_type "
    "WHERE oid = ANY(%s)"
)


class Column(NamedTuple):
    """A column of what is read.

    Attributes:
        name: Its name.
        odd: Its type, when a table cannot hold it.
        text: Whether PostgreSQL sorts it by a language.
    """

    name: str
    odd: str | None = None
    text: bool = False


def describe(connection: Connection, description: Any) -> list[Column]:
    """The columns of a result, by what its driver says of them.

    Args:
        connection: To the database.
        description: As PEP 249 has it.
    """
    if connection.dialect.name != "postgresql":
        return [Column(entry[0]) for entry in description]
    numbers = list({entry[1] for entry in description})
    rows = connection.exec_driver_sql(_TYPES, (numbers,)).all()
    types = {number: (name, category, text) for number, name, category, text in rows}
    found = []
    for entry in description:
        name, category, text = types.get(entry[1], ("unknown", "X", False))
        kept = category in _KEPT or name in _KEPT_TYPES
        found.append(Column(entry[0], None if kept else str(name), text))
    return found


def find_table(connection: Connection, address: Address) -> tuple[str | None, str, list[str]]:
    """Schema and name of a table, and the columns of its primary key.

    Raises:
        InputError: There is no such table.
    """
    inspector = inspect(connection)
    said = address.table or ""
    whole = said.replace('"', "")
    schema, dot, name = whole.partition(".")
    for place, table in ((None, whole), (schema, name) if dot else (None, whole)):
        if inspector.has_table(table, schema=place):
            key = inspector.get_pk_constraint(table, schema=place)
            return place, table, list(key["constrained_columns"])
    names = _names(inspector, schema if dot else None)
    lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(whole.lower(), lower, n=3)
    shown = ", ".join([lower[each] for each in near] or names[:10])
    more = " …" if not near and len(names) > 10 else ""
    fix = f"did you mean {shown}?" if near else f"there are: {shown}{more}"
    raise InputError(
        f"there is no table {said!r}",
        where=address.database,
        fix=fix if names else "no table is there that may be seen; check the database and the user",
    )


def _names(inspector: Any, schema: str | None) -> list[str]:
    """The tables and views that one could have meant, with their schemas."""
    found = [*inspector.get_table_names(), *inspector.get_view_names()]
    hidden = ("information_schema", inspector.default_schema_name)
    for each in inspector.get_schema_names() if inspector.dialect.name != "sqlite" else ():
        if each not in hidden and not each.startswith("pg_"):
            tables = [*inspector.get_table_names(each), *inspector.get_view_names(each)]
            found += [f"{each}.{name}" for name in tables]
    if schema is not None:  # the default schema may be named, too
        default = inspector.default_schema_name
        found += [f"{default}.{name}" for name in inspector.get_table_names()] if default else []
    return sorted(found)
