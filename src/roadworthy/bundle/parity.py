"""The parity check: what is packaged predicts what was trained, or there is no package.

Every way in which the bundle is run is compared with scikit-learn on the holdout and on
generated rows: each column blank, all blank, extremes, float32 and integer borders, unseen and
odd categories, far dates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.engine import Engine
from roadworthy.bundle.formats.reopen import reopened_scores
from roadworthy.bundle.frames import json_rows
from roadworthy.bundle.hostile import accepted, generated_rows, schema
from roadworthy.bundle.jumps import jump_rows, threshold_vectors
from roadworthy.bundle.portable import FILE_NAME, Portable, export_portable
from roadworthy.bundle.portable.feed import portable_scores
from roadworthy.contract import Target
from roadworthy.errors import CheckFailed, RoadworthyError
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.reference import reference_frame, reference_transformer
from roadworthy.table.conform import conform
from roadworthy.train import TrainedModel
from roadworthy.train.scoring import model_scores
from roadworthy.train.servable import sums_in_float32

TOLERANCE = 1e-5
"""Largest difference of a probability; of a regression relative to the prediction, or to the
standard deviation of the target where that is larger."""
_FIX = "report the estimator; a search leaves its family out by [train] candidates"
_FIX_FOREIGN = (
    'its conversion to ONNX is not exact: [package] formats = ["skops"] (--format skops) has '
    "scikit-learn itself serve it, more slowly"
)
_TIE = 1e-12
_FLOAT32_TIE = 1e-6
"""Where the library itself sums in float32 (XGBoost), which class wins below this is chance."""
_CELLS = 4_000_000
_MAX_ROWS = 20_000
_PORTABLE_COST = 50_000.0
_CELL_COST = {"category": 1.0, "text": 20.0}
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
            standard deviation of the target, whichever is larger.
        largest_absolute: Of probabilities or predictions.
        largest_ulps: The same in units of the last place: float64 numbers that lie between.
    """

    rows: int
    different_labels: int
    ties: int
    largest_difference: float
    largest_absolute: float = 0.0
    largest_ulps: int = 0


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence that travels in the bundle.

    Attributes:
        tolerance: What was allowed of `largest_difference`.
        tie: How close two classes are that count as a tie.
        holdout_rows: Rows of the holdout that were compared.
        generated_rows: Generated rows that were compared.
        ways: Way -> evidence.
        refused: What the bundle leaves out because it would not be exact -> why.
    """

    tolerance: float
    tie: float = _TIE
    holdout_rows: int
    generated_rows: int
    ways: dict[str, WayEvidence]
    refused: dict[str, str] = {}


class Evidence(NamedTuple):
    """What came of a check of parity.

    Attributes:
        parity: The evidence.
        portable: The portable graph; None when it would not be exact.
    """

    parity: Parity
    portable: bytes | None


class Compared(NamedTuple):
    """The rows that every way is asked for.

    Attributes:
        raw: Rows whose texts are as a client may send them: held-out ones, then generated ones.
        typed: The same rows as the contract reads them.
        matrix: The same rows as the plan prepares them.
        wanted: What the trained model answers: probabilities `[N, K]` or predictions `[N]`.
        held: How many rows are held-out ones.
    """

    raw: pl.DataFrame
    typed: pl.DataFrame
    matrix: Floats
    wanted: Floats
    held: int


Reference = Callable[[pl.DataFrame, Floats], Floats]
"""What is right: typed rows and their matrix -> probabilities `[N, K]` or predictions `[N]`; NaN
for rows that the model itself refuses, which are left out."""


def check_parity(
    model: TrainedModel,
    engine: Engine,
    core: bytes | None,
    extra: Mapping[str, bytes] | None = None,
    *,
    trusted_types: Sequence[str] = (),
    reference: Reference | None = None,
) -> Evidence:
    """Compare every way of running a bundle with scikit-learn.

    Args:
        model: The trained model with its table.
        engine: The core that is to be packaged, loaded.
        core: The same core's bytes; None where the engine asks the estimator itself.
        extra: Format -> its file, each to be opened again in a fresh process.
        trusted_types: As for `formats.Format.read`.
        reference: What is right; None takes stock transformers and the trained estimator.

    Returns:
        The evidence, and the portable graph.

    Raises:
        CheckFailed: Something differs beyond the tolerance; names the way, the column or
            estimator, and the row.
    """
    right = reference or functools.partial(_by_scikit_learn, model)
    rows = _rows(model, right, every=reference is None)
    ways: dict[str, WayEvidence] = {}

    def prove(way: str, wanted: Floats, got: Floats) -> None:
        ways[way] = _compare(model, way, wanted, got)

    if reference is None:
        ways["plan, against scikit-learn's transformers"] = WayEvidence(
            rows=rows.raw.height, different_labels=0, ties=0, largest_difference=0.0
        )
    prove("plan and core, batch", rows.wanted, answers_of(engine, rows.matrix))
    prove("plan and core, one row of JSON", rows.wanted, _by_row(model, engine, rows))
    if engine.run_one is not engine.run_bound:
        one = np.array([engine.run_bound(vector) for vector in rows.matrix.tolist()])
        prove("core, one row, by the runtime", rows.wanted, one.reshape(rows.wanted.shape))
    codes = [place for place, feature in enumerate(model.plan.features) if feature.code]
    edges = rows.matrix[:0]
    if reference is None and core is not None:
        edges = threshold_vectors(core, rows.matrix, codes)
    if len(edges):
        with np.errstate(all="ignore"):
            theirs = model_scores(model.estimator, edges, engine.classes)
        prove("core, on the thresholds of its trees", theirs, engine.run_many(edges))
    for name, content in sorted((extra or {}).items()):
        scores = reopened_scores(name, content, rows.raw, trusted_types)
        prove(f"{name}, opened in a fresh process", rows.wanted, scores)
    portable = Portable(None, {})
    if core is not None:
        portable = export_portable(model.contract, model.plan, core)
    refused = {f"{FILE_NAME}, column {name!r}": why for name, why in portable.reasons.items()}
    graph = portable.content
    if graph is not None:
        try:
            ways[FILE_NAME] = _prove_portable(model, graph, rows, right)
        except CheckFailed as error:  # left out rather than wrong; the bundle does not need it
            graph, refused[FILE_NAME] = None, str(error)
    parity = Parity(
        tolerance=TOLERANCE,
        tie=_tie(model),
        holdout_rows=rows.held,
        generated_rows=rows.raw.height - rows.held,
        ways=ways,
        refused=refused,
    )
    return Evidence(parity, graph)


def _rows(model: TrainedModel, reference: Reference, *, every: bool) -> Compared:
    """The rows to compare, with what is right for them; `every`: the model may refuse none."""
    contract = model.contract
    most = min(_MAX_ROWS, max(1000, _CELLS // model.plan.width))
    held = accepted(model.table.holdout.frame, contract).head(most)
    held = held.cast(schema(contract.columns))
    generated = generated_rows(held, contract)
    if not every:  # the thresholds of trained trees are known: see threshold_vectors

        def ask(rows: pl.DataFrame) -> Floats:
            return reference(rows, encode_columns(rows, model.plan))

        generated = pl.concat([generated, jump_rows(held, contract, ask)])
    typed = pl.concat([held, conform(generated, contract)])
    matrix = encode_columns(typed, model.plan)
    wanted = reference(typed, matrix)
    finite = np.isfinite(wanted).reshape(len(wanted), -1)
    known: NDArray[np.bool_] = np.ones(len(wanted), bool) if every else np.all(finite, axis=1)
    if not known[: held.height].any():
        raise CheckFailed("the model has no finite answer to any held-out row")
    return Compared(
        raw=pl.concat([held, generated]).filter(known),
        typed=typed.filter(known),
        matrix=matrix[known],
        wanted=wanted[known],
        held=int(known[: held.height].sum()),
    )


def answers_of(engine: Engine, matrix: Floats) -> Floats:
    """A core's answers to a plan's vectors.

    Raises:
        CheckFailed: It fails on a row, as one that somebody's converter wrote may.
    """
    try:
        return engine.run_many(matrix)
    except RoadworthyError:
        raise
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckFailed(f"the core cannot answer every row: {first[:200]}") from None


def _by_scikit_learn(model: TrainedModel, typed: pl.DataFrame, matrix: Floats) -> Floats:
    """The answers of stock transformers and the estimator; their vectors must be the plan's."""
    prepared = reference_transformer(model.plan, model.contract).transform(
        reference_frame(typed, model.contract)
    )
    theirs = np.asarray(prepared, dtype=np.float64)
    _check_vectors(model, theirs, matrix)
    with np.errstate(all="ignore"):  # sums of 1e300 overflow in scikit-learn's own input check
        return model_scores(model.estimator, theirs, len(model.contract.target.classes))


def _prove_portable(
    model: TrainedModel, graph: bytes, rows: Compared, right: Reference
) -> WayEvidence:
    """Compare the portable graph, on as many of the rows as its patterns let be asked in a second.

    Generated rows come first, evenly spread where there are too many.
    """
    cost = sum(_CELL_COST.get(column.kind, 0.05) for column in model.contract.columns)
    most = max(200, int(_PORTABLE_COST / cost))
    start = max(0, min(rows.held, rows.raw.height - most))
    chosen = np.unique(np.linspace(start, rows.raw.height - 1, most).astype(np.int64))
    raw, typed, wanted = rows.raw[chosen], rows.typed[chosen], rows.wanted[chosen]
    got, predictions = _ask_portable(graph, raw, typed, model)
    try:
        evidence = _compare(model, FILE_NAME, wanted, got)
    except CheckFailed as error:
        column = _other_column(model, graph, raw, typed, np.abs(got - wanted), right)
        raise CheckFailed(f"{error.what}, {error.where}, column {column!r}") from None
    target = model.contract.target
    if target.classes:
        named = np.array([target.classes[code] for code in target.predicted_codes(got)])
        if (named.astype(str) != predictions.astype(str)).any():
            raise CheckFailed(f"{FILE_NAME} answers another class than its probabilities say")
    return evidence


def _ask_portable(
    graph: bytes, raw: pl.DataFrame, typed: pl.DataFrame, model: TrainedModel
) -> tuple[Floats, NDArray[Any]]:
    try:
        return portable_scores(graph, raw, typed, model.contract)
    except Exception as error:  # ONNX Runtime raises a class of its own for every status
        raise CheckFailed(f"{FILE_NAME} cannot be run: {str(error)[:300]}") from None


def _other_column(
    model: TrainedModel,
    graph: bytes,
    raw: pl.DataFrame,
    typed: pl.DataFrame,
    differences: Floats,
    reference: Reference,
) -> str | None:
    """The column whose cell of the worst row makes the best row err too; None: no cell alone."""
    off = differences.reshape(len(raw), -1).max(axis=1)
    worst, best = int(off.argmax()), int(off.argmin())
    for name in model.contract.names:
        mixed = [frame[best].with_columns(frame[name][worst : worst + 1]) for frame in (raw, typed)]
        right = reference(mixed[1], encode_columns(mixed[1], model.plan))
        answered, _ = _ask_portable(graph, mixed[0], mixed[1], model)
        if np.abs(answered - right).max() > TOLERANCE:
            return name
    return None


def _by_row(model: TrainedModel, engine: Engine, rows: Compared) -> Floats:
    scores, matrix = [], rows.matrix
    for number, row in enumerate(json_rows(rows.raw, model.contract)):
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
        absolute = np.abs(got - wanted)
        difference = absolute / np.maximum(scale, np.abs(wanted))
        flipped = ties = np.zeros(len(wanted), dtype=bool)
    else:
        target = model.contract.target
        absolute = difference = np.abs(got - wanted).max(axis=1)
        ties = _distance_to_another_class(target, wanted) <= _tie(model)
        flipped = (target.predicted_codes(got) != target.predicted_codes(wanted)) & ~ties
    difference = np.where(np.isfinite(difference), difference, np.inf)
    if flipped.any() or difference.max() > TOLERANCE:
        worst = int(np.argmax(flipped)) if flipped.any() else int(difference.argmax())
        raise CheckFailed(
            f"{way}: it does not predict what {type(model.estimator).__name__} "
            f"({model.family}) predicts: {int(flipped.sum())} classes differ, largest "
            f"difference {difference.max():.3g}: no bundle is made",
            where=f"row {worst} of the {len(wanted)} compared",
            fix=_FIX_FOREIGN if model.search.kind == "elsewhere" else _FIX,
        )
    return WayEvidence(
        rows=len(wanted),
        different_labels=int(flipped.sum()),
        ties=int(ties.sum()),
        largest_difference=float(difference.max()),
        largest_absolute=float(absolute.max()),
        largest_ulps=_ulps(got, wanted),
    )


def _tie(model: TrainedModel) -> float:
    return _FLOAT32_TIE if sums_in_float32(model.estimator) else _TIE


def _ulps(one: Floats, other: Floats) -> int:
    """The largest distance of two numbers, in float64 numbers that lie between them."""
    places = []
    for numbers in (one, other):
        bits = np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64)
        places.append(np.where(bits < 0, np.iinfo(np.int64).min - bits, bits))
    low, high = np.minimum(*places), np.maximum(*places)
    return int((high.view(np.uint64) - low.view(np.uint64)).max())


def _distance_to_another_class(target: Target, scores: Floats) -> Floats:
    """How much a probability has to change `[N]` for another class to be answered."""
    if target.threshold is not None:
        return np.abs(scores[:, target.positive_code] - target.threshold)
    top = np.sort(scores, axis=1)
    return top[:, -1] - top[:, -2]
