"""The plan compiled for single rows: generated Python on a generated msgspec record.

The code is generated from the contract and the plan alone: names of columns never reach it
(fields are numbered), so nothing in a bundle can become code. One row takes about a
microsecond, warnings included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from roadworthy.cells import CellError
from roadworthy.contract import Column, Contract
from roadworthy.prepare.plan import Feature, FeaturePlan, date_part

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
        column.kind == "date" or (column.kind == "category" and column.dtype == "string")
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
    names: dict[str, Any] = {}
    lines = ["def encode(r):", " w = None"]
    vector: list[str] = []
    for position, column in enumerate(contract.columns):
        writer = {"number": _number, "category": _category, "boolean": _boolean, "date": _date}
        lines += writer[column.kind](position, column, features[column.name], names, contract)
        vector += [f"v{position}_{index}" for index in range(len(features[column.name]))]
    order = [feature.name for column in contract.columns for feature in features[column.name]]
    if order != [feature.name for feature in plan.features]:
        raise ValueError("the plan's features do not follow the contract's columns")
    lines.append(f" return ({', '.join(vector)},), w")
    exec(compile("\n".join(lines), "<row encoder>", "exec"), names)
    encode: Encode = names["encode"]
    return encode


def _note(notes: list[Note] | None, code: str, position: int) -> list[Note]:
    if notes is None:
        return [(code, position)]
    notes.append((code, position))
    return notes


def _number(
    position: int, column: Column, features: list[Feature], names: dict[str, Any], _: Contract
) -> list[str]:
    v = f"v{position}_0"
    names["note"] = _note
    names[f"blank{position}"] = features[0].fill
    lines = [
        f" {v} = r.c{position}",
        f" if {v} is None: {v} = blank{position}; w = note(w, 'blank', {position})",
    ]
    if column.minimum is not None and column.maximum is not None:
        inside = f"{float(column.minimum)!r} <= {v} <= {float(column.maximum)!r}"
        lines.append(f" elif not {inside}: w = note(w, 'out_of_range', {position})")
    return lines


def _category(
    position: int,
    column: Column,
    features: list[Feature],
    names: dict[str, Any],
    contract: Contract,
) -> list[str]:
    feature = features[0]
    codes = {level: float(code) for code, level in enumerate(feature.levels)}

    def miss(value: Any, notes: list[Note] | None) -> tuple[float, list[Note] | None]:
        level = column.read_value(value, contract.blanks)
        if level is None:
            return feature.fill, _note(notes, BLANK, position)
        if level in codes:
            return codes[str(level)], notes
        return feature.unseen, _note(notes, UNSEEN, position)

    names[f"get{position}"] = codes.get
    names[f"miss{position}"] = miss
    v = f"v{position}_0"
    return [
        f" {v} = get{position}(r.c{position})",
        f" if {v} is None: {v}, w = miss{position}(r.c{position}, w)",
    ]


def _boolean(
    position: int,
    column: Column,
    features: list[Feature],
    names: dict[str, Any],
    contract: Contract,
) -> list[str]:
    def miss(value: Any, notes: list[Note] | None) -> tuple[float, list[Note] | None]:
        truth = column.read_value(value, contract.blanks)
        if truth is None:
            return features[0].fill, _note(notes, BLANK, position)
        return float(truth), notes

    names[f"get{position}"] = {True: 1.0, False: 0.0}.get
    names[f"miss{position}"] = miss
    v = f"v{position}_0"
    return [
        f" {v} = get{position}(r.c{position})",
        f" if {v} is None: {v}, w = miss{position}(r.c{position}, w)",
    ]


def _date(
    position: int,
    column: Column,
    features: list[Feature],
    names: dict[str, Any],
    contract: Contract,
) -> list[str]:
    parts = [feature.part for feature in features]
    blank = tuple(feature.fill for feature in features)
    low, high = column.minimum or 0.0, column.maximum or 0.0

    def read(value: Any, notes: list[Note] | None) -> tuple[tuple[float, ...], list[Note] | None]:
        seconds = value if type(value) is float else column.read_value(value, contract.blanks)
        if seconds is None:
            return blank, _note(notes, BLANK, position)
        if not isinstance(seconds, float):
            raise CellError("expected a date")
        if not low <= seconds <= high:
            notes = _note(notes, RANGE, position)
        return tuple(date_part(seconds, part) for part in parts if part), notes

    names[f"read{position}"] = read
    targets = ", ".join(f"v{position}_{index}" for index in range(len(features)))
    return [f" ({targets},), w = read{position}(r.c{position}, w)"]
