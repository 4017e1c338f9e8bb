"""Findings on logged rows, where no counts are at hand: how they differ from the contract.

The contract keeps what training saw of each column: blanks, range, quantiles, levels. Breaks of the
data (blanks, another unit, a value that stands still, a renamed level) are told from drift by what
a world that merely changed does not do.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from roadworthy.contract import Column
from roadworthy.evaluate.resample import Floats
from roadworthy.evaluate.shift import contract_shift
from roadworthy.monitor.findings import Finding, Kind, Severity
from roadworthy.monitor.predictions import Predictions

MIN_ROWS = 50
_SIGMAS = 5.0
_BLANKS = 0.05
_UNSEEN = 0.02
_STUCK = 0.6
_FAR = 0.3
_ALL = 0.9
_PART = 0.05
_AT_TIMES, _ALIKE = 0.25, 0.12
_ALONE, _USUALLY = 0.99, 0.8
_MANY = 200
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PSI = 0.1
_P_VALUE = 0.001
_HELP = "look at how this column is filled at its source, and put it right there"


def logged_findings(predictions: Predictions, since: datetime | None = None) -> list[Finding]:
    """What is worth telling of the columns of logged rows.

    Args:
        predictions: Recent rows.
        since: From when they are, for messages.
    """
    if len(predictions) < MIN_ROWS:
        return []
    found: list[Finding] = []
    for column in predictions.contract.columns:
        told = broken_column(predictions.inputs[column.name], column)
        if told is not None:
            kind, severity, what, evidence = told
            said = f"{column.name!r}: {what}"
            found.append(Finding(kind, severity, column.name, said, evidence, since, _HELP))
    broken = {entry.subject for entry in found}
    for entry in contract_shift(predictions.inputs, predictions.contract).columns:
        if entry.column not in broken and entry.psi > _PSI and entry.p_value < _P_VALUE:
            evidence = {"psi": entry.psi, "p_value": entry.p_value, "rows": len(predictions)}
            grave: Severity = "warning" if entry.psi > 0.25 else "info"
            what = f"values of {entry.column!r} are distributed otherwise than in training"
            found.append(Finding("drift", grave, entry.column, what, evidence, since))
    return found


_Told = tuple[Kind, Severity, str, dict[str, Any]]


def broken_column(cells: pl.Series, column: Column) -> _Told | None:
    """What is broken in a column of logged rows: its kind, severity, words and numbers.

    Args:
        cells: Typed cells.
        column: What training saw of it.
    """
    rows, blanks = len(cells), cells.null_count()
    if _exceeds(blanks, rows, column.blank_share, _BLANKS):
        share = blanks / rows
        what = f"{share:.0%} of the cells are blank; in training it was {column.blank_share:.0%}"
        return "blank_rate", "serious", what, {"share": share, "training": column.blank_share}
    known = cells.drop_nulls()
    if column.kind == "category" and len(known):
        return _levels(known, column)
    if column.kind == "number" and len(known) >= MIN_ROWS and len(column.quantiles) == 5:
        return _numbers(known.to_numpy(), column)
    return None


def _levels(known: pl.Series, column: Column) -> _Told | None:
    strange = known.filter(~known.is_in(list(column.categories)))
    share, rows = len(strange) / len(known), len(known)
    total = max(1, sum(column.categories.values()))
    counts = dict(known.alias("level").value_counts().iter_rows())
    if share < _UNSEEN:
        return _one_level(counts, rows, column, total)
    vanished = [
        level
        for level, count in column.categories.items()
        if count / total > _UNSEEN and counts.get(level, 0) < 0.1 * count / total * rows
    ]
    lost = sum(column.categories[level] for level in vanished) / total
    names = ", ".join(repr(str(name)[:30]) for name in strange.unique().sort().head(3))
    evidence = {"share": share, "levels": names}
    if vanished and abs(lost - share) < 0.35 * max(lost, share):
        gone = ", ".join(map(repr, vanished[:3]))
        what = f"{names} came where {gone} went: a level was renamed"
        return "renamed_category", "serious", what, evidence | {"vanished": gone}
    what = f"{share:.0%} of the cells have a level that training never saw: {names}"
    return "unseen", "warning", what, evidence


def _one_level(counts: dict[str, int], rows: int, column: Column, total: int) -> _Told | None:
    """One level is all that comes, where others were usual."""
    level = max(counts, key=lambda name: counts[name])
    share, usual = counts[level] / rows, column.categories.get(level, 0) / total
    if rows < _MANY or share < _ALONE or usual > _USUALLY:
        return None
    what = f"{share:.0%} of the cells are {level[:30]!r}; in training it was {usual:.0%}"
    return "stuck", "warning", what, {"share": share, "usual": usual}


def _numbers(values: Floats, column: Column) -> _Told | None:
    distinct, counts = np.unique(values, return_counts=True)
    most = counts.max() / len(values)
    spread = column.quantiles[4] - column.quantiles[0]
    commonest = float(distinct[counts.argmax()])
    if most > _STUCK and spread > 0 and not _was_common(column, commonest):
        what = f"{most:.0%} of the cells hold {commonest:g}: the value stands still or is a filler"
        return "stuck", "serious", what, {"share": float(most), "value": commonest}
    there = np.asarray(column.quantiles)
    others = values[values != commonest]
    if most > _AT_TIMES and spread > 0 and len(others) >= _MANY and commonest not in there:
        left = np.quantile(others, _QUANTILES)
        if float(np.abs(left - there).max()) < _ALIKE * spread:
            what = f"{most:.0%} of the cells hold {commonest:g}, and the others are as they were"
            return "stuck", "warning", what, {"share": float(most), "value": commonest}
    low, high = column.minimum, column.maximum
    if low is None or high is None or spread <= 0:
        return None
    reach = 0.05 * spread
    beyond = (values < low - reach) | (values > high + reach)
    far = float(beyond.mean())
    here = np.quantile(values, _QUANTILES)
    factor = _same_shape(here, there)
    if factor is not None and (far > _FAR or abs(math.log(factor)) > math.log(3.0)):
        what = f"numbers are {factor:.4g} times as spread and the shape is the same: another unit"
        return "unit_change", "serious", what, {"factor": factor, "outside": far}
    if far > _PART and beyond.sum() >= MIN_ROWS:
        noise = 1.5 / math.sqrt(float(beyond.sum()))
        part = _same_shape(np.quantile(values[beyond], _QUANTILES), there, noise)
        if part is not None and abs(math.log(part)) > math.log(3.0):
            what = f"{far:.0%} of the cells are {part:.4g} times as spread: another unit in them"
            return "unit_change", "serious", what, {"factor": part, "outside": far}
    if far > _FAR:
        what = f"{far:.0%} of the cells lie outside the range of training"
        # a world that changes does not leave its whole past behind at once
        return "range", "serious" if far > _ALL else "warning", what, {"share": far}
    return None


def _was_common(column: Column, value: float) -> bool:
    """Whether half the training cells may have held a value: two of the quantiles are it."""
    return sum(abs(value - q) < 1e-12 for q in column.quantiles) >= 2


def _same_shape(here: Floats, there: Floats, noise: float = 0.0) -> float | None:
    """By how much one distribution is wider than another of the same shape; None for another.

    Another unit scales every quantile alike, or moves and scales the whole shape; a world that
    changes moves some quantiles and leaves others.
    """
    spread, before = here[4] - here[0], there[4] - there[0]
    if spread <= 0 or before <= 0:
        return None
    factor = float(spread / before)
    if abs(math.log(factor)) < math.log(1.4):
        return None
    if float(np.abs(here - factor * there).max()) < (0.12 + noise) * spread:
        return factor
    shapes = (here - here[2]) / spread, (there - there[2]) / before
    return factor if float(np.abs(shapes[0] - shapes[1]).max()) < 0.06 else None


def _exceeds(count: int, rows: int, share: float, least: float) -> bool:
    """Whether a share is above what it was, beyond chance and by enough to matter."""
    error = math.sqrt(max(share * (1 - share), 1.0 / rows) / rows)
    return count / rows - share > max(least, _SIGMAS * error)
