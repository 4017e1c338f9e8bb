"""Whether logged rows can be told from those of a reference by a model that is made to tell them.

A classifier sees what no column shows alone: columns that no longer hang together, a mixture that
changed. Trees are cross-fitted, so that every row is judged by trees that have not seen it (a
classifier two-sample test, Lopez-Paz and Oquab 2017). Its area under the ROC curve is compared with
the areas of placebos: windows in which nothing changed. Where the reference has enough days a
placebo is a choice of its days, of the same weekdays, against the others, for rows of one day hang
together; else it is a choice of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.evaluate.shift import row_matrix, telling_columns, told_apart
from roadworthy.monitor.findings import Finding
from roadworthy.monitor.history import weekdays
from roadworthy.monitor.predictions import Predictions
from roadworthy.monitor.rows import LEVEL

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
MIN_ROWS = 200
MIN_AREA = 0.55
"""Area below which rows are much alike, however sure it is that they are not the same."""
MIN_DAYS = 14
"""Days of a reference without which rows are compared, and days are not."""
_PLACEBOS = 20
_MOST_NEW, _MOST_OLD = 2000, 6000
_DAY = 86400.0


class Sample(NamedTuple):
    """Rows to compare.

    Attributes:
        frame: Typed rows.
        days: The day since 1970 of each `[N]`; None where it is not known.
    """

    frame: pl.DataFrame
    days: Days | None = None


class Told(NamedTuple):
    """How well rows can be told from those of a reference.

    Attributes:
        area: Area under the ROC curve: 0.5 is not at all, 1 is every row.
        usual: Mean area of the placebos; the same as `area` where none was needed.
        p_value: That it is a placebo's.
        days: Days of the reference that placebos were made of; 0 for rows.
        columns: The columns that tell them, with their shares, the first ones.
    """

    area: float
    usual: float
    p_value: float
    days: int
    columns: dict[str, float]


def sample_of(predictions: Predictions) -> Sample:
    """Logged rows to compare."""
    return Sample(predictions.inputs, (predictions.times // _DAY).astype(np.int64))


def tell_apart(
    reference: Sample,
    new: Sample,
    contract: Contract,
    *,
    without: frozenset[str] = frozenset(),
    seed: int = 0,
) -> Told | None:
    """Tell new rows from those of a reference; None where there are too few of either.

    Args:
        reference: Rows in which nothing was wrong.
        new: Rows to tell from them.
        contract: The columns.
        without: Columns that are not looked at: dates, and those whose data are broken.
        seed: Seed of samples, folds and trees.
    """
    columns = tuple(
        each for each in contract.columns if each.name not in without and each.kind != "date"
    )
    if min(reference.frame.height, new.frame.height) < MIN_ROWS or not columns:
        return None
    contract = msgspec.structs.replace(contract, columns=columns)
    random = np.random.default_rng(seed)
    reference, new = _thinned(reference, _MOST_OLD, random), _thinned(new, _MOST_NEW, random)
    old, other = (row_matrix(each.frame, contract).to_numpy() for each in (reference, new))
    both, which = np.vstack([old, other]), np.repeat([0, 1], [len(old), len(other)])
    return _judged(reference, new, both, which, contract, random, seed)


def _judged(
    reference: Sample,
    new: Sample,
    both: Floats,
    which: Days,
    contract: Contract,
    random: np.random.Generator,
    seed: int,
) -> Told:
    area = told_apart(both, which, seed)
    if area < MIN_AREA:
        return Told(area, area, 1.0, 0, {})
    placebos, freedom, days = _placebos(reference, new, both, random)
    areas = [told_apart(rows, kinds, seed) for rows, kinds in placebos]
    p_value = _p_value(area, np.array(areas), freedom)
    telling = telling_columns(both, which, contract, random, seed) if p_value < LEVEL else {}
    return Told(area, float(np.mean(areas)), p_value, days, telling)


def domain_findings(
    told: Told | None, rows: int, against: str, since: datetime | None, known: frozenset[str]
) -> list[Finding]:
    """What is worth telling.

    Args:
        told: What was found.
        rows: New rows.
        against: What they were compared with, in words.
        since: From when they are.
        known: Columns of which something else is told already.
    """
    if told is None or told.p_value >= LEVEL:
        return []
    names = list(told.columns)[:3]
    calibrated = "" if told.days else "; judged by rows, so this may be a usual day"
    news = bool(told.days) and not set(names) <= known
    return [
        Finding(
            "joint_drift",
            "warning" if news else "info",
            "rows",
            f"a model tells these rows from {against} in {told.area:.0%} of pairs, where "
            f"{told.usual:.0%} are usual, mostly by {', '.join(map(repr, names))}{calibrated}",
            {
                "area": told.area, "usual": told.usual, "p_value": told.p_value, "rows": rows,
                "days": told.days, "columns": ", ".join(names),
            },
            since,
            "look at these columns side by side: a join that went wrong, or a part of the world "
            "that is new; roadworthy advise tells whether it costs anything",
        )
    ]  # fmt: skip


def _thinned(sample: Sample, most: int, random: np.random.Generator) -> Sample:
    """A sample of rows, in their order."""
    rows = sample.frame.height
    if rows <= most:
        return sample
    chosen = np.sort(random.permutation(rows)[:most])
    return Sample(sample.frame[chosen], None if sample.days is None else sample.days[chosen])


_Placebo = tuple[Floats, Days]


def _placebos(
    reference: Sample, new: Sample, both: Floats, random: np.random.Generator
) -> tuple[list[_Placebo], int, int]:
    """Rows with kinds that mean nothing, the degrees of freedom of their areas, and the days."""
    old = both[: reference.frame.height]
    if reference.days is not None and new.days is not None:
        usual, wanted = np.unique(reference.days), np.unique(new.days)
        usual = usual[~np.isin(usual, wanted)]
        if len(usual) >= max(MIN_DAYS, 2 * len(wanted)):
            inside = np.isin(reference.days, usual)
            rows, days = old[inside], reference.days[inside]
            made = [(rows, np.isin(days, chosen).astype(np.int64))
                    for chosen in _day_sets(usual, wanted, random)]  # fmt: skip
            # choices of the same days resemble each other: as many are free as do not share any
            return made, min(_PLACEBOS, len(usual) // len(wanted)) - 1, len(usual)
    kinds = np.repeat([0, 1], [len(old), len(both) - len(old)])
    return [(both, random.permutation(kinds)) for _ in range(_PLACEBOS)], _PLACEBOS - 1, 0


def _day_sets(usual: Days, wanted: Days, random: np.random.Generator) -> Iterator[Days]:
    """As many usual days as are wanted, of their weekdays where there are some."""
    for _ in range(_PLACEBOS):
        chosen: list[int] = []
        for weekday in weekdays(wanted):
            left = usual[~np.isin(usual, chosen)]
            alike = left[weekdays(left) == weekday]
            chosen.append(int(random.choice(alike if len(alike) else left)))
        yield np.array(chosen, dtype=np.int64)


def _p_value(area: float, areas: Floats, freedom: int) -> float:
    """How likely a placebo's area is so large: Student's t of one more like them."""
    from scipy.special import stdtr

    spread = float(np.std(areas, ddof=1)) * math.sqrt(1.0 + 1.0 / len(areas))
    if area <= areas.max() or spread <= 0:
        return 1.0
    return float(stdtr(max(freedom, 1), -(area - float(areas.mean())) / spread))
