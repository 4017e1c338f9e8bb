"""The guard: faults of a table that are found before a model is trained on it."""

from roadworthy.guard.checks import CHECKS, Finding
from roadworthy.guard.inspecting import check, inspect

__all__ = ["CHECKS", "Finding", "check", "inspect"]
