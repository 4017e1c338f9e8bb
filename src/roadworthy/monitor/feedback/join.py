"""Join labels to predictions: what was answered beside what turned out to be true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Target
from roadworthy.evaluate import Scored
from roadworthy.evaluate.incoming import read_labels as read_truths
from roadworthy.monitor.predictions import Floats, Predictions
from roadworthy.table import ColumnProfile, Table

_DELAY_SHARE = 0.9
CLOCK_SECONDS = 60.0
"""By how much clocks of hosts may differ without a word."""


@dataclass(frozen=True)
class Outcomes:
    """Predictions with what is known of their truth.

    Attributes:
        predictions: The predictions.
        labels: Class position or number `[N]`; NaN where it is not known.
        label_times: When the label became known `[N]`, seconds since 1970; NaN where it is not.
        unknown_ids: Labels whose request or row is not among the predictions.
        strange: Rows whose label is no class or number of the target -> that label.
        ahead: Labels that were said to be known only after they came: of a clock that is ahead.
    """

    predictions: Predictions
    labels: Floats
    label_times: Floats
    unknown_ids: int = 0
    strange: Mapping[int, str] = field(default_factory=dict)
    ahead: int = 0

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.predictions.contract.target

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether a row's label is known `[N]`."""
        return np.isfinite(self.labels)

    def take(self, rows: NDArray[np.bool_]) -> Outcomes:
        """Some of the rows."""
        places = np.cumsum(rows) - 1
        strange = {int(places[row]): label for row, label in self.strange.items() if rows[row]}
        return Outcomes(
            self.predictions.take(rows), self.labels[rows], self.label_times[rows], strange=strange
        )

    @property
    def unknown_values(self) -> dict[str, int]:
        """Labels that are no class or number of the target -> how many rows."""
        return dict(Counter(self.strange.values()))

    def delay(self) -> float:
        """Seconds within which nine of ten labels that came did come; 0 where none did."""
        waits = (self.label_times - self.predictions.times)[self.known]
        return float(max(0.0, np.quantile(waits, _DELAY_SHARE))) if len(waits) else 0.0

    def scored(self, seed: int = 0) -> Scored:
        """The labelled rows with their answers, as measurements take them."""
        known = np.flatnonzero(self.known)
        contract, frame = self.predictions.contract, self.predictions.inputs[known]
        kinds = {column.name: column.kind for column in contract.columns}
        profiles = tuple(
            ColumnProfile(
                name=cells.name,
                kind=kinds[cells.name],
                reason="by the contract",
                blanks=cells.null_count(),
                distinct=cells.drop_nulls().n_unique(),
                used=True,
            )
            for cells in frame
        )
        table = Table(
            name=contract.target.name,
            source="the prediction log and its labels",
            frame=frame,
            labels=self.labels[known],
            target=contract.target.name,
            task=contract.target.task,
            classes=contract.target.classes,
            profiles=profiles,
            contract=contract,
        )
        return Scored(table, self.predictions.scores[known], seed)


def join(predictions: Predictions, labels: pl.DataFrame) -> Outcomes:
    """Put labels beside predictions.

    Args:
        predictions: The predictions.
        labels: As `LabelStore.frame` gives them.

    Returns:
        Every prediction, labelled or not, and how many labels belong to none.
    """
    keys = predictions.keys.select("request_id", "row").with_row_index("at")
    beside = keys.join(labels, on=["request_id", "row"], how="left").sort("at")
    found = int(beside["label"].count())
    cells = [None if cell is None else msgspec.json.decode(cell) for cell in beside["label"]]
    truths, strange = _truths(cells, predictions)
    said: Any = beside["label_time"].to_numpy().astype(np.float64)
    came: Any = beside["received"].to_numpy().astype(np.float64)
    return Outcomes(
        predictions,
        truths,
        np.where(np.isfinite(truths), np.minimum(said, came), np.nan),
        labels.height - found,
        strange,
        int((said > came + CLOCK_SECONDS).sum()),
    )


def _truths(cells: list[Any], predictions: Predictions) -> tuple[Floats, dict[int, str]]:
    """Class position or number of each label, and those that are none."""
    contract = predictions.contract
    name = contract.target.name
    texts = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    numeric = all(isinstance(cell, (int, float)) for cell in texts if cell is not None)
    kind = pl.Float64 if numeric and contract.target.task == "regression" else pl.String
    column = pl.Series(name, [_cell(cell, kind) for cell in texts], dtype=kind)
    labels, known, _ = read_truths(column.to_frame(), contract, name)
    strange = {
        row: str(cell)[:40]
        for row, (cell, good) in enumerate(zip(cells, known, strict=True))
        if cell is not None and not good
    }
    return np.where(known, labels, np.nan), strange


def _cell(cell: Any, kind: Any) -> Any:
    if cell is None or kind == pl.Float64:
        return cell
    return str(cell)
