"""Whether a model of others has an exact core, and what it costs where it has none."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from roadworthy.bundle.core import INPUT, Graph
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.foreign.model import ForeignModel
from roadworthy.bundle.foreign.rows import OwnRows
from roadworthy.bundle.foreign.taking import Taken
from roadworthy.bundle.parity import check_parity
from roadworthy.bundle.runtime import RuntimeEngine
from roadworthy.errors import CheckFailed, InputError
from roadworthy.prepare.columns import encode_columns

_ROWS = 50


def core_or_reason(taken: Taken, *, without_core: bool) -> tuple[bytes, str]:
    """A model's core, or nothing and the reason why it has none.

    Args:
        taken: The model.
        without_core: Whether it is taken without.

    Raises:
        InputError: It has none and is not taken without.
    """
    try:
        return taken.core(), ""
    except InputError as error:
        if without_core:
            return b"", error.what
        if isinstance(taken.rows, OwnRows):
            fix = '[package] formats = ["skops"]: scikit-learn itself then serves it, more slowly'
            error.fix = f"{error.fix}; or {fix}" if error.fix else fix
        raise


def only_exact(model: ForeignModel) -> ForeignModel:
    """The model without a core that differs from it, or that cannot be loaded."""
    if not model.core:
        return model
    try:
        engine = Engine(model.contract, model.plan, model.core)
        check_parity(model, engine, model.core, reference=lambda rows, _: model.each(rows))
    except (CheckFailed, InputError) as error:
        return dataclasses.replace(model, core=b"", why=error.what)
    return model


def engine_of(model: ForeignModel) -> Engine:
    """What answers rows: the core, or the model itself where there is none."""
    if model.core:
        return Engine(model.contract, model.plan, model.core)
    return RuntimeEngine(model.contract, model.plan, model.each)


def note_of(model: ForeignModel) -> str:
    """What it costs to have no core, in words; the numbers are `cost_of`."""
    return (
        f"The model has no exact core ({model.why}): scikit-learn itself serves it, which is "
        "slower (measured in the manifest). The server needs the training libraries "
        "(requirements-train.txt) and opens the estimator's file; there is no portable.onnx, and "
        "no image or deployment is made of it."
    )


def cost_of(model: ForeignModel) -> dict[str, float]:
    """Rows a second, asked one by one here and now: the model, and a linear core of its columns."""
    rows = encode_columns(model.table.frame.head(_ROWS), model.plan)
    here = _rows_a_second(engine_of(model), rows)
    graph = Graph()
    width = len(model.contract.target.classes) or 1
    weights = graph.constant(np.full((model.plan.width, width), 1.0))
    core = graph.finish(graph.add("MatMul", INPUT, weights), model.plan.width, width)
    linear = _rows_a_second(Engine(model.contract, model.plan, core), rows)
    return {"rows_a_second": round(here, 1), "rows_a_second_linear_core": round(linear, 1)}


def _rows_a_second(engine: Engine, rows: np.ndarray) -> float:
    vectors = [row.tolist() for row in rows]
    engine.run_bound(vectors[0])
    start = time.perf_counter()
    for vector in vectors:
        engine.run_bound(vector)
    return len(vectors) / (time.perf_counter() - start)
