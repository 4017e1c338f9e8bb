"""Steps 2 and 6: measure a model on rows that no choice has looked at."""

from roadworthy.evaluate.metrics import Estimate
from roadworthy.evaluate.report import ClassReport, Report, test
from roadworthy.evaluate.slices import Slice

__all__ = ["ClassReport", "Estimate", "Report", "Slice", "test"]
