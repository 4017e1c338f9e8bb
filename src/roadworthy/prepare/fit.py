"""Learn a FeaturePlan from training rows."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from roadworthy.contract import Column, Contract
from roadworthy.prepare.choices import ORDERED_LEVELS, Choice, check_options, choose
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.plan import DatePart, Feature, FeaturePlan, date_part
from roadworthy.prepare.text import words
from roadworthy.project import PrepareSection

Floats = NDArray[np.float64]
_FEW = 4
_BLANK = "\0blank"  # no level holds a NUL character
_PARTS: tuple[DatePart, ...] = ("days", "year", "month", "day", "weekday", "yearday")
_CYCLIC: tuple[DatePart, ...] = (
    "days", "year", "month_sin", "month_cos", "day_sin", "day_cos", "weekday_sin", "weekday_cos",
    "yearday_sin", "yearday_cos",
)  # fmt: skip


class Prepared(NamedTuple):
    """A plan and the matrix of the rows that it was learned from.

    The matrix is what a model is fitted on. It is the plan's own, but for columns whose encoding
    looks at the target: there each row is coded by what the other rows say (cross-fitting).
    """

    plan: FeaturePlan
    matrix: Floats


class Goal(NamedTuple):
    """What is predicted: the target of the rows `[N]`, the task, and the classes (0: none)."""

    labels: Floats
    task: str
    classes: int
    seed: int


def fit_plan(
    frame: pl.DataFrame, labels: Floats, contract: Contract, options: PrepareSection
) -> FeaturePlan:
    """Learn a plan; see `fit_encode`."""
    return fit_encode(frame, labels, contract, options).plan


def fit_encode(
    frame: pl.DataFrame,
    labels: Floats,
    contract: Contract,
    options: PrepareSection,
    seed: int = 0,
) -> Prepared:
    """Learn a plan and encode the rows that it is learned from.

    Args:
        frame: Training rows, typed as `Table.frame`.
        labels: The target of these rows, `[N]`: a class's position or a number.
        contract: The columns to use.
        options: `[prepare]`.
        seed: Seed of the cross-fitting.

    Returns:
        The plan and the matrix `[N, plan.width]`.

    Raises:
        InputError: What the project wants of a column cannot be served.
    """
    check_options(contract, options)
    goal = Goal(labels, contract.target.task, len(contract.target.classes), seed)
    features: list[Feature] = []
    crossed: list[tuple[int, Floats]] = []
    for column in contract.columns:
        series = frame[column.name]
        choice = choose(column, series, goal.task, goal.classes, options)
        found, means = _features(column, series, choice, goal, options)
        if means is not None:
            crossed.append((len(features), means))
        features += found
    plan = FeaturePlan(tuple(features))
    matrix = encode_columns(frame, plan)
    for start, means in crossed:
        matrix[:, start : start + means.shape[1]] = means
    return Prepared(plan, matrix)


def _features(
    column: Column, series: pl.Series, choice: Choice, goal: Goal, options: PrepareSection
) -> tuple[list[Feature], Floats | None]:
    means: Floats | None = None
    if column.kind == "number":
        features = [_number(column, series, choice)]
    elif column.kind == "boolean":
        features = [_boolean(column, series, choice)]
    elif column.kind == "date":
        features = _dates(column, series, choice)
    elif column.kind == "text":
        features = _text(column, series, choice, options)
    else:
        features, means = _category(column, series, choice, goal, options)
    if choice.indicator:
        said = Feature(column=column.name, read="blank", label="blank", blank=1.0, scale="none")
        features.append(said)
    return features, means


def _number(column: Column, series: pl.Series, choice: Choice) -> Feature:
    known = series.drop_nulls().cast(pl.Float64)
    blank: float | None = None
    if choice.blank == "constant":
        blank = float(choice.fill or 0.0)
    elif choice.blank == "most_frequent":
        blank = _most_frequent(known)
    elif choice.blank != "keep":
        middle = known.median() if choice.blank == "median" else known.mean()
        if middle is None or not np.isfinite(middle):  # type: ignore[arg-type]
            middle = known.median() or 0.0  # all blank in this fold, or a sum beyond float64
        blank = float(middle)  # type: ignore[arg-type]
    return Feature(column=column.name, read="number", blank=blank, scale=choice.scale)


def _most_frequent(known: pl.Series) -> float:
    """The most frequent value, the smallest of several."""
    return float(known.mode().min() or 0.0)  # type: ignore[arg-type]


def _boolean(column: Column, series: pl.Series, choice: Choice) -> Feature:
    blank: float | None = None
    if choice.blank == "constant":
        blank = float(choice.fill or 0.0)
    elif choice.blank != "keep":
        blank = float(float(series.drop_nulls().cast(pl.Float64).mean() or 0.0) > 0.5)  # type: ignore[arg-type]
    return Feature(column=column.name, read="boolean", blank=blank)


def _dates(column: Column, series: pl.Series, choice: Choice) -> list[Feature]:
    micros = series.drop_nulls().cast(pl.Int64).cast(pl.Float64)
    middle = _most_frequent(micros) if choice.blank == "most_frequent" else micros.mean() or 0.0
    seconds = float(round(float(middle) / 1e6))  # type: ignore[arg-type]
    parts = _PARTS if choice.encoding == "parts" else _CYCLIC
    if column.dtype == "datetime":
        hours: tuple[DatePart, ...] = ("hour_sin", "hour_cos")
        parts = (*parts, *(("hour",) if choice.encoding == "parts" else hours))
    return [
        Feature(
            column=column.name,
            read="date",
            label=part,
            part=part,
            blank=None if choice.blank == "keep" else date_part(seconds, part),
            scale="none" if "_" in part else choice.scale,
        )
        for part in parts
    ]


def _text(
    column: Column, series: pl.Series, choice: Choice, options: PrepareSection
) -> list[Feature]:
    count = options.text_features
    common = {"column": column.name, "blank": 0.0, "scale": "none"}
    if choice.encoding == "hash":
        return [
            msgspec.convert(
                {**common, "read": "ngram", "label": f"bucket {n}", "bucket": n, "buckets": count},
                Feature,
            )
            for n in range(count)
        ]
    rows: Counter[str] = Counter()
    for text in series.drop_nulls():
        rows.update(set(words(text)))
    known = len(series) - series.null_count()
    most = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    usual = [(word, n) for word, n in most if n >= min(3, known)][:count] or [("", 1)]
    return [
        msgspec.convert(
            {
                **common,
                "read": "word",
                "label": word,
                "levels": (word,),
                "values": (math.log((1 + known) / (1 + n)) + 1.0,),
            },
            Feature,
        )
        for word, n in usual
    ]


def _category(
    column: Column, series: pl.Series, choice: Choice, goal: Goal, options: PrepareSection
) -> tuple[list[Feature], Floats | None]:
    cells = _fill(series, choice)
    counts = _counts(cells)
    kept = {level: n for level, n in counts.items() if n >= options.rare_rows}
    kept = dict(list(kept.items())[: options.max_levels])
    rare = [level for level in counts if level not in kept] if options.rare_rows > 1 else []
    if choice.encoding == "one_hot":
        return _one_hot(column.name, kept, rare, choice), None
    if choice.encoding == "frequency":
        return [_frequency(column.name, counts, len(series), choice)], None
    if choice.encoding == "hash":
        return [_hash(column.name, options.buckets, choice)], None
    if choice.encoding == "target":
        return _target_means(column.name, cells, choice, goal)
    return [_codes(column.name, cells, kept, rare, choice, goal, options)], None


def _fill(series: pl.Series, choice: Choice) -> pl.Series:
    """Levels with blanks as a level of their own, or imputed."""
    if choice.blank == "constant":
        return series.fill_null(str(choice.fill))
    if choice.blank == "most_frequent":
        counts = _counts(series.drop_nulls())
        return series.fill_null(next(iter(counts), ""))
    return series.fill_null(_BLANK)


def _counts(cells: pl.Series) -> dict[str, int]:
    """Level -> rows, the most frequent first."""
    counts = cells.alias("level").value_counts()  # a column may be called "count"
    counts = counts.sort(["count", "level"], descending=[True, False])
    return dict(counts.iter_rows())


def _feature(
    name: str, label: str, table: dict[str, float], unseen: float, blank: float
) -> Feature:
    levels = {level: value for level, value in table.items() if level != _BLANK}
    return Feature(
        column=name,
        read="category",
        label=label,
        blank=blank,
        levels=tuple(levels),
        values=tuple(levels.values()),
        unseen=unseen,
    )


def _blank_level(cells: pl.Series, choice: Choice) -> str:
    """The level that a blank is taken for."""
    if choice.blank == "constant":
        return str(choice.fill)
    if choice.blank == "most_frequent":
        return next(iter(_counts(cells)), _BLANK)
    return _BLANK


def _codes(
    name: str,
    cells: pl.Series,
    kept: dict[str, int],
    rare: list[str],
    choice: Choice,
    goal: Goal,
    options: PrepareSection,
) -> Feature:
    order = list(kept)
    given = options.of(name).order
    if given:
        order = [*given, *(level for level in order if level not in given)]
    elif goal.task != "multiclass" and 1 < len(kept) <= ORDERED_LEVELS:
        order = _by_target(cells, order, goal.labels)
    table = {level: float(code) for code, level in enumerate(order)}
    rest = float(len(table)) if rare else -1.0
    table |= dict.fromkeys(rare, rest)
    usual = next((table[level] for level in kept if level != _BLANK), 0.0)
    blank = table.get(_blank_level(cells, choice), usual)
    feature = _feature(name, "", table, rest, blank)
    if feature.values == tuple(float(code) for code in range(len(feature.levels))):
        feature = msgspec.structs.replace(feature, values=())
    return msgspec.structs.replace(feature, code=choice.encoding != "ordinal")


def _by_target(cells: pl.Series, order: list[str], labels: Floats) -> list[str]:
    """Levels in the order of the target's mean."""
    codes = cells.replace_strict(order, range(len(order)), default=None, return_dtype=pl.Int64)
    known = codes.is_not_null().to_numpy()
    coded = codes.drop_nulls().to_numpy()
    # NumPy adds in row order: the same bits on every run, unlike a threaded group-by.
    means = np.bincount(coded, labels[known]) / np.bincount(coded)
    return [level for _, level in sorted(zip(means, order, strict=True))]


def _one_hot(name: str, kept: dict[str, int], rare: list[str], choice: Choice) -> list[Feature]:
    features = []
    for level in sorted(kept):
        label = "= (blank)" if level == _BLANK else f"={level}"
        blank = float(level == (_BLANK if choice.blank == "keep" else _first(kept, choice)))
        features.append(_feature(name, label, {level: 1.0}, 0.0, blank))
    if rare:
        blank = float(choice.blank == "keep" and _BLANK in rare)
        features.append(_feature(name, "= (rare)", dict.fromkeys(rare, 1.0), 1.0, blank))
        known = tuple(level for level in kept if level != _BLANK)
        features[-1] = msgspec.structs.replace(
            features[-1],
            levels=(*features[-1].levels, *known),
            values=(*features[-1].values, *([0.0] * len(known))),
        )
    return [msgspec.structs.replace(feature, scale="none") for feature in features]


def _first(kept: dict[str, int], choice: Choice) -> str:
    return str(choice.fill) if choice.blank == "constant" else next(iter(kept), _BLANK)


def _frequency(name: str, counts: dict[str, int], rows: int, choice: Choice) -> Feature:
    """Each level's share of the rows, as a logarithm; an unseen one is as rare as one row."""
    table = {level: math.log(n / rows) for level, n in counts.items()}
    least = math.log(1.0 / max(1, rows))
    blank = table.get(_BLANK if choice.blank == "keep" else _first(counts, choice), least)
    return _feature(name, "share", table, least, blank)


def _hash(name: str, buckets: int, choice: Choice) -> Feature:
    blank = float(buckets)
    if choice.blank != "keep":
        text = str(choice.fill)
        feature = Feature(column=name, read="hash", buckets=buckets)
        blank = feature.reader()(text)
    return Feature(
        column=name, read="hash", label="bucket", blank=blank, buckets=buckets, code=True
    )


def _target_means(
    name: str, cells: pl.Series, choice: Choice, goal: Goal
) -> tuple[list[Feature], Floats]:
    """Smoothed means of the target (Micci-Barreca 2001) by scikit-learn, cross-fitted."""
    kind = {"binary": "binary", "multiclass": "multiclass"}.get(goal.task, "continuous")
    folds = KFold if kind == "continuous" else StratifiedKFold
    parts = folds(min(5, _rarest(goal)), shuffle=True, random_state=goal.seed)
    encoder = TargetEncoder(target_type=kind, cv=parts)
    column = cells.to_numpy().astype(object).reshape(-1, 1)
    labels = goal.labels if kind == "continuous" else goal.labels.astype(int)
    if len(labels) < _FEW:  # too few to leave some out
        crossed = encoder.fit(column, labels).transform(column)
    else:
        crossed = encoder.fit_transform(column, labels)
    levels = [str(level) for level in encoder.categories_[0]]
    priors = np.atleast_1d(np.asarray(encoder.target_mean_, dtype=np.float64))
    features = []
    for place, means in enumerate(encoder.encodings_):
        label = "mean" if len(encoder.encodings_) == 1 else f"mean of class {place}"
        table = dict(zip(levels, map(float, means), strict=True))
        prior = float(priors[place])
        blank = table.get(_blank_level(cells, choice), prior)
        features.append(_feature(name, label, table, prior, blank))
    return features, np.asarray(crossed, dtype=np.float64)


def _rarest(goal: Goal) -> int:
    """Folds that the rarest class allows, at least two."""
    if not goal.classes:
        return max(2, len(goal.labels))
    counts = np.bincount(goal.labels.astype(int))
    return max(2, int(counts[counts > 0].min()))
