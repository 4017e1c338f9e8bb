"""scikit-learn as the runtime: a fitted estimator that has no exact core is asked itself.

The plan still makes one vector of a row, so that contract, dialects, counts and logs are those of
any other bundle; the vector is turned back into the model's own row, and the model answers. That
costs the training libraries in the server and milliseconds a row: only bundles without a core are
served so, and only this module brings those libraries in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.engine import Engine, check_finite
from roadworthy.cells import canonical_text
from roadworthy.contract import Contract
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.prepare.rows import compile_rows

Floats = NDArray[np.float64]
Ask = Callable[[pl.DataFrame], Floats]
"""Typed rows -> probabilities `[N, K]` or predictions `[N]`; NaN for rows that it refuses."""


class RuntimeEngine(Engine):
    """An engine whose core is a fitted estimator; it may be asked from one thread at a time.

    Args:
        contract: The columns.
        plan: The vector: one number a column, as `foreign.core.plan_of` makes it.
        ask: The estimator.
        absent: Whether an absent column is an error or a blank.
    """

    def __init__(
        self,
        contract: Contract,
        plan: FeaturePlan,
        ask: Ask,
        absent: Literal["error", "blank"] = "error",
    ) -> None:
        self.contract = contract
        self.plan = plan
        self.classes = len(contract.target.classes)
        self.rows = compile_rows(contract, plan, absent)
        self._decode = msgspec.json.Decoder(self.rows.record).decode
        self._ask = ask
        self._columns = [_reader(feature) for feature in plan.features]
        self.run_one = self.run_bound = self._run_one

    def _run_one(self, values: Sequence[float]) -> list[float]:
        scores: list[float] = self.run_many(np.array([values])).reshape(-1).tolist()
        return scores

    def run_many(self, matrix: Floats) -> Floats:
        """Scores of many vectors; see `Engine.run_many`.

        Raises:
            RowsError: The model refuses rows, or has no finite answer to them.
        """
        width = (self.classes,) if self.classes else ()
        if not len(matrix):
            return np.empty((0, *width))
        frame = pl.DataFrame(
            {
                feature.column: read(matrix[:, place])
                for place, (feature, read) in enumerate(
                    zip(self.plan.features, self._columns, strict=True)
                )
            }
        )
        scores = self._ask(frame)
        check_finite(scores)
        return scores


def _reader(feature: Feature) -> Callable[[Floats], pl.Series]:
    """What makes typed cells of a feature's numbers."""
    if feature.read != "category":
        kind = pl.Boolean if feature.read == "boolean" else pl.Float64
        return lambda numbers: pl.Series(numbers).fill_nan(None).cast(kind)
    texts = np.array([*feature.levels, None, unseen_text(feature.levels)], dtype=object)
    return lambda numbers: pl.Series(texts[numbers.astype(np.int64)].tolist(), dtype=pl.String)


def unseen_text(levels: Sequence[str]) -> str:
    """A level that is none of these, of their kind: the one that stands for all unseen ones."""
    try:
        return canonical_text(1.0 + max(abs(float(level)) for level in levels))
    except ValueError:
        pass
    unseen = "never seen"
    while unseen in levels:
        unseen += "!"
    return unseen


def asker(estimator: Any) -> Ask:
    """What asks an estimator of the further formats for typed rows."""
    from roadworthy.bundle.foreign.rows import ask_each

    classes = len(getattr(estimator, "classes_", ()))
    return lambda frame: ask_each(estimator.model, estimator.prepare.transform(frame), classes)
