"""From scores to an answer: the prediction, a probability for each class, an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from roadworthy.contract import Target


def best_class(scores: Sequence[float]) -> int:
    """Position of the largest probability; the first of equal ones, as NumPy's argmax."""
    if len(scores) == 2:
        return 1 if scores[1] > scores[0] else 0
    return max(range(len(scores)), key=scores.__getitem__)


def class_chooser(target: Target) -> Callable[[Sequence[float]], int]:
    """What finds the position of the class to answer from one row's probabilities.

    Returns:
        For one row what `Target.predicted_codes` is for many: `best_class`, or where the target
        has a threshold a comparison with it.
    """
    threshold = target.threshold
    if threshold is None:
        return best_class
    positive = target.positive_code
    negative = 1 - positive

    def by_threshold(scores: Sequence[float]) -> int:
        return positive if scores[positive] >= threshold else negative

    return by_threshold


def answer(target: Target, scores: Sequence[float]) -> dict[str, Any]:
    """One answer.

    Args:
        target: The contract's target.
        scores: A probability a class, or the one predicted number.

    Returns:
        `prediction`, for classes `probabilities` by class name, and for a regression with
        prediction intervals `interval`, its two ends.
    """
    if target.task == "regression":
        if target.interval is None:
            return {"prediction": scores[0]}
        return {"prediction": scores[0], "interval": target.interval.around(scores[0])}
    return {
        "prediction": target.classes[class_chooser(target)(scores)],
        "probabilities": dict(zip(target.class_names, scores, strict=True)),
    }
