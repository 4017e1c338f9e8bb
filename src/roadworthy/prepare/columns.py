"""The plan compiled for whole columns: a Polars frame becomes a float64 matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.prepare.plan import Feature, FeaturePlan, circle
from roadworthy.prepare.text import text_encoder

Floats = NDArray[np.float64]

_PARTS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "days": lambda moment: _days(moment),
    "year": lambda moment: moment.dt.year(),
    "month": lambda moment: moment.dt.month(),
    "day": lambda moment: moment.dt.day(),
    "weekday": lambda moment: moment.dt.weekday(),
    "yearday": lambda moment: moment.dt.ordinal_day(),
    "hour": lambda moment: moment.dt.hour(),
}


def encode_columns(frame: pl.DataFrame, plan: FeaturePlan) -> Floats:
    """Encode typed columns.

    Args:
        frame: Columns as `Table.frame` holds them: numbers, Boolean, Datetime("us"), String.
        plan: The vector.

    Returns:
        Matrix `[rows, plan.width]`, float64, C order; NaN where the plan leaves a blank to the
        model.
    """
    matrix = np.empty((frame.height, plan.width), dtype=np.float64)
    plain: dict[str, tuple[int, Feature]] = {}
    start = 0
    for column, features in plan.by_column().items():
        if len(features) == 1 and features[0].read in ("number", "boolean"):
            plain[column] = start, features[0]
        else:
            _encode(frame[column], features, matrix[:, start : start + len(features)])
        start += len(features)
    _encode_plain(frame, plain, matrix)
    return matrix


def _encode_plain(frame: pl.DataFrame, plain: dict[str, tuple[int, Feature]], out: Floats) -> None:
    """Numbers that are taken as they are, all at once: wide tables have thousands."""
    if not plain:
        return
    places = [place for place, _ in plain.values()]
    cells = frame.select(pl.col(list(plain)).cast(pl.Float64)).to_numpy()
    out[:, places] = cells
    for place, feature in plain.values():
        if feature.blank is not None:
            blank = np.isnan(out[:, place])
            out[blank, place] = feature.blank


def _encode(series: pl.Series, features: list[Feature], out: Floats) -> None:
    texts = [f for f in features if f.read in ("word", "ngram")]
    if texts:
        out[:, : len(texts)] = _texts(series, texts)
    levels = [f for f in features if f.read in ("category", "hash")]
    if levels:
        out[:, : len(levels)] = _levels(series, levels)
    for place, feature in enumerate(features):
        if feature.read == "blank":
            out[:, place] = series.is_null().to_numpy()
        elif feature.read in ("number", "boolean", "date"):
            cells = _date(series, feature.part) if feature.part else series.cast(pl.Float64)
            out[:, place] = cells.cast(pl.Float64).fill_null(feature.fill).to_numpy()


def _levels(series: pl.Series, features: list[Feature]) -> Floats:
    """Each distinct level is looked up once, then spread over the rows."""
    known = series.unique(maintain_order=True).drop_nulls()
    readers = [feature.reader() for feature in features]
    table = [[read(level) for read in readers] for level in known]
    table.append([feature.fill for feature in features])
    return np.array(table, dtype=np.float64)[_places(series, known)]


def _texts(series: pl.Series, features: list[Feature]) -> Floats:
    known = series.unique(maintain_order=True).drop_nulls()
    encode = text_encoder(features)
    table = np.empty((len(known) + 1, len(features)))
    for place, text in enumerate(known):
        table[place] = encode(text)
    table[-1] = [feature.fill for feature in features]
    return table[_places(series, known)]


def _places(series: pl.Series, known: pl.Series) -> NDArray[np.int64]:
    """The position of each cell's level in `known`, a blank's after the last."""
    if not len(known):
        return np.zeros(len(series), dtype=np.int64)
    places = series.replace_strict(
        known, pl.Series(range(len(known)), dtype=pl.Int64), default=None, return_dtype=pl.Int64
    )
    return places.fill_null(len(known)).to_numpy()


def _date(series: pl.Series, part: str) -> pl.Series:
    name, _, turn = part.partition("_")
    whole = _PARTS[name](series)
    if not turn:
        return whole
    values = np.array(circle(name, turn))[whole.cast(pl.Int64).fill_null(0).to_numpy()]
    return pl.Series(values).set(whole.is_null(), None)


def _days(moment: pl.Series) -> pl.Series:
    # NumPy divides exactly; Polars multiplies by a reciprocal and is one bit off.
    micros = moment.cast(pl.Int64).fill_null(0).to_numpy().astype(np.float64)
    return pl.Series(micros / 1e6 / 86400.0).set(moment.is_null(), None)
