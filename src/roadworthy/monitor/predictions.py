"""Logged predictions as columns: what quality, estimates and advice are computed on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.errors import RowsError
from roadworthy.serve.prediction_log import Logged, read_newest
from roadworthy.table.conform import conform

Floats = NDArray[np.float64]
MOST = 200_000
"""Rows that are looked at, the newest: more would only cost time."""


@dataclass(frozen=True)
class Predictions:
    """Predicted rows, in the order of their time.

    Attributes:
        contract: The contract that their columns are typed by.
        keys: `request_id`, `row`, `version` and `time` (seconds since 1970) of each.
        inputs: The contract's columns, typed; null where a row was logged without one.
        scores: Probabilities `[N, K]` or predictions `[N]`.
        left_out: Rows that could not be used: of other classes, or logged twice.
    """

    contract: Contract
    keys: pl.DataFrame
    inputs: pl.DataFrame
    scores: Floats
    left_out: int = 0

    def __len__(self) -> int:
        return self.keys.height

    @property
    def times(self) -> Floats:
        """When each was answered, seconds since 1970."""
        times: Floats = self.keys["time"].to_numpy()
        return times

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Predictions:
        """Some of the rows."""
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Predictions(
            self.contract, self.keys[chosen], self.inputs[chosen], self.scores[chosen]
        )


def read_predictions(
    log: str | Path,
    contract: Contract,
    *,
    model: str | None = None,
    since: float = -math.inf,
    until: float = math.inf,
    most: int = MOST,
) -> Predictions:
    """Read a prediction log.

    Args:
        log: `[serve] log_folder`, or one segment.
        contract: The contract of the model in production.
        model: The model's name; None takes all.
        since: Seconds since 1970 from which.
        until: And before which.
        most: Rows at most, the newest.

    Raises:
        InputError: There is no log, or it cannot be read.
    """
    entries = read_newest(
        log, most, lambda entry: entry.time < until and model in (None, entry.model), since
    )
    return predictions_of(entries, contract)


def predictions_of(entries: Iterable[Logged], contract: Contract) -> Predictions:
    """Logged rows as columns; of a row that was logged twice the later answer counts."""
    ordered = sorted(entries, key=lambda each: (each.time, each.request_id, each.row))
    known = [(entry, found) for entry in ordered if (found := _scores(entry, contract))]
    last = {(entry.request_id, entry.row): number for number, (entry, _) in enumerate(known)}
    kept = [known[number] for number in sorted(last.values())]
    keys = pl.DataFrame(
        [(e.request_id, e.row, e.version, e.time) for e, _ in kept],
        schema={"request_id": pl.String, "row": pl.Int64, "version": pl.String, "time": pl.Float64},
        orient="row",
    )
    width = len(contract.target.classes)
    matrix = np.array([each for _, each in kept], dtype=np.float64)
    shaped = matrix.reshape(len(kept), width) if width else matrix.reshape(len(kept))
    inputs = _inputs([entry for entry, _ in kept], contract)
    return Predictions(contract, keys, inputs, shaped, len(ordered) - len(kept))


def _scores(entry: Logged, contract: Contract) -> list[float] | None:
    """A row's scores; None when it is of other classes or of another task."""
    names = contract.target.class_names
    if not names:
        number = entry.prediction
        good = isinstance(number, (int, float)) and not isinstance(number, bool)
        return [float(number)] if good and entry.probabilities is None else None
    shares = entry.probabilities or {}
    return [shares[name] for name in names] if set(shares) == set(names) else None


def _inputs(entries: list[Logged], contract: Contract) -> pl.DataFrame:
    """The contract's columns, typed; a cell that today's contract refuses is taken for blank."""
    from roadworthy.evaluate.incoming import read_incoming

    raw = pl.DataFrame(
        {
            column.name: pl.Series(
                column.name,
                [entry.inputs.get(column.name) for entry in entries],
                dtype={"number": pl.Float64, "boolean": pl.Boolean}.get(column.kind, pl.String),
                strict=False,
            )
            for column in contract.columns
        }
    )
    try:
        return conform(raw, contract, absent="blank")
    except RowsError:
        pass
    typed = read_incoming(raw, contract)
    if typed.frame.height == raw.height:
        return typed.frame
    relaxed = [
        pl.Series(name, [None] * raw.height, dtype=kind)
        for name, kind in typed.frame.schema.items()
    ]
    return pl.DataFrame(relaxed)
