"""The plan compiled for whole columns: a Polars frame becomes a float64 matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.prepare.plan import Feature, FeaturePlan

_PARTS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "days": lambda moment: _days(moment),
    "year": lambda moment: moment.dt.year(),
    "month": lambda moment: moment.dt.month(),
    "day": lambda moment: moment.dt.day(),
    "weekday": lambda moment: moment.dt.weekday(),
    "yearday": lambda moment: moment.dt.ordinal_day(),
    "hour": lambda moment: moment.dt.hour(),
}


def encode_columns(frame: pl.DataFrame, plan: FeaturePlan) -> NDArray[np.float64]:
    """Encode typed columns.

    Args:
        frame: Columns as `Table.frame` holds them: numbers, Boolean, Datetime("us"), String.
        plan: The vector.

    Returns:
        Matrix `[rows, plan.width]`, float64, C order, without NaN.
    """
    matrix = np.empty((frame.height, plan.width), dtype=np.float64)
    for position, feature in enumerate(plan.features):
        matrix[:, position] = _encode(frame[feature.column], feature).to_numpy()
    return matrix


def _days(moment: pl.Series) -> pl.Series:
    # NumPy divides exactly; Polars multiplies by a reciprocal and is one bit off.
    micros = moment.cast(pl.Int64).fill_null(0).to_numpy().astype(np.float64)
    return pl.Series(micros / 1e6 / 86400.0).set(moment.is_null(), None)


def _encode(series: pl.Series, feature: Feature) -> pl.Series:
    if feature.read == "category":
        codes = series.replace_strict(
            pl.Series(feature.levels, dtype=pl.String),
            pl.Series(range(len(feature.levels)), dtype=pl.Float64),
            default=feature.unseen,
            return_dtype=pl.Float64,
        )
        return codes.set(series.is_null(), feature.fill)
    if feature.read == "date" and feature.part is not None:
        series = _PARTS[feature.part](series)
    return series.cast(pl.Float64).fill_null(feature.fill)
