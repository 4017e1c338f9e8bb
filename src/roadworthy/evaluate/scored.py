"""Rows with their truth and a model's answers: what every measurement starts from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Target
from roadworthy.evaluate.metrics import (
    Estimate,
    Metrics,
    bootstrap,
    class_metrics,
    number_metrics,
    share_interval,
)
from roadworthy.evaluate.resample import Codes, Floats
from roadworthy.table import Table

Predict = Callable[[pl.DataFrame], Floats]
"""Typed columns -> probabilities `[N, K]`, or predictions `[N]` for a regression."""

GREATER = frozenset(
    ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "roc_auc",
     "precision_weighted", "recall_weighted", "f1_weighted", "pr_auc", "mcc", "r2",
     "precision", "recall", "f1")
)  # fmt: skip
"""Metrics of which more is better; of all others less is."""

_COSTLY = 400_000
"""Rows x classes above which areas under curves get no interval: it would take long."""


def is_better_greater(metric: str) -> bool:
    """Whether more of a metric is better; a class's metric is named `recall.CLASS`."""
    return metric.split(".")[0] in GREATER


@dataclasses.dataclass(frozen=True)
class Scored:
    """A table's rows with a model's answers.

    Attributes:
        table: Typed rows with their target.
        scores: Probabilities `[N, K]` or predictions `[N]`.
        seed: Seed of everything random that is done with them.
    """

    table: Table
    scores: Floats
    seed: int = 0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.table.contract.target

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted."""
        return self.table.task == "regression"

    @property
    def weights(self) -> Floats | None:
        """Weight of each row, where the table has weights."""
        return getattr(self.table, "weights", None)

    @property
    def groups(self) -> Codes | None:
        """Group of each row, where the table has groups."""
        return self.table.groups

    @cached_property
    def codes(self) -> Codes:
        """True class positions `[N]`."""
        return self.table.labels.astype(np.int64)

    @cached_property
    def predicted(self) -> Codes:
        """Answered class positions `[N]`."""
        return predicted_codes(self.target, self.scores)

    @cached_property
    def outcome(self) -> Floats:
        """What slices are compared by `[N]`: 1 for a right class, or the absolute error."""
        if self.regression:
            size: Floats = np.abs(self.scores - self.table.labels)
            return size
        right: Floats = (self.predicted == self.codes).astype(np.float64)
        return right

    @cached_property
    def loss(self) -> Floats:
        """What each row loses `[N]`: its log-loss, or its squared error."""
        if self.regression:
            squares: Floats = (self.scores - self.table.labels) ** 2
            return squares
        chosen = self.scores[np.arange(len(self)), self.codes]
        loss: Floats = -np.log(np.clip(chosen, 1e-15, 1.0))
        return loss

    @cached_property
    def levels(self) -> Codes:
        """Dense rank of the positive class's probability `[N]`, of two classes."""
        probability = self.scores[:, positive_code(self.target)]
        return np.unique(probability, return_inverse=True)[1]

    def metrics(self, *, areas: bool = True) -> Metrics:
        """The metrics of these answers, for any row weights."""
        if self.regression:
            return number_metrics(self.table.labels, self.scores)
        return class_metrics(self.codes, self.scores, predicted=self.predicted, areas=areas)

    def estimates(self) -> dict[str, Estimate]:
        """Every metric with its interval; classes by name, as in `recall.yes`."""
        costly = not self.regression and self.scores.shape[1] > 2 and self.scores.size > _COSTLY
        found = bootstrap(
            self.metrics(),
            len(self),
            self.seed,
            self.metrics(areas=False) if costly else None,
            weights=self.weights,
            groups=self.groups,
        )
        if self.weights is None and self.groups is None and not self.regression:
            found |= self._shares()
        names = self.target.class_names
        return {class_metric_name(name, names): estimate for name, estimate in found.items()}

    def _shares(self) -> dict[str, Estimate]:
        """Accuracy, and recall and precision a class, with Wilson's intervals."""
        right = self.predicted == self.codes
        found = {"accuracy": share_interval(int(right.sum()), len(self))}
        count = len(self.target.classes)
        hits = np.bincount(self.codes[right], minlength=count)
        for name, of in (("recall", self.codes), ("precision", self.predicted)):
            totals = np.bincount(of, minlength=count)
            for code in range(count):
                found[f"{name}.{code}"] = share_interval(int(hits[code]), int(totals[code]))
        return found

    def take(self, rows: NDArray[np.int64]) -> Scored:
        """The given rows."""
        return Scored(self.table.take(rows), self.scores[rows], self.seed)


def class_metric_name(name: str, classes: tuple[str, ...]) -> str:
    """`recall.1` as `recall.yes`."""
    family, _, code = name.partition(".")
    return f"{family}.{classes[int(code)]}" if code else name


def predicted_codes(target: Target, scores: Floats) -> Codes:
    """The class that is answered for each row: by the target's own rule where it has one."""
    decide = getattr(target, "predicted_codes", None)
    codes: Codes = scores.argmax(axis=1) if decide is None else decide(scores)
    return codes


def positive_code(target: Target) -> int:
    """Which of two classes is the positive one: the second, unless the target says otherwise."""
    return int(getattr(target, "positive_code", 1))


def sample_rows(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most so many row numbers, chosen evenly by chance, ascending."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
