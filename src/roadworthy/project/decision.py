"""`[train.decision]`: how a probability becomes a class, for two classes."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.project._range import Range


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a wrong answer costs, in any unit; a right one costs nothing."""

    false_positive: float = 1.0
    false_negative: float = 1.0


class DecisionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train.decision]`: the positive class and what its threshold must serve.

    Attributes:
        threshold: Probability of the positive class from which it is answered. `auto` is the one
            that serves the aim below best; with no aim the more probable class is answered.
        positive: The class, by name, whose threshold it is; None takes the second.
        cost: Aim: the least mean cost.
        recall_floor: Aim: the best precision at this recall or more.
        precision_floor: Aim: the best recall at this precision or more.
        maximise: Aim: the best value of this metric.
    """

    threshold: Literal["auto"] | float = "auto"
    positive: str | int | bool | None = None
    cost: Cost | None = None
    recall_floor: float | None = None
    precision_floor: float | None = None
    maximise: Literal["f1", "balanced_accuracy", "accuracy"] | None = None

    @property
    def aims(self) -> tuple[str, ...]:
        """The aims that are stated."""
        names = ("cost", "recall_floor", "precision_floor", "maximise")
        return tuple(name for name in names if getattr(self, name) is not None)

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        fixed = self.threshold != "auto"
        cost = self.cost or Cost()
        costs = (cost.false_positive, cost.false_negative)
        good_costs = all(0 <= value < float("inf") for value in costs) and sum(costs) > 0
        return [
            Range(not fixed or 0 < float(self.threshold) < 1, "threshold", "between 0 and 1"),
            Range(good_costs, "cost", "two numbers of 0 or more, one of them above 0"),
            Range(_share(self.recall_floor), "recall_floor", "above 0 and at most 1"),
            Range(_share(self.precision_floor), "precision_floor", "above 0 and at most 1"),
            Range(
                len(self.aims) + fixed <= 1,
                ", ".join((*(("threshold",) if fixed else ()), *self.aims)) or "threshold",
                "one of a fixed threshold, cost, recall_floor, precision_floor and maximise",
            ),
        ]


def _share(value: float | None) -> bool:
    return value is None or 0 < value <= 1
