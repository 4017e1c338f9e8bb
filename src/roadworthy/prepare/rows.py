"""The plan compiled for single rows: generated Python on a generated msgspec record.

The code is generated from the contract and the plan alone: names of columns never reach it
(fields are numbered), so nothing in a bundle can become code. One row takes about a
microsecond, warnings included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from roadworthy.cells import CellError
from roadworthy.contract import Column, Contract
from roadworthy.prepare.plan import Feature, FeaturePlan, date_part
from roadworthy.prepare.text import text_encoder

BLANK, UNSEEN, RANGE = "blank", "unseen", "out_of_range"
Note = tuple[str, int]
"""What was noticed in a row: one of the codes above and the column's position."""
Encode = Callable[[Any], tuple[tuple[float, ...], list[Note] | None]]

_UNION: dict[tuple[str, bool], Any] = {
    ("number", True): float,
    ("number", False): float,
    ("date", True): str,
    ("date", False): str,
    ("boolean", True): bool | int | float | str,
    ("boolean", False): bool | int | float | str,
    ("category", True): str,
    ("category", False): int | float | str,
    ("text", True): str,
}


class RowEncoder(NamedTuple):
    """What turns a record into a vector.

    Attributes:
        record: The msgspec type of one row as a client sends it; unknown columns are refused.
            Called with one checked value a column it makes a record of them.
        encode: Record -> (vector of `width` floats, what was noticed or None). Raises CellError
            for a cell that its column cannot take.
        texts: Strings in a record of JSON with no blanks: 1 for each column sent as text.
    """

    record: type[msgspec.Struct]
    encode: Encode
    texts: int


def compile_rows(
    contract: Contract, plan: FeaturePlan, absent: Literal["error", "blank"] = "error"
) -> RowEncoder:
    """Compile the plan for single rows.

    Args:
        contract: The columns.
        plan: The vector.
        absent: Whether a column that is not in a row is an error or a blank.
    """
    texts = sum(
        column.kind in ("date", "text") or (column.kind == "category" and column.dtype == "string")
        for column in contract.columns
    )
    return RowEncoder(_record_type(contract, absent), _compile(contract, plan), texts)


def _record_type(contract: Contract, absent: Literal["error", "blank"]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    rename = {}
    for position, column in enumerate(contract.columns):
        name = f"c{position}"
        rename[name] = _field_name(column.name, contract)
        kind: Any = _UNION[column.kind, column.dtype == "string"]
        if column.on_blank == "impute":
            kind = kind | None
        optional = absent == "blank" and column.on_blank == "impute"
        fields.append((name, kind, None) if optional else (name, kind))
    for position, ignored in enumerate((*contract.ignored, contract.target.name)):
        rename[f"i{position}"] = _field_name(ignored, contract)
        fields.append((f"i{position}", msgspec.Raw, msgspec.Raw(b"")))
    options: Any = {"rename": rename, "forbid_unknown_fields": True, "gc": False}
    return msgspec.defstruct("Row", fields, **options)


def _field_name(name: str, contract: Contract) -> str:
    """The key that msgspec shall look for.

    msgspec takes no key with a quotation mark, a backslash or a control character. Such a column
    gets a key that no row has: its rows are refused by the decoder and read by
    `Contract.read_row`, slower and just as right.
    """
    if '"' not in name and "\\" not in name and min(name, default="") >= " ":
        return name
    taken = {*contract.names, *contract.ignored, contract.target.name}
    place = [*contract.names, *contract.ignored, contract.target.name].index(name)
    stand_in = f"column {place}"
    while stand_in in taken:
        stand_in += " "
    return stand_in


def _compile(contract: Contract, plan: FeaturePlan) -> Encode:
    features = plan.by_column()
    names: dict[str, Any] = {"note": _note}
    lines = ["def encode(r):", " w = None"]
    vector: list[str] = []
    writers = {
        "number": _number,
        "category": _category,
        "boolean": _boolean,
        "date": _date,
        "text": _text,
    }
    for position, column in enumerate(contract.columns):
        targets = [f"v{position}_{index}" for index in range(len(features[column.name]))]
        lines += writers[column.kind](
            Cell(position, column, features[column.name], targets), names, contract
        )
        vector += targets
    order = [feature.name for column in contract.columns for feature in features[column.name]]
    if order != [feature.name for feature in plan.features]:
        raise ValueError("the plan's features do not follow the contract's columns")
    lines.append(f" return ({', '.join(vector)},), w")
    exec(compile("\n".join(lines), "<row encoder>", "exec"), names)
    encode: Encode = names["encode"]
    return encode


class Cell(NamedTuple):
    """A column on its way into code: its position, its features, and their variables."""

    position: int
    column: Column
    features: list[Feature]
    targets: list[str]

    @property
    def source(self) -> str:
        """The cell in a record."""
        return f"r.c{self.position}"

    @property
    def into(self) -> str:
        """The variables on the left of an assignment; one alone is no tuple."""
        return self.targets[0] if len(self.targets) == 1 else ", ".join(self.targets)

    def row(self, values: Sequence[float]) -> Any:
        """The features' values as the assignment takes them."""
        return values[0] if len(values) == 1 else tuple(values)

    @property
    def blank(self) -> Any:
        """What a blank becomes."""
        return self.row([feature.fill for feature in self.features])


def _note(notes: list[Note] | None, code: str, position: int) -> list[Note]:
    if notes is None:
        return [(code, position)]
    notes.append((code, position))
    return notes


def _number(cell: Cell, names: dict[str, Any], _: Contract) -> list[str]:
    names[f"blank{cell.position}"] = cell.blank
    v, column = cell.targets[0], cell.column
    n = cell.position
    lines = [
        f" {v} = {cell.source}",
        f" if {v} is None: {cell.into} = blank{n}; w = note(w, 'blank', {n})",
    ]
    inside = "True"
    if column.minimum is not None and column.maximum is not None:
        inside = f"{float(column.minimum)!r} <= {v} <= {float(column.maximum)!r}"
    out_of_range = f"w = note(w, 'out_of_range', {n})"
    if len(cell.targets) == 1:
        return [*lines, f" elif not {inside}: {out_of_range}"]
    return [*lines, " else:", f"  {cell.targets[1]} = 0.0", f"  if not {inside}: {out_of_range}"]


def _look_up(
    cell: Cell,
    names: dict[str, Any],
    table: dict[Any, Any],
    miss: Callable[[Any, list[Note] | None], tuple[Any, list[Note] | None]],
) -> list[str]:
    """The cell by a dict of what is usual, anything else by a function."""
    names[f"get{cell.position}"] = table.get
    names[f"miss{cell.position}"] = miss
    found = f"x{cell.position}" if len(cell.targets) > 1 else cell.into
    lines = [
        f" {found} = get{cell.position}({cell.source})",
        f" if {found} is None: {found}, w = miss{cell.position}({cell.source}, w)",
    ]
    return lines if len(cell.targets) == 1 else [*lines, f" {cell.into} = {found}"]


def _category(cell: Cell, names: dict[str, Any], contract: Contract) -> list[str]:
    column = cell.column
    readers = [feature.reader() for feature in cell.features]
    listed = dict.fromkeys(level for feature in cell.features for level in feature.levels)
    levels = dict.fromkeys([*listed, *column.categories])

    def read(level: str) -> Any:
        return cell.row([reader(level) for reader in readers])

    # of a column that was folded into few features, the levels that are not in the table are
    # unseen only when the training rows had none of them
    table = {level: read(level) for level in levels}
    blank = cell.blank

    def miss(value: Any, notes: list[Note] | None) -> tuple[Any, list[Note] | None]:
        level = column.read_value(value, contract.blanks)
        if level is None:
            return blank, _note(notes, BLANK, cell.position)
        if level in table:
            return table[str(level)], notes
        return read(str(level)), _note(notes, UNSEEN, cell.position)

    return _look_up(cell, names, table, miss)


def _boolean(cell: Cell, names: dict[str, Any], contract: Contract) -> list[str]:
    rest = [0.0] * (len(cell.features) - 1)  # it was blank: no
    table = {truth: cell.row([float(truth), *rest]) for truth in (True, False)}

    def miss(value: Any, notes: list[Note] | None) -> tuple[Any, list[Note] | None]:
        truth = cell.column.read_value(value, contract.blanks)
        if truth is None:
            return cell.blank, _note(notes, BLANK, cell.position)
        return table[bool(truth)], notes

    return _look_up(cell, names, table, miss)


def _date(cell: Cell, names: dict[str, Any], contract: Contract) -> list[str]:
    parts = [feature.part for feature in cell.features if feature.part]
    rest = [0.0] * (len(cell.features) - len(parts))
    column, blank = cell.column, cell.blank
    low, high = column.minimum or 0.0, column.maximum or 0.0

    def read(value: Any, notes: list[Note] | None) -> tuple[Any, list[Note] | None]:
        seconds = value if type(value) is float else column.read_value(value, contract.blanks)
        if seconds is None:
            return blank, _note(notes, BLANK, cell.position)
        if not isinstance(seconds, float):
            raise CellError("expected a date")
        if not low <= seconds <= high:
            notes = _note(notes, RANGE, cell.position)
        return cell.row([*(date_part(seconds, part) for part in parts), *rest]), notes

    names[f"read{cell.position}"] = read
    return _assign(cell)


def _text(cell: Cell, names: dict[str, Any], contract: Contract) -> list[str]:
    features = [feature for feature in cell.features if feature.read != "blank"]
    rest = [0.0] * (len(cell.features) - len(features))
    encode, blank = text_encoder(features), cell.blank

    def read(value: Any, notes: list[Note] | None) -> tuple[Any, list[Note] | None]:
        text = cell.column.read_value(value, contract.blanks)
        if text is None:
            return blank, _note(notes, BLANK, cell.position)
        return cell.row([*encode(str(text)), *rest]), notes

    names[f"read{cell.position}"] = read
    return _assign(cell)


def _assign(cell: Cell) -> list[str]:
    left = f"({cell.into})" if len(cell.targets) > 1 else cell.into
    return [f" {left}, w = read{cell.position}({cell.source}, w)"]
