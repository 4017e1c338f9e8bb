"""From scores to an answer: the prediction and a probability for each class by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roadworthy.contract import Target


def best_class(scores: Sequence[float]) -> int:
    """Position of the largest probability; the first of equal ones, as NumPy's argmax."""
    if len(scores) == 2:
        return 1 if scores[1] > scores[0] else 0
    return max(range(len(scores)), key=scores.__getitem__)


def answer(target: Target, scores: Sequence[float]) -> dict[str, Any]:
    """One answer.

    Args:
        target: The contract's target.
        scores: A probability a class, or the one predicted number.

    Returns:
        `prediction`, and for classes `probabilities` by class name.
    """
    if target.task == "regression":
        return {"prediction": scores[0]}
    return {
        "prediction": target.classes[best_class(scores)],
        "probabilities": dict(zip(target.class_names, scores, strict=True)),
    }
