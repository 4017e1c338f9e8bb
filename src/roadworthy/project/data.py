"""`[project]` and `[data]`: the model's name; the table, how to read it and how to split it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from roadworthy.project._range import Range

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 64, no dot or dash first"
"""What a model may be called: it becomes a folder, a label and a part of addresses."""
DEFAULT_BLANKS = ("", "na", "n/a", "nan", "null", "none", "?")

Kind = Literal["number", "category", "boolean", "date", "text", "identifier", "constant"]


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
        return [
            Range(0.01 <= self.holdout <= 0.9, "holdout", "a share between 0.01 and 0.9"),
            Range(single, "delimiter", "one ASCII character"),
            Range(
                self.sample_rows == 0 or self.sample_rows >= 100,
                "sample_rows",
                "at least 100, or 0 for as many as fit into memory",
            ),
        ]
