"""A calibration more for a bundle: the same model, whose scores go through one step more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.answers import answer
from roadworthy.bundle.bundle import Bundle
from roadworthy.bundle.core.calibration import recalibrated_core
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.formats import EXTRA
from roadworthy.bundle.manifest import CORE, to_json
from roadworthy.bundle.parity import check_parity
from roadworthy.bundle.portable import FILE_NAME as PORTABLE
from roadworthy.bundle.write import microseconds_per_row
from roadworthy.contract import Contract, Interval
from roadworthy.errors import InputError, RoadworthyError
from roadworthy.observe.reference import FILE_NAME as REFERENCE
from roadworthy.observe.rescore import with_scores
from roadworthy.table import Table
from roadworthy.train import TrainedModel
from roadworthy.train.calibration import Calibrated, CalibratedNumbers, Calibration
from roadworthy.train.record import SearchRecord

Floats = NDArray[np.float64]


class Answered(NamedTuple):
    """Rows of production, as the bundle answers them now.

    Attributes:
        scores: Probabilities `[N, K]` or predictions `[N]`.
        days: ISO date of each `[N]`.
    """

    scores: Floats
    days: NDArray[np.str_]


class Proven(NamedTuple):
    """What of a bundle is another once its scores are, proven.

    Attributes:
        contract: The contract.
        files: The files that are made anew, without the papers.
        measured: Further numbers for the manifest.
    """

    contract: Contract
    files: Mapping[str, bytes]
    measured: Mapping[str, float]


def recalibrate_bundle(
    bundle: Bundle,
    calibration: Calibration,
    table: Table,
    answered: Answered,
    *,
    interval: Interval | None = None,
    trusted_types: tuple[str, ...] = (),
) -> Proven:
    """Put a calibration behind a bundle's core, and prove that it is what is served.

    Plan and core stay as they are, and so does a threshold: it is a probability, and those are
    right now. The further formats that can be opened get the calibration as well; the others are
    left out, and parity.json says why.

    Args:
        bundle: The bundle.
        calibration: What its scores go through.
        table: Rows that parity is proven on, besides generated ones.
        answered: Rows that predictions are usual on, so that their drift is told from them.
        interval: Of a regression's predictions, as they are now.
        trusted_types: Types that a skops file may hold besides those known to be harmless.

    Raises:
        InputError: The bundle's core cannot take it.
        CheckFailed: What would be served differs from what was fitted.
    """
    check_recalibratable(bundle)
    target = msgspec.structs.replace(bundle.contract.target, interval=interval)
    contract = msgspec.structs.replace(bundle.contract, target=target)
    core = recalibrated_core(bundle.core, bundle.plan.width, calibration)
    engine = Engine(contract, bundle.plan, core, bundle.absent)
    model = _as_model(bundle, contract, table, calibration)

    def fitted(_: pl.DataFrame, matrix: Floats) -> Floats:
        return calibration.apply(bundle.engine.run_many(matrix))

    extra, refused = _formats(bundle, contract, calibration, trusted_types)
    parity, portable = check_parity(
        model, engine, core, extra, trusted_types=trusted_types, reference=fitted
    )
    parity = msgspec.structs.replace(parity, refused={**parity.refused, **refused})
    files = {
        CORE: core,
        "contract.json": to_json(contract),
        "golden.jsonl": _golden(bundle, contract, engine),
        "parity.json": to_json(parity),
        **{EXTRA[name].file: content for name, content in extra.items()},
    }
    if portable is not None:
        files[PORTABLE] = portable
    if bundle.reference is not None:
        scores = calibration.apply(answered.scores).reshape(len(answered.scores), -1)
        made = with_scores(bundle.reference, contract, bundle.plan, scores, answered.days)
        files[REFERENCE] = to_json(made)
    return Proven(contract, files, {"microseconds_per_row": microseconds_per_row(engine, model)})


def check_recalibratable(bundle: Bundle) -> None:
    """Raise InputError where a bundle has no core that a calibration can be put behind."""
    if not bundle.has_core:
        raise InputError(
            "a model that scikit-learn itself serves cannot be recalibrated: it has no core",
            where=str(bundle.path),
            fix="calibrate it where it was fitted, and package it again",
        )


def _as_model(
    bundle: Bundle, contract: Contract, table: Table, calibration: Calibration
) -> TrainedModel:
    """What the proof of parity asks of a model; its estimator is the step that is added."""
    search = SearchRecord(
        metric="", trials=(), chosen=0, folds=0, search_rows=0, training_rows=0, policy="", seed=0,
        complete=True, kind="recalibrated",
    )  # fmt: skip
    manifest = bundle.manifest
    return TrainedModel(
        manifest.name, table, contract, bundle.plan, calibration, manifest.family, search, {}
    )


def _formats(
    bundle: Bundle, contract: Contract, calibration: Calibration, trusted_types: tuple[str, ...]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """The further formats with the calibration, and why others are left out."""
    made: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    kind = Calibrated if contract.target.classes else CalibratedNumbers
    for name, form in EXTRA.items():
        if form.file not in bundle.manifest.files:
            continue
        try:
            estimator: Any = bundle.estimator(
                name, allow_pickle=bundle.allow_pickle, trusted_types=trusted_types
            )
            if (bundle.report["search"] or {}).get("kind") == "elsewhere":
                raise InputError("it was fitted elsewhere, and its classes are its own")
            estimator.model = kind(estimator.model, calibration)
            estimator.contract = msgspec.json.encode(contract, order="sorted").decode()
            made[name] = form.write(estimator)
        except RoadworthyError as error:
            refused[form.file] = f"not recalibrated: {error.what}"
    return made, refused


def _golden(bundle: Bundle, contract: Contract, engine: Engine) -> bytes:
    """The same rows, with the answers that the model must give now."""
    lines = []
    for entry in bundle.golden:
        vector, _ = engine.rows.encode(engine.decode(msgspec.json.encode(entry.row)))
        expected = answer(contract.target, engine.run_one(vector))
        lines.append(msgspec.json.encode({"row": entry.row, "expected": expected}))
    return b"".join(line + b"\n" for line in lines)
