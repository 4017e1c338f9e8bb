"""One logged prediction, and how it is made of what a request brought."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from roadworthy.cells import CellError
from roadworthy.contract import Column, Contract
from roadworthy.serve.columns import Cells, Coded, Inputs

if TYPE_CHECKING:
    from roadworthy.serve.predictions import Predictor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Logged(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row that was predicted.

    Attributes:
        time: When it was answered, seconds since 1970.
        request_id: The request's id, the caller's own or ours.
        row: The row's place in its request, from 0.
        model: Name of the model.
        version: Its version, the whole digest.
        inputs: Column -> cell as the contract reads it: a float, a text, a bool, for a date its
            text in ISO 8601 (UTC), None for a blank. Redacted columns are left out.
        prediction: The class or number that was answered.
        probabilities: Class name -> probability; None for regression.
        interval: Both ends of the prediction interval, where there is one.
    """

    time: float
    request_id: str
    row: int
    model: str
    version: str
    inputs: dict[str, Any]
    prediction: Any
    probabilities: dict[str, float] | None = None
    interval: list[float] | None = None


class Kinds(msgspec.Struct, frozen=True):
    """What the columns of one version's log hold; it lies beside the segments as `.columns.json`.

    Attributes:
        model: Name of the model.
        version: Its version.
        columns: Column -> `number`, `boolean`, `category`, `date` or `text`; without redacted ones.
        classes: The classes, as predictions name them; empty for regression.
        class_names: Their names among probabilities.
    """

    model: str
    version: str
    columns: dict[str, str]
    classes: list[Any]
    class_names: list[str]

    @classmethod
    def of(cls, predictor: Predictor, redact: frozenset[str]) -> Kinds:
        """Those of a version."""
        manifest, target = predictor.bundle.manifest, predictor.target
        columns = {
            column.name: column.kind
            for column in predictor.contract.columns
            if column.name not in redact
        }
        classes, names = list(target.classes), list(target.class_names)
        return cls(manifest.name, manifest.version, columns, classes, names)


class Entry(NamedTuple):
    """The rows of one request, as they wait to be written.

    Attributes:
        moment: Seconds since 1970.
        request_id: The request's id.
        predictor: The version that answered.
        inputs: What was asked.
        scores: What was answered, a row each.
        size: About how many bytes of memory it holds.
    """

    moment: float
    request_id: str
    predictor: Predictor
    inputs: Inputs
    scores: Sequence[Sequence[float]]
    size: int


def size_of(inputs: Inputs, rows: int, width: int) -> int:
    """About how many bytes of memory rows hold."""
    if inputs.size is not None:
        return inputs.size
    cells = inputs.cells
    if not isinstance(cells, Mapping):
        return rows * width * 16 + sum(
            len(cell) for row in cells for cell in msgspec.structs.astuple(row) if type(cell) is str
        )
    texts: list[Any] = []
    for column in cells.values():
        if isinstance(column, Coded):
            texts += column.cells
        elif not isinstance(column, np.ndarray):
            texts += column
    return rows * width * 16 + sum(len(text) for text in texts if type(text) is str)


def logged(entry: Entry, redact: frozenset[str]) -> Iterator[Logged]:
    """The rows of a request, without the columns in `redact`."""
    predictor = entry.predictor
    manifest = predictor.bundle.manifest
    rows = rows_of(entry.inputs, len(entry.scores), predictor.contract, redact)
    for place, (cells, scores) in enumerate(zip(rows, entry.scores, strict=True)):
        yield Logged(
            entry.moment,
            entry.request_id,
            place,
            manifest.name,
            manifest.version,
            cells,
            **predictor.plain_answer(scores),
        )


def rows_of(
    inputs: Inputs, rows: int, contract: Contract, redact: frozenset[str] = frozenset()
) -> Iterator[dict[str, Any]]:
    """What was asked, each row as column -> cell; see `Logged.inputs`."""
    wanted = [
        (place, column)
        for place, column in enumerate(contract.columns)
        if column.name not in redact
    ]
    names = [column.name for _, column in wanted]
    if not wanted:
        return iter([{}] * rows)
    read = [
        _read_column(_cells(inputs, place, column.name, rows), _reader(column, contract, inputs))
        for place, column in wanted
    ]
    return (dict(zip(names, cells, strict=True)) for cells in zip(*read, strict=True))


def _cells(inputs: Inputs, place: int, name: str, rows: int) -> Cells:
    if isinstance(inputs.cells, Mapping):
        return inputs.cells.get(name, [None] * rows)
    return [getattr(record, f"c{place}") for record in inputs.cells]


def _read_column(cells: Cells, read: Callable[[Any], Any]) -> list[Any]:
    if isinstance(cells, Coded):
        distinct = [read(cells.cells[code]) for code in range(len(cells.cells))]
        return [distinct[code] for code in cells.codes.tolist()]
    return [read(cell) for cell in (cells.tolist() if isinstance(cells, np.ndarray) else cells)]


def _reader(column: Column, contract: Contract, inputs: Inputs) -> Callable[[Any], Any]:
    """What reads a cell once more: it was answered, so that nothing can be wrong with it."""
    take = column.read_text if inputs.text else column.read_value

    def read(cell: Any) -> Any:
        # a record of checked values holds a date as seconds
        value = cell
        if column.kind != "date" or type(cell) is not float:
            try:
                value = take(cell, contract.blanks)
            except CellError:
                return None  # a code of a dictionary that no row has
        if column.kind == "date" and value is not None and value == value:
            return (_EPOCH + timedelta(seconds=float(value))).isoformat()
        return value

    return read
