"""Steps 2 and 6: measure a model on rows that no choice has looked at, and decide gates on it.

Names are loaded when they are first used: who reads an interval loads nothing of training.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadworthy.evaluate.gates import Check
    from roadworthy.evaluate.metrics import Estimate
    from roadworthy.evaluate.report import ClassReport, Report, test
    from roadworthy.evaluate.scored import Scored
    from roadworthy.evaluate.slices import Slice
    from roadworthy.evaluate.stability import backtest, learning_curve

_FILES = {
    "Check": "gates",
    "ClassReport": "report",
    "Estimate": "metrics",
    "Report": "report",
    "Scored": "scored",
    "Slice": "slices",
    "backtest": "stability",
    "learning_curve": "stability",
    "test": "report",
}
__all__ = [
    "Check",
    "ClassReport",
    "Estimate",
    "Report",
    "Scored",
    "Slice",
    "backtest",
    "learning_curve",
    "test",
]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'roadworthy.evaluate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"roadworthy.evaluate.{_FILES[name]}"), name)
