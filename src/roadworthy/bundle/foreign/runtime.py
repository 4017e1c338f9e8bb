"""Whether a model of others has an exact core, and what it costs where it has none."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from roadworthy.bundle.core import INPUT, Graph
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.foreign.model import ForeignModel
from roadworthy.bundle.foreign.rows import OwnRows
from roadworthy.bundle.parity import check_parity
from roadworthy.bundle.runtime import RuntimeEngine
from roadworthy.errors import CheckFailed, InputError
from roadworthy.prepare.columns import encode_columns

_ROWS = 50


def with_core(
    model: ForeignModel, write: Callable[[], bytes], *, without_core: bool
) -> ForeignModel:
    """The model with its core, or with the reason why it has none.

    Args:
        model: The model, its core yet unwritten.
        write: Writes the core.
        without_core: Whether it is taken without; then a core that differs is none either.

    Raises:
        InputError: It has none and is not taken without.
    """
    try:
        core = write()
        if without_core:
            engine = Engine(model.contract, model.plan, core)
            check_parity(model, engine, core, reference=lambda rows, _: model.each(rows))
    except InputError as error:
        if without_core:
            return dataclasses.replace(model, why=error.what)
        if isinstance(model.rows, OwnRows):
            fix = '[package] formats = ["skops"]: scikit-learn itself then serves it, more slowly'
            error.fix = f"{error.fix}; or {fix}" if error.fix else fix
        raise
    except CheckFailed as error:
        return dataclasses.replace(model, why=error.what)
    return dataclasses.replace(model, core=core)


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
