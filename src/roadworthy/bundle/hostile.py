"""The rows that parity is proven on beside the holdout: hostile ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from roadworthy.cells import CellError
from roadworthy.contract import Column, Contract
from roadworthy.errors import CheckFailed
from roadworthy.table.conform import POLARS_TYPES

_CELLS = 4_000_000
_GENERATED = 4000
_TURNS = 150
_TEXTS = (
    "never seen", "ünïcödé 🚗 STRASSE Straße İstanbul", "x" * 10_000, "a b", "the the THE",
    "line\nbreak\ttab", "0 12 345", "don't stop", "\u200bzero width", "word " * 500, "", " \t",
)  # fmt: skip
_LEVELS = (
    "never seen", "", " ", "ünïcödé 🚗", "x" * 10_000, 'quo"te\\', "0", "line\nbreak",
    "\u3000\t", " never seen ",
)  # fmt: skip


def accepted(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The rows that the contract does not refuse, with its columns only.

    Raises:
        CheckFailed: It refuses every row.
    """
    keep = pl.lit(value=True)
    for column in contract.columns:
        cells = pl.col(column.name)
        if column.on_blank == "error":
            keep &= cells.is_not_null()
        if column.on_unseen == "error" and column.kind == "category":
            keep &= cells.is_null() | cells.is_in(list(column.categories))
    rows = frame.select(contract.names).filter(keep)
    if not rows.height:
        raise CheckFailed(
            "the contract refuses every held-out row: nothing can be compared",
            where="[data.columns] blank, unseen",
            fix="leave out blank = 'error' or unseen = 'error' where such cells are usual",
        )
    return rows


def generated_rows(held: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Hostile rows: typical rows of the holdout with some cells, or all, made extreme.

    Args:
        held: Typed rows to start from.
        contract: The columns.

    Returns:
        Rows in which each column takes its variants, the most telling first (blank, far out of
        range, unseen), as many as some thousand rows hold; in a wide table several columns share
        a row. Texts are raw: some have white space around them, some are words for a blank.
    """
    columns = contract.columns
    types = schema(columns)
    variants = {column.name: _variants(column, contract) for column in columns}
    base = held.head(20).cast(types).rows(named=True)
    turns = min(len(columns), _TURNS)
    each = max(3, min(_GENERATED, _CELLS // 2 // len(columns)) // turns)
    names = list(variants)
    rows: list[dict[str, Any]] = []
    for turn in range(turns):
        sharing = names[turn::turns]
        count = max(len(variants[name]) for name in sharing)
        for number in range(min(count, each)):
            row = dict(base[len(rows) % len(base)])
            for name in sharing:
                row[name] = variants[name][number % len(variants[name])]
            rows.append(row)
    longest = max(len(values) for values in variants.values())
    rows += [  # all columns at once: all blank, then all extreme
        {name: values[number % len(values)] for name, values in variants.items()}
        for number in range(min(longest, 50))
    ]
    return pl.DataFrame(rows, schema=types, orient="row")


def schema(columns: tuple[Column, ...]) -> Any:
    """The types of typed columns."""
    return {column.name: POLARS_TYPES[column.kind] for column in columns}


def _variants(column: Column, contract: Contract) -> list[Any]:
    """Cells to try that the contract takes, the most telling first."""
    cells = _cells(column)
    if column.kind in ("category", "text") and column.dtype == "string":
        cells[4:4] = [word.upper() for word in contract.blanks[:3]]
    return [cell for cell in cells if _is_taken(cell, column, contract)]


def _is_taken(cell: Any, column: Column, contract: Contract) -> bool:
    try:
        column.read_value(cell, contract.blanks)
    except CellError:
        return False
    return True


def _cells(column: Column) -> list[Any]:
    low, high = column.minimum or 0.0, column.maximum or 0.0
    if column.kind == "number":
        span = max(high - low, 1.0)
        borders = [low, high, *column.quantiles]
        with np.errstate(over="ignore"):
            rounded = np.nextafter(np.array(borders, np.float32), np.float32(np.inf))
        cells = [
            high + 10 * span, low - 10 * span, *borders, *rounded.astype(float).tolist(), 0.0,
            -0.0, 1e-40, -1e-40, 5e-324, 0.1, 2.0**24 + 1, 2.0**53 + 1, 3.5e38, -3.5e38, 1e300,
            -1e300,
        ]  # fmt: skip
        return [None, *filter(np.isfinite, cells)]
    if column.kind == "boolean":
        return [None, True, False]
    if column.kind == "date":
        micros = [None, low * 1e6, high * 1e6, -2208988800e6, 4133894400e6, 951782400e6, 86400e6]
        stamps = pl.Series([None if m is None else int(m) for m in micros], dtype=pl.Int64)
        return stamps.cast(pl.Datetime("us")).to_list()
    if column.dtype != "string":
        return [None, "987654321", *column.levels()[:200]]
    if column.kind == "text":
        return [None, *_TEXTS]
    levels = column.levels()[:200]
    return [None, *_LEVELS, *levels, *(f"\u2003{level}\n" for level in levels[:3])]
