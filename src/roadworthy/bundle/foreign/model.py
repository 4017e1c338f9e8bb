"""A model that was fitted elsewhere, with all that a trained one has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.foreign.onnx_model import OnnxRows
from roadworthy.bundle.foreign.rows import OwnRows, ask, ask_each
from roadworthy.train import TrainedModel

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ForeignModel(TrainedModel):
    """A model that was fitted elsewhere.

    Attributes:
        original: The fitted estimator or pipeline, as it came.
        rows: What makes its own rows of typed ones.
        core: Everything after the plan, as ONNX; empty where it cannot be written exactly.
        why: Why there is no core.
        lineage: Where it came from.
    """

    original: Any = None
    rows: OwnRows | OnnxRows | None = None
    core: bytes = b""
    why: str = ""
    lineage: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def scores(self, frame: pl.DataFrame) -> Floats:
        """Probabilities `[N, K]` or predictions `[N]` for typed rows, by the model itself."""
        return ask(self.original, self._own(frame), len(self.contract.target.classes))

    def each(self, frame: pl.DataFrame) -> Floats:
        """As `scores`; NaN for the rows that the model refuses."""
        return ask_each(self.original, self._own(frame), len(self.contract.target.classes))

    def why_refused(self, frame: pl.DataFrame) -> str:
        """The model's own words on rows that it refuses."""
        try:
            self.scores(frame)
        except Exception as error:  # every library refuses a row by an error of its own
            first = (str(error).strip().splitlines() or [""])[0]
            return f"{type(error).__name__}: {first[:200]}"
        return "its answer is not finite"

    def _own(self, frame: pl.DataFrame) -> Any:
        if self.rows is None:
            raise ValueError("a foreign model without its rows")
        return self.rows.transform(frame)
