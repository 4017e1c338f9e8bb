"""What a candidate is: a family of estimators that can be fitted against a clock."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import FunctionTransformer

from roadworthy.contract import Task
from roadworthy.prepare.plan import FeaturePlan

Matrix = NDArray[np.float64]
Config = dict[str, Any]

FLOAT32_MAX = float(np.finfo(np.float32).max)


class Rows(NamedTuple):
    """Encoded rows.

    Attributes:
        X: Matrix `[N, F]`.
        y: Target `[N]`: class position or number.
        weights: How much each row weighs in a fit or a score `[N]`; None weighs all the same.
    """

    X: Matrix
    y: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None


class Problem(NamedTuple):
    """What is to be learned and with what means.

    Attributes:
        task: The task.
        n_classes: Classes, 0 for regression.
        plan: The plan that made the matrix: says which features are codes.
        seed: Seed of everything random.
        threads: Threads that one fit may use.
        deadline: `time.monotonic()` at which a fit must be over.
        rate: What a boosting family multiplies its learning rate by, above 0 to 1: slower is
            better and takes longer.
        max_rounds: Boosting rounds that serving allows; None leaves it to the family.
        stop: Set when the user wants the search to end.
    """

    task: Task
    n_classes: int
    plan: FeaturePlan
    seed: int
    threads: int
    deadline: float
    rate: float = 1.0
    max_rounds: int | None = None
    stop: threading.Event | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative after it."""
        if self.stop is not None and self.stop.is_set():
            return -1.0
        return self.deadline - time.monotonic()

    def rounds(self, most: int) -> int:
        """Boosting rounds to try when a fast learner is given `most`."""
        slow = round(most / self.rate)
        return max(1, slow if self.max_rounds is None else min(slow, self.max_rounds))

    @property
    def patience(self) -> int:
        """Rounds without progress after which boosting stops."""
        return round(min(80.0, max(25.0, 25.0 / self.rate)))


class Fitted(NamedTuple):
    """A fitted estimator.

    Attributes:
        estimator: A scikit-learn estimator on the plan's matrix, `predict_proba` for classes
            (columns as in its `classes_`, which are class positions), `predict` for regression.
        rounds: Boosting rounds or trees it came to; None where there is no such thing.
        complete: False when the deadline cut the fit short.
    """

    estimator: Any
    rounds: int | None
    complete: bool = True


class Between(NamedTuple):
    """The range of a setting.

    Attributes:
        low: The least.
        high: The most.
        log: Whether ratios count and not differences.
        whole: Whether it is an integer.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, random: np.random.Generator) -> float | int:
        """A value at random."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else self[:2]
        value = float(random.uniform(low, high))
        value = math.exp(value) if self.log else value
        return round(value) if self.whole else float(f"{value:.4g}")


class OneOf(NamedTuple):
    """The values of a setting."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """A value at random."""
        return self.values[int(random.integers(len(self.values)))]


Space = dict[str, Between | OneOf]


class Candidate(Protocol):
    """A family of models.

    Attributes:
        family: Its name.
        settings: The library's own names of settings, which a grid may use.
    """

    family: str
    settings: frozenset[str]

    def configurations(self, problem: Problem) -> list[Config]:
        """The settings worth trying, the most promising first."""
        ...

    def space(self, problem: Problem) -> Space:
        """The settings that a longer search may move within; empty where there are none."""
        ...

    def fit(
        self,
        config: Config,
        problem: Problem,
        train: Rows,
        valid: Rows | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit one estimator.

        Args:
            config: One of `configurations`, or of `space`.
            problem: Task, seed, threads and deadline.
            train: Rows to fit on.
            valid: Rows for early stopping; None fits `rounds` rounds.
            rounds: Rounds to fit when there is no validation part.
        """
        ...


def clip_to_float32() -> FunctionTransformer:
    """The range in which libraries of float32 compare; beyond it they refuse or see infinity."""
    limits = {"a_min": -FLOAT32_MAX, "a_max": FLOAT32_MAX}
    return FunctionTransformer(np.clip, kw_args=limits)
