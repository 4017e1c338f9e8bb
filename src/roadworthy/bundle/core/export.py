"""From a fitted estimator to its graph: one way for every kind, alone or in a blend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from roadworthy.bundle.core.boosted import (
    Boosted,
    read_catboost,
    read_gradient,
    read_hist,
    read_lightgbm,
    read_xgboost,
    tree_reader,
)
from roadworthy.bundle.core.calibration import write_calibration
from roadworthy.bundle.core.categories import write_categories
from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.bundle.core.linear import write_linear
from roadworthy.bundle.core.steps import is_clip, write_step
from roadworthy.errors import InputError
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.train.calibration import Calibrated
from roadworthy.train.servable import Kind, kind_of

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_MARGINS = ("LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron")
_BOOSTED = ("lightgbm", "xgboost", "catboost", "hist", "gradient")


class Scores(NamedTuple):
    """What a graph has come to.

    Attributes:
        name: The tensor, double `[N, width]`.
        width: Probabilities a row; 1 for regression, and for two classes, where it is the second
            class's probability (a forest of two classes gives both).
    """

    name: str
    width: int


def export_core(estimator: Any, features: FeaturePlan | int, classes: int | None = None) -> bytes:
    """Export a fitted estimator as a core.

    Args:
        estimator: Anything of `train.servable.KINDS`, or a pipeline of known scalers and one.
        features: The plan, or the width of its matrix.
        classes: Classes of the target, 0 for regression; None takes the estimator's own. A class
            that the estimator never saw has probability 0.

    Returns:
        The graph's bytes: `X` double `[N, F]` -> `scores` double `[N, K]`.

    Raises:
        InputError: The estimator, or an option of it, is not exported.
    """
    graph = Graph()
    scores = write_core(graph, estimator, classes)
    width = features if isinstance(features, int) else features.width
    return graph.finish(scores.name, width, scores.width)


def write_core(graph: Graph, estimator: Any, classes: int | None = None) -> Scores:
    """Write an estimator into a graph, to which further stages may be added before it is done.

    Args:
        graph: The graph; its input is the plan's matrix.
        estimator: As for `export_core`.
        classes: As for `export_core`.

    Returns:
        The tensor of its scores.

    Raises:
        InputError: The estimator, or an option of it, is not exported.
    """
    if isinstance(estimator, Calibrated):
        inner = write_core(graph, estimator.estimator, classes)
        name = write_calibration(graph, inner.name, estimator.calibration)
        return Scores(name, 1 if len(estimator.classes_) == 2 else inner.width)
    scores = _write(graph, estimator)
    if not classes or not hasattr(estimator, "classes_"):
        return scores
    known = np.asarray(estimator.classes_, dtype=np.int64)
    if len(known) == classes:
        return scores
    name = scores.name
    if len(known) == 2 and scores.width == 1:
        rest = graph.add("Sub", graph.constant(1.0), name)
        name = graph.add("Concat", rest, name, axis=1)
    places = np.zeros((len(known), classes))
    places[np.arange(len(known)), known] = 1.0
    return Scores(graph.add("MatMul", name, graph.constant(places)), classes)


def _write(graph: Graph, estimator: Any) -> Scores:
    kind = kind_of(estimator)
    if kind is None:
        raise InputError(
            f"{type(estimator).__name__} is not exported",
            where="[train] candidates",
            fix="use an estimator of scikit-learn, LightGBM, XGBoost or CatBoost",
        )
    if kind == "blend":
        return _blend(graph, estimator)
    if kind == "log_target":
        low, high = (graph.constant(float(end)) for end in (estimator.low_, estimator.high_))
        inner = _write(graph, estimator.regressor_)
        logs = graph.add("Add", inner.name, graph.constant(estimator.centre_))
        return Scores(graph.add("Exp", graph.add("Clip", logs, low, high)), 1)
    if kind == "forest":
        return _forest(graph, estimator, every_class=True)
    if kind in _BOOSTED:
        model, matrix, clipped = _before(graph, estimator)
        boosted = _read(kind, model, clipped)
        if kind == "hist":
            matrix = write_categories(graph, matrix, model)
        sums, width = _sums(graph, matrix, boosted, 1.0, None)
        return Scores(_link(graph, sums, boosted.link), width)
    steps, model = _split(estimator)
    sums = write_linear(graph, steps, model, 1.0)
    width = np.atleast_2d(model.coef_).shape[0]
    if kind == "logistic":
        return Scores(_class_link(graph, model, sums, width), width)
    return Scores(graph.add("Exp", sums) if kind == "log_linear" else sums, 1)


def export_margin(estimator: Any, width: int) -> bytes:
    """Export what a classifier's `decision_function` answers.

    Args:
        estimator: A linear classifier, or boosted trees of scikit-learn.
        width: The width of its matrix.

    Returns:
        The graph's bytes: `X` double `[N, F]` -> `scores` double `[N, 1]`, of more than two
        classes `[N, K]`.

    Raises:
        InputError: It is of another kind.
    """
    graph = Graph()
    kind = kind_of(estimator)
    name = type(estimator).__name__
    if kind in ("hist", "gradient") and getattr(estimator, "loss", "") != "exponential":
        matrix = write_categories(graph, INPUT, estimator) if kind == "hist" else INPUT
        sums, count = _sums(graph, matrix, _read(kind, estimator, clipped=False), 1.0, None)
        return graph.finish(sums, width, count)
    if name not in _MARGINS and kind != "logistic":
        raise InputError(f"the decision function of {name} is not exported")
    sums = write_linear(graph, [], estimator, 1.0)
    return graph.finish(sums, width, np.atleast_2d(estimator.coef_).shape[0])


def _split(estimator: Any) -> tuple[list[Any], Any]:
    """The transformers before an estimator, and the estimator itself."""
    if not hasattr(estimator, "steps"):
        return [], estimator
    return [step for _, step in estimator.steps[:-1]], estimator.steps[-1][1]


def _before(graph: Graph, estimator: Any) -> tuple[Any, str, bool]:
    """The trees' estimator, the matrix that they look at, and whether it is bound to float32."""
    steps, model = _split(estimator)
    if len(steps) == 1 and is_clip(steps[0]) and steps[0].kw_args["a_max"] == _FLOAT32_MAX:
        return model, INPUT, True
    matrix = INPUT
    for step in steps:
        matrix = write_step(graph, matrix, step)
    return model, matrix, False


def _read(kind: Kind, model: Any, clipped: bool) -> Boosted:
    if kind == "lightgbm":
        return read_lightgbm(model)
    if kind == "xgboost":
        return read_xgboost(model, clipped=clipped)
    if kind == "catboost":
        return read_catboost(model)
    return read_hist(model) if kind == "hist" else read_gradient(model, clipped=clipped)


def _sums(
    graph: Graph, matrix: str, boosted: Boosted, weight: float, first: int | None
) -> tuple[str, int]:
    """Add a boosted model's trees; returns their sums and how many there are a row."""
    width = max([len(boosted.base), *(1 + target for target, _ in boosted.trees)])
    ensemble = graph.trees(matrix)
    own = ensemble.reserve(width) if first is None else first
    for target, value in enumerate(boosted.base):
        ensemble.add_constant(own + target, weight * value)
    for target, reader in boosted.trees:
        ensemble.add_tree(own + target, reader, weight)
    return ("" if first is not None else graph.targets(matrix, own, width)), width


def _link(graph: Graph, sums: str, link: str) -> str:
    if link == "sigmoid":
        return graph.add("Sigmoid", sums)
    if link == "softmax":
        return graph.add("Softmax", sums, axis=1)
    return graph.add("Exp", sums) if link == "exp" else sums


def _class_link(graph: Graph, model: Any, sums: str, width: int) -> str:
    if width == 1:
        return graph.add("Sigmoid", sums)
    if type(model).__name__ != "SGDClassifier":
        return graph.add("Softmax", sums, axis=1)
    each = graph.add("Sigmoid", sums)  # one against the rest
    total = graph.add("ReduceSum", each, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Div", each, total)


def _forest(graph: Graph, estimator: Any, *, every_class: bool) -> Scores:
    """Class shares or numbers, averaged over trees.

    Args:
        graph: The graph.
        estimator: A tree or a forest, perhaps behind scalers.
        every_class: Whether two classes give two columns, bit-equal to scikit-learn, or one.
    """
    model, matrix, clipped = _before(graph, estimator)
    classes = len(model.classes_) if hasattr(model, "classes_") else 1
    outputs = [1] if classes == 2 and not every_class else list(range(classes))
    members = getattr(model, "estimators_", [model])
    ensemble = graph.trees(matrix)
    first = ensemble.reserve(len(outputs))
    for member in members:
        for target, output in enumerate(outputs):
            ensemble.add_tree(
                first + target, tree_reader(member.tree_, output, 1.0, clipped=clipped)
            )
    sums = graph.targets(matrix, first, len(outputs))
    if len(members) > 1:
        sums = graph.add("Div", sums, graph.constant(float(len(members))))
    return Scores(sums, len(outputs))


def _blend(graph: Graph, blend: Any) -> Scores:
    """Sum the members' weighted margins (log-odds, log-probabilities) or predictions."""
    outputs = _outputs(blend)
    regression = not hasattr(blend, "classes_")
    shared: int | None = None
    terms: list[str] = []
    for member, weight in zip(blend.members_, blend.weights_, strict=True):
        kind = kind_of(member)
        if kind in _BOOSTED:
            model, matrix, clipped = _before(graph, member)
            boosted = _read(kind, model, clipped)
            if matrix == INPUT and (not regression or boosted.link == "identity"):
                shared = graph.trees().reserve(outputs) if shared is None else shared
                _sums(graph, matrix, boosted, float(weight), shared)
                continue
        terms.append(_term(graph, member, kind, float(weight), regression))
    if shared is not None:
        terms.insert(0, graph.targets(INPUT, shared, outputs))
    total = terms[0]
    for term in terms[1:]:
        total = graph.add("Add", total, term)
    if regression:
        return Scores(total, 1)
    return Scores(_link(graph, total, "sigmoid" if outputs == 1 else "softmax"), outputs)


def _outputs(blend: Any) -> int:
    classes = len(blend.classes_) if hasattr(blend, "classes_") else 1
    return 1 if classes <= 2 else classes


def _term(graph: Graph, member: Any, kind: Kind | None, weight: float, regression: bool) -> str:
    """One member's weighted margin or prediction, where it is no plain sum of trees."""
    factor = graph.constant(weight)
    if kind == "logistic" and type(_split(member)[1]).__name__ != "SGDClassifier":
        return write_linear(graph, *_split(member), weight)
    scores = (
        _forest(graph, member, every_class=False) if kind == "forest" else _write(graph, member)
    )
    if regression:
        return graph.add("Mul", scores.name, factor)
    from roadworthy.train.blend import LEAST_PROBABILITY

    limits = graph.constant(LEAST_PROBABILITY), graph.constant(1.0 - LEAST_PROBABILITY)
    sure = graph.add("Clip", scores.name, *limits)
    margin = graph.add("Log", sure)
    if scores.width == 1:
        rest = graph.add("Sub", graph.constant(1.0), sure)
        margin = graph.add("Sub", margin, graph.add("Log", rest))
    return graph.add("Mul", margin, factor)
