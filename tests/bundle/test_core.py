"""The core against the library that trained it, on natural and on hostile vectors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from roadworthy.bundle.core import EXPORTERS
from roadworthy.bundle.core.boosting import _fold_zero
from roadworthy.bundle.engine import Engine
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import InputError
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.train.candidates import CANDIDATES, Problem, Rows
from roadworthy.train.scoring import model_scores

LEVELS = 7


def plan() -> FeaturePlan:
    numbers = [Feature(column=f"n{i}", read="number", blank=0.0) for i in range(3)]
    levels = tuple(f"l{i}" for i in range(LEVELS))
    return FeaturePlan((*numbers, Feature(column="c", read="category", blank=0.0, levels=levels)))


def contract(classes: int) -> Contract:
    columns = tuple(
        Column(name=f.column, kind=f.read, dtype="number" if f.read == "number" else "string")
        for f in plan().features
    )
    task = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    target = Target(name="y", task=task, classes=tuple(f"k{i}" for i in range(classes)))
    return Contract(target=target, columns=columns)


def rows(classes: int, count: int = 1500, zeros: bool = False) -> Rows:
    random = np.random.default_rng(classes)
    X = np.column_stack(
        [
            random.normal(size=count).round(1),
            random.lognormal(size=count) * 1e4,
            random.choice([-1.0, 0.0, 1e-36, -1e-36, 1e-35, 2.0**24 + 1], count),
            random.integers(0, LEVELS - 1, count),  # the last level is never fitted on
        ]
    )
    signal = X[:, 0] + 0.5 * (X[:, 3] == 2) + (X[:, 2] > 0) + random.normal(size=count) / 2
    if not classes:
        return Rows(X, signal * 1000)
    codes = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    return Rows(X, codes.astype(float))


def hostile(X: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The rows themselves, and rows on, just below and just above every threshold."""
    base = np.repeat(X[:40], 60, axis=0)
    random = np.random.default_rng(0)
    picks = random.choice(thresholds, base.shape[0])
    picks = np.where(random.random(len(picks)) < 0.3, np.nextafter(picks, np.inf), picks)
    picks = np.where(random.random(len(picks)) < 0.3, np.nextafter(picks, -np.inf), picks)
    base[np.arange(len(base)), random.integers(0, 3, len(base))] = picks
    extremes = np.array([0.0, -0.0, 1e300, -1e300, 3.5e38, 1e-40, 5e-324, -1.0, 2.0**53 + 2])
    more = np.repeat(X[:9], 4, axis=0)
    for column in range(3):
        more[column::4, column] = extremes[: len(more[column::4])]
    more[3::4, 3] = -1.0  # an unseen level
    more[0, 3] = LEVELS - 1  # a level of the plan that the fit never saw
    return np.vstack([X, base, more])


@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize("family", ["linear", "forest", "boosting"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_core_answers_what_its_estimator_answers(family: str, classes: int, number: int) -> None:
    data = rows(classes)
    task = contract(classes).target.task
    problem = Problem(task, classes, plan(), 0, 2, 1e12)
    candidate = CANDIDATES[family]
    config = candidate.configurations(problem)[number]
    fitted = candidate.fit(config, problem, data, rounds=40).estimator
    content = EXPORTERS[family](fitted, 4)
    assert content == EXPORTERS[family](fitted, 4)
    engine = Engine(contract(classes), plan(), content)
    X = hostile(data.X, _thresholds(content, data.X))
    with np.errstate(all="ignore"):
        wanted = model_scores(fitted, X, classes)
    got = engine.run_many(X)
    one = np.array([engine.run_one(row) for row in X])
    one = one if classes else one[:, 0]
    if family == "forest":  # the same sums in the same order: the same bits
        np.testing.assert_array_equal(got, wanted)
    scale = np.maximum(1.0, np.abs(wanted))
    assert np.max(np.abs(got - wanted) / scale) < 1e-12
    assert np.max(np.abs(one - wanted) / scale) < 1e-12
    if classes:
        sure = np.sort(wanted, axis=1)[:, -1] - np.sort(wanted, axis=1)[:, -2] > 1e-12
        assert (got.argmax(1) == wanted.argmax(1))[sure].all()


def _thresholds(content: bytes, X: np.ndarray) -> np.ndarray:
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type == "TreeEnsemble":
            values = {a.name: a for a in node.attribute}
            return onnx.numpy_helper.to_array(values["nodes_splits"].t)
    return X[:, :3].ravel()


def test_thresholds_near_zero_are_folded_as_lightgbm_reads_zero() -> None:
    zero = float(np.float32(1e-35))
    for threshold in (0.0, 1e-36, zero, -1e-36, -zero, 1.0, -1.0, 2 * zero):
        folded = _fold_zero(threshold)
        for x in (zero, -zero, 1e-40, -1e-40, 0.0, 5e-324):
            assert (x <= folded) == (threshold >= 0.0)
        for x in (1.5 * zero, -1.5 * zero, 2.0, -2.0):
            assert (x <= folded) == (x <= threshold)


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x08\x0a" + b"\xff" * 50])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"core\.onnx"):
        Engine(contract(2), plan(), content)


def test_a_graph_of_another_model_is_refused() -> None:
    data = rows(4)
    problem = Problem("multiclass", 4, plan(), 0, 1, 1e12)
    fitted = CANDIDATES["linear"].fit({"C": 1.0}, problem, data).estimator
    content = EXPORTERS["linear"](fitted, 4)
    with pytest.raises(InputError, match="gives 4 scores"):
        Engine(contract(2), plan(), content)
