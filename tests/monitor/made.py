"""Predictions with a truth that is known; the benchmarks measure on the same worlds."""

from benchmarks.worlds import BINARY, DAY, NUMBER, START, THREE, contract, outcomes, plan

PLAN = plan()

__all__ = ["BINARY", "DAY", "NUMBER", "PLAN", "START", "THREE", "contract", "outcomes"]
