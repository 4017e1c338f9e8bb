"""The plan as stock scikit-learn transformers.

This is the plan's second, independent reading: the parity check compares the served vectors with
what `SimpleImputer` and `OrdinalEncoder` make, and the joblib format carries it. Only the parts of
dates are Roadworthy's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from roadworthy.contract import Contract
from roadworthy.prepare.plan import Feature, FeaturePlan


def reference_frame(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Typed columns as the scikit-learn pipeline takes them.

    Numbers, booleans (0 or 1) and dates (seconds since 1970) become Float64 with null for a
    blank, categories String.
    """
    columns: list[pl.Expr | pl.Series] = []
    for column in contract.columns:
        cells: pl.Expr | pl.Series = pl.col(column.name)
        if column.kind == "date":
            micros = frame[column.name].cast(pl.Int64).cast(pl.Float64).to_numpy() / 1e6
            cells = pl.Series(column.name, micros, nan_to_null=True)
        elif column.kind != "category":
            cells = pl.col(column.name).cast(pl.Float64)
        columns.append(cells)
    return frame.select(columns)


def reference_transformer(plan: FeaturePlan, contract: Contract) -> ColumnTransformer:
    """A fitted ColumnTransformer of stock parts that makes the plan's vector.

    Each part is fitted on one row that holds the plan's own statistics, so that it imputes and
    codes with exactly those.

    Returns:
        Transformer of a `reference_frame` to a float64 matrix, columns in the plan's order.
    """
    kinds = {column.name: column.kind for column in contract.columns}
    typical: dict[str, Any] = {}
    steps: list[tuple[str, object, list[str]]] = []
    # columns of one kind that stand side by side share a transformer
    for kind, group in itertools.groupby(
        plan.by_column().items(), key=lambda item: _PARTS.get(kinds[item[0]], item[0])
    ):
        columns = dict(group)
        features = [feature for members in columns.values() for feature in members]
        part: object
        if kind == "numbers":
            part = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
            typical |= {feature.column: feature.fill for feature in features}
        elif kind == "levels":
            part = _levels(features)
            typical |= {f.column: f.levels[int(f.fill)] for f in features}
        else:
            parts = [feature.part for feature in features]
            blank = [feature.fill for feature in features]
            part = FunctionTransformer(date_parts, kw_args={"parts": parts, "blank": blank})
            typical[features[0].column] = 0.0
        steps.append((f"{len(steps)}", part, list(columns)))
    example = pl.DataFrame({name: [value] for name, value in typical.items()})
    return ColumnTransformer(steps, sparse_threshold=0.0).fit(example)


_PARTS = {"number": "numbers", "boolean": "numbers", "category": "levels"}


def _levels(features: list[Feature]) -> Pipeline:
    impute = SimpleImputer(missing_values=None, strategy="most_frequent")
    encode = OrdinalEncoder(
        categories=[np.array(feature.levels, dtype=object) for feature in features],
        handle_unknown="use_encoded_value",
        unknown_value=int(features[0].unseen),
    )
    return Pipeline([("impute", impute), ("encode", encode)])


def date_parts(column: object, parts: list[str], blank: list[float]) -> NDArray[np.float64]:
    """Parts of dates by NumPy's calendar.

    Args:
        column: Seconds since 1970, one column, NaN or null for a blank.
        parts: The parts to make, see `plan.DATE_PARTS`.
        blank: What a blank becomes, for each part.

    Returns:
        Matrix `[rows, len(parts)]`.
    """
    seconds = np.asarray(column, dtype=np.float64).reshape(-1)
    missing = np.isnan(seconds)
    known = np.where(missing, 0.0, seconds)
    moment = np.round(known * 1e6).astype("int64").astype("datetime64[us]")
    day = moment.astype("datetime64[D]")
    month, year = day.astype("datetime64[M]"), day.astype("datetime64[Y]")
    makers: dict[str, Callable[[], Any]] = {
        "days": lambda: known / 86400.0,
        "year": lambda: year.astype(int) + 1970,
        "month": lambda: month.astype(int) % 12 + 1,
        "day": lambda: (day - month).astype(int) + 1,
        "weekday": lambda: (day.astype(int) + 3) % 7 + 1,
        "yearday": lambda: (day - year).astype(int) + 1,
        "hour": lambda: (moment - day).astype("timedelta64[h]").astype(int),
    }
    made = [
        np.where(missing, fill, makers[part]()) for part, fill in zip(parts, blank, strict=True)
    ]
    return np.column_stack(made).astype(np.float64)
