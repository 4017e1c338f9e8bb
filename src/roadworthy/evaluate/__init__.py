"""Steps 2 and 6: measure a model on rows that no choice has looked at, and decide gates on it."""

from roadworthy.evaluate.gates import Check
from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.report import ClassReport, Report, test
from roadworthy.evaluate.scored import Scored
from roadworthy.evaluate.slices import Slice
from roadworthy.evaluate.stability import backtest, learning_curve

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
