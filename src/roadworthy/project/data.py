"""`[project]` and `[data]`: the model's name; the table, how to read it and how to split it."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from roadworthy.errors import ProjectError
from roadworthy.project._range import Range

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 64, no dot or dash first"
"""What a model may be called: it becomes a folder, a label and a part of addresses."""
DEFAULT_BLANKS = ("", "na", "n/a", "nan", "null", "none", "?")

DATABASES = ("postgresql", "sqlite", "mysql", "mariadb", "mssql", "oracle")
"""What the address of a database begins with; a driver may follow, as in `mysql+pymysql://`."""

Kind = Literal["number", "category", "boolean", "date", "text", "identifier", "constant"]


def is_database(path: str) -> bool:
    """Whether it is the address of a database."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.partition("+")[0] in (*DATABASES, "postgres")


def holds_password(path: str) -> bool:
    """Whether the address of a database tells a password."""
    parts = urlsplit(path)
    return ":" in parts.netloc.rpartition("@")[0] or "password=" in parts.query


def refuse_password(path: str) -> None:
    """Refuse an address that is to be written down, when it tells a password.

    Raises:
        ProjectError: It does.
    """
    if is_database(path) and holds_password(path):
        raise ProjectError(
            "a project file tells no password",
            where=shown(path),
            fix="leave it out of the address: PGPASSWORD or PGPASSFILE tells it",
        )


def shown(path: str) -> str:
    """A path, or the address of a database without the user, the password and the options."""
    if not is_database(path):
        return path
    place, _, table = path.partition("#")
    scheme, _, rest = place.partition("?")[0].partition("://")
    server, slash, database = rest.partition("/")
    plain = f"{scheme}://{server.rpartition('@')[2]}{slash}{database}"
    return f"{plain}#{table}" if table else plain


class ColumnOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user says about one column (`[data.columns.NAME]`).

    Attributes:
        kind: The column's kind, in place of the inferred one.
        blank: What a blank does at prediction time: `impute` (with a warning) or `error`.
        unseen: What an unseen category does: `warn` (treated as no known level) or `error`.
        date_format: A strptime format for dates that are ambiguous or unusual.
    """

    kind: Kind | None = None
    blank: Literal["impute", "error"] = "impute"
    unseen: Literal["warn", "error"] = "warn"
    date_format: str | None = None


class ProjectSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[project]`: what the model is called."""

    name: str | None = None

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        good = self.name is None or NAME.fullmatch(self.name) is not None
        return [Range(good, "name", NAME_RULE)]


class DataSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[data]`: the table and how to read and split it."""

    path: str | None = None
    query: str | None = None
    query_file: str | None = None
    target: str | None = None
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    blanks: tuple[str, ...] = DEFAULT_BLANKS
    drop: tuple[str, ...] = ()
    columns: dict[str, ColumnOptions] = msgspec.field(default_factory=dict)
    holdout: float = 0.2
    split: Literal["auto", "random", "group", "time"] = "auto"
    group: str | None = None
    time: str | None = None
    weight: str | None = None
    sample_rows: int = 0

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        single = self.delimiter is None or len(self.delimiter.encode()) == 1
        database = self.path is not None and is_database(self.path)
        asks = [self.query, self.query_file, "#" in (self.path or "") or None]
        named = sum(each is not None for each in asks)
        return [
            Range(
                not (database and holds_password(self.path or "")),
                "path",
                "an address without a password: PGPASSWORD or PGPASSFILE tells it",
            ),
            Range(
                not database or named <= 1,
                "path",
                "an address that names a table (#TABLE) when there is no query or query_file, "
                "of which one alone may stand",
            ),
            Range(0.01 <= self.holdout <= 0.9, "holdout", "a share between 0.01 and 0.9"),
            Range(single, "delimiter", "one ASCII character"),
            Range(
                self.sample_rows == 0 or self.sample_rows >= 100,
                "sample_rows",
                "at least 100, or 0 for as many as fit into memory",
            ),
        ]
