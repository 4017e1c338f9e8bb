"""What is predicted, and how scores become an answer: classes, threshold, interval.

A part of the contract. It is plain data and needs nothing but msgspec.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
ClassValue = bool | int | str

_LARGEST = sys.float_info.max


class Interval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a prediction interval is drawn around a regression's prediction.

    Attributes:
        level: Share of true values that it must hold, 0 to 1.
        low: Distance from the prediction to the lower end, below 0 as a rule.
        high: Distance to the upper end, `low` or more.
        floor: None for a constant width. Else the distances are on the log scale, so that the
            width grows with the prediction, and smaller predictions count as this one (above 0).
    """

    level: float
    low: float
    high: float
    floor: float | None = None

    def around(self, prediction: float) -> list[float]:
        """Lower and upper end around one prediction, both finite."""
        if self.floor is None:
            low, high = prediction + self.low, prediction + self.high
        else:
            base = max(prediction, self.floor)
            low, high = base * math.exp(self.low), base * math.exp(self.high)
        return [min(max(end, -_LARGEST), _LARGEST) for end in (low, high)]

    def around_many(
        self, predictions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends `[N]` around predictions `[N]`: the same bits as `around`."""
        if self.floor is None:
            low, high = predictions + self.low, predictions + self.high
        else:
            base = predictions.clip(self.floor)
            low, high = base * math.exp(self.low), base * math.exp(self.high)
        return low.clip(-_LARGEST, _LARGEST), high.clip(-_LARGEST, _LARGEST)


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted.

    Attributes:
        name: The target's column.
        task: Binary or multiclass classification, or regression.
        scale: Standard deviation of a regression's training target: what differences between
            predictions are measured by.
        classes: The classes in the order of the model's probabilities; empty for regression.
        positive: Of two classes the one that `threshold` is about; None is the second.
        threshold: Probability of the positive class from which it is answered; None answers the
            more probable class.
        interval: How a regression's prediction interval is drawn; None draws none.
    """

    name: str
    task: Task
    classes: tuple[ClassValue, ...] = ()
    scale: float = 1.0
    positive: ClassValue | None = None
    threshold: float | None = None
    interval: Interval | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as texts: the keys of a probability answer."""
        return tuple(class_name(value) for value in self.classes)

    @property
    def positive_code(self) -> int:
        """Position of the positive class among two."""
        return 1 if self.positive is None else self.classes.index(self.positive)

    def predicted_codes(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """The position of the class that is answered.

        Args:
            scores: Probabilities `[N, K]`.

        Returns:
            `[N]`: where the positive class reaches its threshold; without one the most probable
            class, the first of equal ones.
        """
        if self.threshold is None:
            best: NDArray[np.int64] = scores.argmax(axis=1)
            return best
        code = self.positive_code
        reached = scores[:, code] >= self.threshold
        codes: NDArray[np.int64] = (reached == bool(code)).astype("int64")
        return codes


def class_name(value: ClassValue) -> str:
    """A class as a text, booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
