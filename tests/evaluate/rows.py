"""Rows with answers, made in a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from roadworthy.evaluate.scored import Scored
from roadworthy.project import Project
from roadworthy.table import Table, read_table


def table_of(columns: dict[str, Any], labels: Any, project: Project | None = None) -> Table:
    """A whole table, with `y` as target, that is its own holdout."""
    table = read_table(pl.DataFrame({**columns, "y": labels}), "y", project=project)
    return table.take(np.arange(len(table)))


def binary(columns: dict[str, Any], truth: np.ndarray, probability: np.ndarray) -> Scored:
    """A binary table (classes `no` and `yes`) with a model's probability of `yes`."""
    table = table_of(columns, np.where(truth, "yes", "no"))
    return Scored(table, np.column_stack([1 - probability, probability]))
