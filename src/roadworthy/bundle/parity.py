"""The parity check: what is packaged predicts what was trained, or there is no package.

Every way in which the bundle is run is compared with scikit-learn on the holdout and on
generated rows: each column blank, all blank, extremes, float32 and integer borders, unseen and
odd categories, far dates.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.pipeline import Pipeline

from roadworthy.bundle.engine import Engine
from roadworthy.bundle.frames import json_rows
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import CheckFailed
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.reference import reference_frame, reference_transformer
from roadworthy.table.conform import POLARS_TYPES
from roadworthy.train import TrainedModel
from roadworthy.train.scoring import model_scores
from roadworthy.train.servable import sums_in_float32

TOLERANCE = 1e-5
"""Largest difference of a probability; of a regression relative to the prediction, or to the
standard deviation of the target where that is larger."""
_TIE = 1e-12
_FLOAT32_TIE = 1e-6
"""Where the library itself sums in float32 (XGBoost), which class wins below this is chance."""
_CELLS = 4_000_000
_MAX_ROWS = 20_000
_GENERATED = 4000
_TURNS = 150
_EDGES = 1000
_TEXTS = (
    "never seen", "ünïcödé 🚗 STRASSE Straße İstanbul", "x" * 10_000, "a b", "the the THE",
    "line\nbreak\ttab", "0 12 345", "don't stop", "\u200bzero width", "word " * 500,
)  # fmt: skip
Floats = NDArray[np.float64]


class WayEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One way of running the bundle against scikit-learn.

    Attributes:
        rows: Rows compared.
        different_labels: Rows whose class differs; 0, or there is no bundle.
        ties: Rows whose two best classes are equal to within 1e-12 (1e-6 where the library itself
            sums in float32), or whose probability is that close to the decision threshold: either
            class is right.
        largest_difference: Of probabilities, or of regressions relative to the prediction or the
            target's standard deviation, whichever is larger.
    """

    rows: int
    different_labels: int
    ties: int
    largest_difference: float


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence that travels in the bundle.

    Attributes:
        tolerance: What was allowed.
        holdout_rows: Rows of the holdout that were compared.
        generated_rows: Generated rows that were compared.
        ways: Way -> evidence.
    """

    tolerance: float
    holdout_rows: int
    generated_rows: int
    ways: dict[str, WayEvidence]


def reference_pipeline(model: TrainedModel) -> Pipeline:
    """The whole model as a scikit-learn pipeline of stock transformers and its estimator."""
    transformer = reference_transformer(model.plan, model.contract)
    return Pipeline([("prepare", transformer), ("model", model.estimator)])


def check_parity(model: TrainedModel, engine: Engine, core: bytes) -> Parity:
    """Compare every way of running a core with scikit-learn.

    Args:
        model: The trained model with its table.
        engine: The core that is to be packaged, loaded.
        core: The same core's bytes.

    Returns:
        The evidence.

    Raises:
        CheckFailed: Something differs beyond the tolerance; names the way, the column or
            estimator, and the row.
    """
    held = model.table.holdout.frame
    most = min(_MAX_ROWS, max(1000, _CELLS // model.plan.width))
    held = accepted(held, model.contract).head(most)
    generated = generated_rows(held, model.contract.columns)
    rows = pl.concat([held.cast(_schema(model.contract.columns)), generated])
    matrix = encode_columns(rows, model.plan)
    prepared = reference_transformer(model.plan, model.contract).transform(
        reference_frame(rows, model.contract)
    )
    theirs = np.asarray(prepared, dtype=np.float64)
    _check_vectors(model, theirs, matrix)
    with np.errstate(all="ignore"):  # sums of 1e300 overflow in scikit-learn's own input check
        wanted = model_scores(model.estimator, theirs, engine.classes)
    compared = {
        "plan and core, batch": (wanted, engine.run_many(matrix)),
        "plan and core, one row of JSON": (wanted, _by_row(model, engine, rows, matrix)),
    }
    codes = [place for place, feature in enumerate(model.plan.features) if feature.code]
    edges = _edges(core, matrix, codes)
    if len(edges):
        with np.errstate(all="ignore"):
            right = model_scores(model.estimator, edges, engine.classes)
        compared["core, on the thresholds of its trees"] = (right, engine.run_many(edges))
    return Parity(
        tolerance=TOLERANCE,
        holdout_rows=held.height,
        generated_rows=generated.height,
        ways={way: _compare(model, way, *pair) for way, pair in compared.items()},
    )


def _edges(core: bytes, matrix: Floats, codes: list[int]) -> Floats:
    """Vectors that lie on, just below and just above the thresholds of a core's trees.

    Here a threshold that was rounded, or compared by < in place of <=, shows at once; rows of a
    table seldom lie there. A code is whole also there: the plan makes no others.
    """
    random = np.random.default_rng(0)
    parts = [matrix[:0]]
    for node in onnx.load_from_string(core).graph.node:
        if node.op_type != "TreeEnsemble":
            continue
        fields = {attribute.name: attribute for attribute in node.attribute}
        thresholds = numpy_helper.to_array(fields["nodes_splits"].t)
        features = np.array(fields["nodes_featureids"].ints)
        within = np.flatnonzero(np.abs(thresholds) < np.finfo(np.float64).max)
        chosen = random.permutation(within)[:_EDGES]
        is_code = np.isin(features[chosen], codes)
        for step in (None, -np.inf, np.inf):
            vectors = matrix[random.integers(0, len(matrix), len(chosen))]
            at = thresholds[chosen]
            at = at if step is None else np.nextafter(at, step)
            whole = np.ceil(at) if step == np.inf else np.floor(at)
            at = np.where(is_code, np.maximum(whole, -1.0), at)
            vectors[np.arange(len(chosen)), features[chosen]] = at
            parts.append(vectors)
    return np.vstack(parts)


def _by_row(model: TrainedModel, engine: Engine, rows: pl.DataFrame, matrix: Floats) -> Floats:
    scores = []
    for number, row in enumerate(json_rows(rows, model.contract)):
        vector, _ = engine.rows.encode(engine.decode(msgspec.json.encode(row)))
        different = _differs(matrix[number], np.asarray(vector))
        if different.any():
            position = int(np.flatnonzero(different)[0])
            raise CheckFailed(
                "one row of JSON is prepared differently from a batch: no bundle is made",
                where=f"column {model.plan.features[position].column!r}, row {number}",
            )
        scores.append(engine.run_one(vector))
    return np.array(scores) if engine.classes else np.array(scores)[:, 0]


def _check_vectors(model: TrainedModel, theirs: Floats, matrix: Floats) -> None:
    """The plan's vectors must be scikit-learn's, bit for bit; a difference has a column."""
    different = np.argwhere(_differs(theirs, matrix))
    if len(different):
        row, position = different[0]
        raise CheckFailed(
            "the plan prepares a cell differently from scikit-learn: no bundle is made",
            where=f"column {model.plan.features[position].column!r}, row {row} of {len(matrix)}",
        )


def _differs(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Where two vectors differ; a blank that is left to the model is NaN in both."""
    differs: NDArray[np.bool_] = (one != other) & ~(np.isnan(one) & np.isnan(other))
    return differs


def _compare(model: TrainedModel, way: str, wanted: Floats, got: Floats) -> WayEvidence:
    if model.table.task == "regression":
        scale = model.contract.target.scale
        difference = np.abs(got - wanted) / np.maximum(scale, np.abs(wanted))
        flipped = ties = np.zeros(len(wanted), dtype=bool)
    else:
        target = model.contract.target
        difference = np.abs(got - wanted).max(axis=1)
        tie = _FLOAT32_TIE if sums_in_float32(model.estimator) else _TIE
        ties = _distance_to_another_class(target, wanted) <= tie
        flipped = (target.predicted_codes(got) != target.predicted_codes(wanted)) & ~ties
    difference = np.where(np.isfinite(difference), difference, np.inf)
    if flipped.any() or difference.max() > TOLERANCE:
        worst = int(np.argmax(flipped)) if flipped.any() else int(difference.argmax())
        raise CheckFailed(
            f"{way}: the core does not predict what {type(model.estimator).__name__} "
            f"({model.family}) predicts: {int(flipped.sum())} classes differ, largest "
            f"difference {difference.max():.3g}: no bundle is made",
            where=f"row {worst} of the {len(wanted)} compared",
            fix="leave this family out of [train] candidates and report the estimator",
        )
    return WayEvidence(
        rows=len(wanted),
        different_labels=int(flipped.sum()),
        ties=int(ties.sum()),
        largest_difference=float(difference.max()),
    )


def _distance_to_another_class(target: Target, scores: Floats) -> Floats:
    """How much a probability has to change `[N]` for another class to be answered."""
    if target.threshold is not None:
        return np.abs(scores[:, target.positive_code] - target.threshold)
    top = np.sort(scores, axis=1)
    return top[:, -1] - top[:, -2]


def accepted(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The rows that the contract does not refuse, with its columns only.

    Raises:
        CheckFailed: It refuses every row.
    """
    keep = pl.lit(value=True)
    for column in contract.columns:
        cells = pl.col(column.name)
        if column.on_blank == "error":
            keep &= cells.is_not_null()
        if column.on_unseen == "error" and column.kind == "category":
            keep &= cells.is_null() | cells.is_in(list(column.categories))
    rows = frame.select(contract.names).filter(keep)
    if not rows.height:
        raise CheckFailed(
            "the contract refuses every held-out row: nothing can be compared",
            where="[data.columns] blank, unseen",
            fix="leave out blank = 'error' or unseen = 'error' where such cells are usual",
        )
    return rows


def generated_rows(held: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    """Hostile rows: typical rows of the holdout with some cells, or all, made extreme.

    Args:
        held: Typed rows to start from.
        columns: The contract's columns.

    Returns:
        Rows in which each column takes its variants, the most telling first (blank, far out of
        range, unseen), as many as some thousand rows hold; in a wide table several columns share
        a row.
    """
    schema = _schema(columns)
    variants = {column.name: _variants(column) for column in columns}
    base = held.head(20).cast(schema).rows(named=True)
    turns = min(len(columns), _TURNS)
    each = max(3, min(_GENERATED, _CELLS // 2 // len(columns)) // turns)
    names = list(variants)
    rows: list[dict[str, Any]] = []
    for turn in range(turns):
        sharing = names[turn::turns]
        count = max(len(variants[name]) for name in sharing)
        for number in range(min(count, each)):
            row = dict(base[len(rows) % len(base)])
            for name in sharing:
                row[name] = variants[name][number % len(variants[name])]
            rows.append(row)
    longest = max(len(values) for values in variants.values())
    rows += [  # all columns at once: all blank, then all extreme
        {name: values[number % len(values)] for name, values in variants.items()}
        for number in range(min(longest, 50))
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _schema(columns: tuple[Column, ...]) -> Any:
    return {column.name: POLARS_TYPES[column.kind] for column in columns}


def _variants(column: Column) -> list[Any]:
    """Cells to try that the contract takes, the most telling first."""
    cells = _cells(column)
    if column.on_unseen == "error" and column.kind == "category":
        cells = [cell for cell in cells if cell is None or cell in column.categories]
    return cells if column.on_blank == "impute" else cells[1:]


def _cells(column: Column) -> list[Any]:
    low, high = column.minimum or 0.0, column.maximum or 0.0
    if column.kind == "number":
        span = max(high - low, 1.0)
        borders = [low, high, *column.quantiles]
        with np.errstate(over="ignore"):
            rounded = np.nextafter(np.array(borders, np.float32), np.float32(np.inf))
        cells = [
            high + 10 * span, low - 10 * span, *borders, *rounded.astype(float).tolist(), 0.0,
            -0.0, 1e-40, -1e-40, 5e-324, 0.1, 2.0**24 + 1, 2.0**53 + 1, 3.5e38, -3.5e38, 1e300,
            -1e300,
        ]  # fmt: skip
        return [None, *filter(np.isfinite, cells)]
    if column.kind == "boolean":
        return [None, True, False]
    if column.kind == "date":
        micros = [None, low * 1e6, high * 1e6, -2208988800e6, 4133894400e6, 951782400e6, 86400e6]
        stamps = pl.Series([None if m is None else int(m) for m in micros], dtype=pl.Int64)
        return stamps.cast(pl.Datetime("us")).to_list()
    if column.dtype != "string":
        return [None, "987654321", *column.levels()[:200]]
    if column.kind == "text":
        return [None, *_TEXTS]
    odd = ["never seen", "ünïcödé 🚗", "x" * 10_000, 'quo"te\\', "0", "line\nbreak"]
    return [None, *odd, *column.levels()[:200]]
