"""What every estimator gives."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import msgspec

from roadworthy.evaluate.resample import Floats
from roadworthy.monitor.predictions import Predictions

LEVEL = 0.9
Z90 = 1.6448536269514722
"""The normal quantile of LEVEL, both tails."""
BLIND = (
    "estimated from the inputs alone: it holds while the relation between inputs and outcome is "
    "what it was, and is blind to concept drift"
)


class Expected(msgspec.Struct, frozen=True):
    """An estimate with the interval in which the realised value lies nine times in ten.

    Attributes:
        value: The estimate.
        low: Lower end of the 90 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def complement(self) -> Expected:
        """Of a share of errors the share of right answers."""
        return Expected(1.0 - self.value, max(0.0, 1.0 - self.high), min(1.0, 1.0 - self.low))


class RowExpectation(NamedTuple):
    """What each row is expected to lose.

    Attributes:
        mean: Expected loss `[N]`.
        variance: Its variance for one row `[N]`, given the inputs.
        shared: Standard error of the mean of all rows that comes of the reference: it does not
            shrink with more rows.
    """

    mean: Floats
    variance: Floats
    shared: float


def mean_expected(rows: RowExpectation) -> Expected:
    """What the mean loss of rows is expected to be; losses are 0 or more."""
    count, mean = len(rows.mean), float(rows.mean.mean())
    half = Z90 * math.hypot(math.sqrt(float(rows.variance.mean()) / count), rows.shared)
    return Expected(mean, max(0.0, mean - half), mean + half)


class Estimator(Protocol):
    """Estimates quality without labels."""

    def estimate(self, predictions: Predictions) -> dict[str, Expected]:
        """Metric -> what it is expected to be on these rows; empty without rows."""
        ...

    def expectations(self, predictions: Predictions) -> dict[str, RowExpectation]:
        """Metric -> the rows' expected losses, for metrics that are means over rows."""
        ...
