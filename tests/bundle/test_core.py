"""The core against the library that trained it, on natural and on hostile vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import ensemble, linear_model, preprocessing, tree
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from roadworthy.bundle.core import INPUT, Graph, export_core, write_core
from roadworthy.bundle.core.boosted import fold_zero
from roadworthy.bundle.core.float32 import fold_at_most, fold_less
from roadworthy.bundle.engine import Engine
from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import InputError
from roadworthy.prepare.plan import Feature, FeaturePlan
from roadworthy.train.blend import Blend, LogTarget, log_target
from roadworthy.train.candidates import CANDIDATES, Problem, Rows
from roadworthy.train.scoring import model_scores

LEVELS = 7
CODE = 3
SCALES = ("standard", "quantile", "power", "none", "log", "robust", "min_max")
FLOAT32_MAX = float(np.finfo(np.float32).max)


def plan(scales: tuple[str, ...] = ("standard", "standard", "standard")) -> FeaturePlan:
    numbers = [
        Feature(column=f"n{i}", read="number", scale=scale) for i, scale in enumerate(scales)
    ]
    levels = tuple(f"l{i}" for i in range(LEVELS))
    code = Feature(column="c", read="category", blank=0.0, levels=levels, code=True)
    return FeaturePlan((*numbers[:CODE], code, *numbers[CODE:]))


def contract(classes: int, wide: FeaturePlan) -> Contract:
    columns = tuple(
        Column(name=f.column, kind=f.read, dtype="number" if f.read == "number" else "string")
        for f in wide.features
    )
    task = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    target = Target(name="y", task=task, classes=tuple(f"k{i}" for i in range(classes)))
    return Contract(target=target, columns=columns)


def rows(classes: int, *, blanks: bool = False, count: int = 600, more: int = 0) -> Rows:
    random = np.random.default_rng(classes)
    X = np.column_stack(
        [
            random.normal(size=count).round(1),
            random.lognormal(size=count) * 1e4,
            random.choice([-1.0, 0.0, 1e-36, -1e-36, 1e-35, 2.0**24 + 1], count),
            random.integers(0, LEVELS - 1, count),  # the last level is never fitted on
            *random.normal(size=(more, count)) ** 3,
        ]
    )
    signal = X[:, 0] + 0.5 * (X[:, CODE] == 2) + (X[:, 2] > 0) + random.normal(size=count) / 2
    if blanks:
        X[random.random(count) < 0.2, 0] = np.nan
        X[random.random(count) < 0.1, 1] = np.nan
    if not classes:
        return Rows(X, np.exp(signal / 3) * 1000)
    codes = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]))
    return Rows(X, codes.astype(float))


def hostile(X: np.ndarray, content: bytes) -> np.ndarray:
    """The rows themselves; rows on, just below and just above thresholds; extremes and blanks."""
    random = np.random.default_rng(0)
    parts = [X]
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type != "TreeEnsemble":
            continue
        fields = {attribute.name: attribute for attribute in node.attribute}
        splits = onnx.numpy_helper.to_array(fields["nodes_splits"].t)
        features = np.array(fields["nodes_featureids"].ints)
        usable = np.flatnonzero((features != CODE) & (np.abs(splits) < 1e308))
        usable = usable[features[usable] < X.shape[1]]
        chosen = random.permutation(usable)[:300]
        for step in (None, -np.inf, np.inf):
            part = X[random.integers(0, len(X), len(chosen))].copy()
            at = splits[chosen] if step is None else np.nextafter(splits[chosen], step)
            part[np.arange(len(chosen)), features[chosen]] = at
            parts.append(part)
    extremes = [0.0, -0.0, 1e300, -1e300, 3.5e38, -3.5e38, FLOAT32_MAX, 1e-40, 5e-324, np.nan]
    for column in (c for c in range(X.shape[1]) if c != CODE):
        part = X[: len(extremes)].copy()
        part[:, column] = extremes
        parts.append(part)
    codes = X[:2].copy()
    codes[:, CODE] = -1.0, LEVELS - 1  # an unseen level, and one of the plan never fitted on
    blank = X[:1].copy()
    blank[:, [c for c in range(X.shape[1]) if c != CODE]] = np.nan
    return np.vstack([*parts, codes, blank])


class Compared(NamedTuple):
    wanted: np.ndarray
    got: np.ndarray
    difference: float


def compare(
    estimator: Any, classes: int, X: np.ndarray, wide: FeaturePlan | None = None
) -> Compared:
    """Export, run by batch and by row, and compare with the estimator; labels must be equal."""
    wide = wide or plan()
    content = export_core(estimator, wide, classes)
    assert content == export_core(estimator, wide, classes)
    engine = Engine(contract(classes, wide), wide, content)
    vectors = hostile(X, content)
    with np.errstate(all="ignore"):
        wanted = model_scores(estimator, vectors, classes)
    got = engine.run_many(vectors)
    one = np.array([engine.run_one(row) for row in vectors[-60:]])
    # a probability is one minus the other's: what is lost there is of the size of one
    size = 1.0 if classes else np.abs(got[-60:]).max()
    np.testing.assert_allclose(
        one if classes else one[:, 0], got[-60:], rtol=1e-14, atol=1e-15 * size
    )
    assert np.isfinite(got).all()
    if classes:
        top = np.sort(wanted, axis=1)
        sure = top[:, -1] - top[:, -2] > 1e-12
        assert (got.argmax(1) == wanted.argmax(1))[sure].all()
    scale = np.maximum(1.0, np.abs(wanted))
    return Compared(wanted, got, float(np.max(np.abs(got - wanted) / scale)))


def problem(classes: int, wide: FeaturePlan | None = None) -> Problem:
    task = {0: "regression", 2: "binary"}.get(classes, "multiclass")
    return Problem(task, classes, wide or plan(), 0, 1, 1e12)


@pytest.mark.parametrize("blanks", [False, True], ids=["full", "blanks"])
@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize("family", sorted(CANDIDATES))
def test_a_core_answers_what_its_estimator_answers(family: str, classes: int, blanks: bool) -> None:
    data, candidate = rows(classes, blanks=blanks), CANDIDATES[family]
    for config in candidate.configurations(problem(classes))[:2]:
        fitted = candidate.fit(config, problem(classes), data, rounds=25).estimator
        found = compare(fitted, classes, data.X)
        if family == "forest" or (family in ("boosting", "hist") and not classes):
            np.testing.assert_array_equal(found.got, found.wanted)  # the same sums, the same bits
        # XGBoost itself adds up in float32
        assert found.difference < (3e-6 if family == "xgboost" else 1e-12)


@pytest.mark.parametrize("blanks", [False, True], ids=["full", "blanks"])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_linear_model_is_scaled_as_the_plan_says(classes: int, blanks: bool) -> None:
    wide, data = plan(SCALES), rows(classes, blanks=blanks, more=4)
    fitted = CANDIDATES["linear"].fit({}, problem(classes, wide), data).estimator
    assert compare(fitted, classes, data.X, wide).difference < 1e-12


@pytest.mark.parametrize("classes", [0, 2, 4])
@pytest.mark.parametrize(
    "families",
    [("boosting", "linear", "catboost"), ("xgboost", "forest", "hist"), ("forest", "linear")],
    ids="+".join,
)
def test_a_blend_is_one_core_with_one_tree_operator(
    families: tuple[str, ...], classes: int
) -> None:
    data = rows(classes, blanks=True)
    fitted = []
    for family in families:
        config = CANDIDATES[family].configurations(problem(classes))[0]
        fitted.append(CANDIDATES[family].fit(config, problem(classes), data, rounds=15).estimator)
    weights = (0.5, 0.3, 0.2)[: len(families)]
    blend = Blend(fitted, weights).take(fitted)
    assert compare(blend, classes, data.X).difference < (3e-6 if "xgboost" in families else 1e-12)
    graph = onnx.load_from_string(export_core(blend, plan(), classes)).graph
    assert sum(node.op_type == "TreeEnsemble" for node in graph.node) == 1


@pytest.mark.parametrize("family", ["boosting", "linear", "forest", "xgboost"])
def test_a_logarithmic_target_is_served_as_itself(family: str) -> None:
    data, candidate = rows(0, blanks=True), CANDIDATES[family]
    config = candidate.configurations(problem(0))[0]
    inner = candidate.fit(config, problem(0), Rows(data.X, log_target(data.y)), rounds=20).estimator
    logs = LogTarget(inner).take(inner, data.y)
    assert compare(logs, 0, data.X).difference < (3e-6 if family == "xgboost" else 1e-12)
    plain = candidate.fit(config, problem(0), data, rounds=20).estimator
    both = Blend([logs, plain], [0.4, 0.6]).take([logs, plain])
    assert compare(both, 0, data.X).difference < (3e-6 if family == "xgboost" else 1e-12)


OWN: list[tuple[Any, int]] = [
    (linear_model.LinearRegression(), 0),
    (linear_model.Lasso(alpha=0.1), 0),
    (linear_model.HuberRegressor(), 0),
    (linear_model.PoissonRegressor(), 0),
    (linear_model.SGDClassifier(loss="log_loss", random_state=0), 3),
    (linear_model.LogisticRegression(), 3),
    (tree.DecisionTreeClassifier(max_depth=5, random_state=0), 3),
    (tree.DecisionTreeRegressor(max_depth=5, random_state=0), 0),
    (ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0), 2),
    (ensemble.GradientBoostingClassifier(n_estimators=8, loss="exponential", random_state=0), 2),
    (ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0), 4),
    (ensemble.GradientBoostingRegressor(n_estimators=8, loss="huber", random_state=0), 0),
    (ensemble.HistGradientBoostingRegressor(max_iter=8, loss="gamma", random_state=0), 0),
]


@pytest.mark.parametrize(("model", "classes"), OWN, ids=lambda v: str(v)[:40])
def test_an_estimator_of_the_user_behind_scalers_is_exact(model: Any, classes: int) -> None:
    data = rows(classes, blanks=True)
    clip = preprocessing.FunctionTransformer(
        np.clip, kw_args={"a_min": -FLOAT32_MAX, "a_max": FLOAT32_MAX}
    )
    scalers = (
        SimpleImputer(strategy="median", add_indicator=True),
        preprocessing.RobustScaler(),
        preprocessing.QuantileTransformer(n_quantiles=50),
    )
    fitted = make_pipeline(clip, *scalers, model).fit(data.X, data.y)
    assert compare(fitted, classes, data.X).difference < 1e-12


def test_a_class_that_was_never_seen_has_probability_zero() -> None:
    data = rows(4)
    some = data.y < 2
    fitted = CANDIDATES["boosting"].fit(
        {"num_leaves": 4}, problem(4), Rows(data.X[some], data.y[some] * 3), rounds=5
    )
    found = compare(fitted.estimator, 4, data.X)
    assert found.got.shape[1] == 4
    assert (found.got[:, 1:3] == 0.0).all()


def test_a_further_stage_can_be_written_behind_a_core() -> None:
    data = rows(2)
    fitted = CANDIDATES["boosting"].fit({}, problem(2), data, rounds=5).estimator
    graph = Graph()
    scores = write_core(graph, fitted, 2)
    squared = graph.add("Mul", scores.name, scores.name)
    engine = Engine(contract(2, plan()), plan(), graph.finish(squared, 4, scores.width))
    wanted = fitted.predict_proba(data.X)[:, 1] ** 2
    np.testing.assert_allclose(engine.run_many(data.X)[:, 1], wanted, atol=1e-15)
    assert INPUT == "X"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (linear_model.RidgeClassifier(), "RidgeClassifier is not exported"),
        (
            make_pipeline(preprocessing.SplineTransformer(), linear_model.Ridge()),
            "SplineTransformer",
        ),
        (ensemble.GradientBoostingRegressor(n_estimators=2, init=linear_model.Ridge()), "init"),
    ],
)
def test_what_cannot_be_exported_exactly_is_refused(model: Any, message: str) -> None:
    data = rows(2)
    with pytest.raises(InputError, match=message):
        export_core(model.fit(data.X, data.y), plan(), 2)


def test_native_categories_and_zeros_as_missing_are_refused() -> None:
    import lightgbm

    data = rows(2)
    native = lightgbm.LGBMClassifier(n_estimators=20, verbosity=-1, min_data_per_group=1)
    native.fit(data.X, data.y, categorical_feature=[CODE])
    with pytest.raises(InputError, match="categorical splits"):
        export_core(native, plan(), 2)
    zeros = lightgbm.LGBMClassifier(n_estimators=20, verbosity=-1, zero_as_missing=True)
    with pytest.raises(InputError, match="zero_as_missing"):
        export_core(zeros.fit(data.X, data.y), plan(), 2)


SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
DOUBLE = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=400, deadline=None)
@given(st.one_of(SINGLE, DOUBLE), st.lists(DOUBLE, max_size=8), st.booleans())
def test_a_float32_comparison_is_folded_into_a_float64_threshold(
    threshold: float, others: list[float], clipped: bool
) -> None:
    with np.errstate(over="ignore"):
        single = np.float32(threshold)
        near = np.nextafter(single, np.float32([np.inf, -np.inf]))
    at_most = fold_at_most(np.array([threshold]), clipped=clipped)[0]
    less = fold_less(np.array([threshold]), clipped=clipped)[0]
    middles = (float(single) + near.astype(float)) / 2
    x = np.array([threshold, -threshold, at_most, less, *near.astype(float), *middles, *others])
    with np.errstate(over="ignore"):
        x = np.concatenate([x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)])
        x = x[np.isfinite(x)]
        looked_at = (np.clip(x, -FLOAT32_MAX, FLOAT32_MAX) if clipped else x).astype(np.float32)
    np.testing.assert_array_equal(looked_at.astype(float) <= threshold, x <= at_most)
    np.testing.assert_array_equal(looked_at < single, x <= less)


def test_thresholds_near_zero_are_folded_as_lightgbm_reads_zero() -> None:
    zero = float(np.float32(1e-35))
    for threshold in (0.0, 1e-36, zero, -1e-36, -zero, 1.0, -1.0, 2 * zero):
        folded = fold_zero(threshold)
        for x in (zero, -zero, 1e-40, -1e-40, 0.0, 5e-324):
            assert (x <= folded) == (threshold >= 0.0)
        for x in (1.5 * zero, -1.5 * zero, 2.0, -2.0):
            assert (x <= folded) == (x <= threshold)


@pytest.mark.parametrize("size", [1e299, 2e300, 1e307])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_lightgbms_splits_of_numbers_as_large_as_they_get(classes: int, size: float) -> None:
    data = rows(classes)
    data.X[:, 0] *= size
    fitted = CANDIDATES["boosting"].fit({}, problem(classes), data, rounds=20)
    thresholds = fitted.estimator.booster_.trees_to_dataframe()["threshold"].dropna()
    assert (thresholds.abs() >= min(size, 1e300)).any()
    assert compare(fitted.estimator, classes, data.X).difference < 1e-12


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x08\x0a" + b"\xff" * 50])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"core\.onnx"):
        Engine(contract(2, plan()), plan(), content)


def test_a_graph_of_another_model_is_refused() -> None:
    fitted = CANDIDATES["linear"].fit({"C": 1.0}, problem(4), rows(4)).estimator
    content = export_core(fitted, 4)
    with pytest.raises(InputError, match="gives 4 scores"):
        Engine(contract(2, plan()), plan(), content)
