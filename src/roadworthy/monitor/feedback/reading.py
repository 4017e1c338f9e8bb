"""Read labels from a file: CSV, JSON lines or Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from roadworthy.errors import InputError
from roadworthy.project import DataSection
from roadworthy.serve.feedback import Label, check_label
from roadworthy.table.sources import read_frame

_LINES = (".jsonl", ".ndjson")
_COLUMNS = ("request_id", "row", "label", "time")


def read_labels(path: str | Path, *, label: str = "label") -> Iterator[Label]:
    """The labels in a file.

    Args:
        path: CSV (.gz too), Parquet, or JSON lines (`.jsonl`). It holds `request_id`, the label,
            and if wanted `row` (place in the request, else 0) and `time` (seconds since 1970 or
            ISO 8601, else when the file was last changed, so that reading it again changes
            nothing). Rows whose label is blank are passed over.
        label: The column of the label; the target's name will do.

    Raises:
        InputError: The file cannot be read, lacks a column, or a row cannot be a label.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("the file does not exist", where=str(file))
    changed = file.stat().st_mtime
    rows = _lines(file) if file.suffix.lower() in _LINES else _rows(file, label)
    for number, row in rows:
        value = row.get(label, row.get("label"))
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            yield _label(row, value, changed)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            raise InputError(
                f"this is no label: {str(error).partition(' - at')[0]}",
                where=f"{file}: row {number}",
                fix="columns are request_id, label, and if wanted row and time",
            ) from None


def _label(row: dict[str, Any], value: Any, changed: float) -> Label:
    request_id, place, moment = row.get("request_id"), row.get("row"), row.get("time")
    if request_id is None:
        raise ValueError("request_id is blank")
    if isinstance(moment, date):
        moment = moment if isinstance(moment, datetime) else datetime(*moment.timetuple()[:3])
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    elif isinstance(moment, str):
        moment = float(moment) if _is_number(moment) else moment.strip()
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError("label must be a text, a number or a boolean")
    number = 0.0 if place in (None, "") else float(place)
    if not number.is_integer():
        raise ValueError("row must be a whole number")
    return check_label(Label(str(request_id), value, int(number), moment), changed)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(
                    f"not a line of JSON: {error}", where=f"{file}: line {number}"
                ) from None


def _rows(file: Path, label: str) -> Iterator[tuple[int, dict[str, Any]]]:
    source = read_frame(file, DataSection())
    frame = source.frame
    name = label if label in frame.columns else "label"
    for needed in ("request_id", name):
        if needed not in frame.columns:
            raise InputError(
                f"there is no column {needed!r}",
                where=str(file),
                fix="name the label's column with --label; columns: "
                + ", ".join(frame.columns[:10]),
            )
    kept = frame.select([c for c in dict.fromkeys((*_COLUMNS, name)) if c in frame.columns])
    if source.text:
        texts = pl.col(pl.String).str.strip_chars().replace("", None)
        kept = kept.with_columns(texts)
    yield from enumerate(kept.iter_rows(named=True), 1)
