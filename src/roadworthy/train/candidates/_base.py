"""What a candidate is: a family of estimators that can be fitted against a clock."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Task
from roadworthy.prepare.plan import FeaturePlan

Matrix = NDArray[np.float64]
Config = dict[str, Any]


class Rows(NamedTuple):
    """Encoded rows: matrix `[N, F]` and target `[N]` (class position or number)."""

    X: Matrix
    y: NDArray[np.float64]


class Problem(NamedTuple):
    """What is to be learned and with what means.

    Attributes:
        task: The task.
        n_classes: Classes, 0 for regression.
        plan: The plan that made the matrix: says which features are codes.
        seed: Seed of everything random.
        threads: Threads that one fit may use.
        deadline: `time.monotonic()` at which a fit must be over.
    """

    task: Task
    n_classes: int
    plan: FeaturePlan
    seed: int
    threads: int
    deadline: float

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.deadline - time.monotonic()


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


class Candidate(Protocol):
    """A family of models."""

    family: str

    def configurations(self, problem: Problem) -> list[Config]:
        """The settings worth trying, the most promising first."""
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
            config: One of `configurations`.
            problem: Task, seed, threads and deadline.
            train: Rows to fit on.
            valid: Rows for early stopping; None fits `rounds` rounds.
            rounds: Rounds to fit when there is no validation part.
        """
        ...
