"""The plan as stock scikit-learn transformers.

This is the plan's second, independent reading: the parity check compares the served vectors with
what `SimpleImputer`, `MissingIndicator`, `OrdinalEncoder` and `CountVectorizer` make, and the
joblib format carries it. Only the tables that follow an `OrdinalEncoder`, hash buckets and the
parts of dates are Roadworthy's own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OrdinalEncoder, normalize

from roadworthy.contract import Contract
from roadworthy.prepare.plan import Feature, FeaturePlan, hash_bucket
from roadworthy.prepare.text import TOKEN, triples

Floats = NDArray[np.float64]


def reference_frame(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Typed columns as the scikit-learn pipeline takes them.

    Numbers, booleans (0 or 1) and dates (seconds since 1970) become Float64 with null for a
    blank, categories and texts String.
    """
    columns: list[pl.Expr | pl.Series] = []
    for column in contract.columns:
        cells: pl.Expr | pl.Series = pl.col(column.name)
        if column.kind == "date":
            micros = frame[column.name].cast(pl.Int64).cast(pl.Float64).to_numpy() / 1e6
            cells = pl.Series(column.name, micros, nan_to_null=True)
        elif column.kind not in ("category", "text"):
            cells = pl.col(column.name).cast(pl.Float64)
        columns.append(cells)
    return frame.select(columns)


def reference_transformer(plan: FeaturePlan, contract: Contract) -> ColumnTransformer:
    """A fitted ColumnTransformer of stock parts that makes the plan's vector.

    Each part is fitted on a row that holds the plan's own statistics, so that it imputes and
    codes with exactly those.

    Returns:
        Transformer of a `reference_frame` to a float64 matrix, columns in the plan's order.
    """
    typical: dict[str, Any] = {}
    steps: list[tuple[str, object, Any]] = []
    # plain numbers that stand side by side share a transformer
    for kind, group in itertools.groupby(plan.by_column().items(), key=lambda item: _kind(item)):
        columns = dict(group)
        if kind in ("kept", "imputed"):
            features = [members[0] for members in columns.values()]
            part = _numbers(features)
            typical |= {f.column: 0.0 if f.blank is None else f.blank for f in features}
            steps.append((f"{len(steps)}", part, list(columns)))
            continue
        for column, features in columns.items():
            step, example = _PARTS[features[0].read](features)
            typical[column] = example
            chosen = column if features[0].read == "word" else [column]
            steps.append((f"{len(steps)}", step, chosen))
    example = pl.DataFrame({name: [value] for name, value in typical.items()})
    return ColumnTransformer(steps, sparse_threshold=0.0).fit(example)


def _kind(item: tuple[str, list[Feature]]) -> str:
    name, features = item
    if len(features) == 1 and features[0].read in ("number", "boolean"):
        return "kept" if features[0].blank is None else "imputed"
    return f"column {name}"


def _numbers(features: list[Feature]) -> object:
    if features[0].blank is None:
        return FunctionTransformer(_as_floats)
    return SimpleImputer(strategy="most_frequent", keep_empty_features=True)


def _as_floats(cells: Any) -> Floats:
    return np.asarray(cells, dtype=np.float64)


def _number_and_blank(features: list[Feature]) -> tuple[object, Any]:
    main = features[0].blank
    parts = [
        ("number", _numbers(features[:1])),
        ("blank", MissingIndicator(features="all", error_on_new=False)),
    ]
    return FeatureUnion(parts), 0.0 if main is None else main


def _levels(features: list[Feature]) -> tuple[object, Any]:
    """Positions by an OrdinalEncoder, then each feature's own table of values."""
    levels = list(dict.fromkeys(level for f in features for level in f.levels)) or [""]
    readers = [feature.reader() for feature in features]
    rows = [[read(level) for read in readers] for level in levels]
    rows.append([feature.fill for feature in features])
    rows.append([0.0 if f.read == "blank" else f.unseen for f in features])
    encode = OrdinalEncoder(
        categories=[np.array([*levels, None], dtype=object)],
        handle_unknown="use_encoded_value",
        unknown_value=-1,
    )
    table = FunctionTransformer(look_up, kw_args={"table": np.array(rows)})
    return Pipeline([("encode", encode), ("look up", table)]), levels[0]


def look_up(codes: Any, table: Floats) -> Floats:
    """Rows of a table by code; a blank has the last but one, an unknown level (-1) the last."""
    chosen = np.asarray(codes, dtype=np.float64).reshape(-1).astype(np.int64)
    return table[chosen]


def _hashed(features: list[Feature]) -> tuple[object, Any]:
    main = features[0]
    blank = [feature.fill for feature in features]
    options = {"buckets": main.buckets, "blank": blank}
    return FunctionTransformer(hashed_levels, kw_args=options), ""


def hashed_levels(column: Any, buckets: int, blank: list[float]) -> Floats:
    """Hash buckets of levels; a second feature says that the cell was blank."""
    levels = _cells(column)
    rest = [0.0] * (len(blank) - 1)
    rows = [blank if x is None else [float(hash_bucket(x, buckets)), *rest] for x in levels]
    return np.array(rows, dtype=np.float64).reshape(len(levels), len(blank))


def _words(features: list[Feature]) -> tuple[object, Any]:
    chosen = [feature for feature in features if feature.read == "word"]
    vocabulary = {feature.levels[0]: place for place, feature in enumerate(chosen)}
    weights = np.array([feature.values[0] for feature in chosen])
    steps = [
        ("fill", FunctionTransformer(_blank_text)),
        ("count", CountVectorizer(vocabulary=vocabulary, token_pattern=TOKEN)),
        ("weigh", FunctionTransformer(weigh, kw_args={"weights": weights}, accept_sparse=True)),
        ("length", Normalizer()),
    ]
    parts: list[tuple[str, object]] = [("words", Pipeline(steps))]
    if len(chosen) < len(features):
        parts.append(("blank", FunctionTransformer(_is_blank)))
    return FeatureUnion(parts), "words"


def weigh(counts: Any, weights: Floats) -> Any:
    """Counts times weights, column by column."""
    return counts.astype(np.float64).multiply(weights).tocsr()


def _ngrams(features: list[Feature]) -> tuple[object, Any]:
    options = {
        "buckets": features[0].buckets,
        "blank": sum(feature.read == "blank" for feature in features),
    }
    return FunctionTransformer(hashed_texts, kw_args=options), ""


def hashed_texts(column: Any, buckets: int, blank: int) -> Floats:
    """Hashed letter triples of texts, each row of length 1; then whether the cell was blank."""
    texts = _cells(column)
    counts = np.zeros((len(texts), buckets))
    for row, text in enumerate(texts):
        for triple in triples(text or ""):
            counts[row, hash_bucket(triple, buckets)] += 1.0
    made = [normalize(counts)] + [_is_blank(texts)] * blank
    return np.hstack(made)


def _cells(column: Any) -> list[str | None]:
    cells = np.asarray(column, dtype=object).reshape(-1)
    return [x if isinstance(x, str) else None for x in cells]


def _blank_text(column: Any) -> list[str]:
    return [text or "" for text in _cells(column)]


def _is_blank(column: Any) -> Floats:
    return np.array([[text is None] for text in _cells(column)], dtype=np.float64)


def _dates(features: list[Feature]) -> tuple[object, Any]:
    parts = [feature.part for feature in features]
    blank = [feature.fill for feature in features]
    return FunctionTransformer(date_parts, kw_args={"parts": parts, "blank": blank}), 0.0


def date_parts(column: object, parts: list[str | None], blank: list[float]) -> Floats:
    """Parts of dates by NumPy's calendar.

    Args:
        column: Seconds since 1970, one column, NaN or null for a blank.
        parts: The parts to make, see `plan.DatePart`; None says that the cell was blank.
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

    def make(part: str | None) -> Any:
        name, _, turn = (part or "").partition("_")
        if not name:
            return np.zeros(len(known))
        whole = makers[name]()
        return _turn(whole, name, turn) if turn else whole

    made = [np.where(missing, fill, make(part)) for part, fill in zip(parts, blank, strict=True)]
    return np.column_stack(made).astype(np.float64)


def _turn(whole: Any, name: str, turn: str) -> Floats:
    period = {"month": 12, "day": 31, "weekday": 7, "yearday": 366, "hour": 24}[name]
    wave = math.sin if turn == "sin" else math.cos
    return np.array([wave(2.0 * math.pi * value / period) for value in whole.tolist()])


_PARTS: dict[str, Callable[[list[Feature]], tuple[object, Any]]] = {
    "number": _number_and_blank,
    "boolean": _number_and_blank,
    "category": _levels,
    "hash": _hashed,
    "word": _words,
    "ngram": _ngrams,
    "date": _dates,
}
