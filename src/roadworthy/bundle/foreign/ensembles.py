"""Estimators made of estimators: votes, bags, stacks, calibrations, transformed targets.

Each is written as its members are, so that it is as exact as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from roadworthy.bundle.core.calibration import write_lines
from roadworthy.bundle.core.graph import Graph
from roadworthy.bundle.core.steps import write_step
from roadworthy.errors import InputError

Ask = Callable[[Any, str], str]
"""Writes a fitted member's answers: its `predict_proba` [N, K], or its `decision_function` or
`predict` [N, 1 or K]; by the member and the method's name."""


class Ensemble(NamedTuple):
    """How an estimator consists of others.

    Attributes:
        members: They, fitted.
        write: Writes its own answers `[N, K]` or `[N, 1]`, by graph, estimator, what asks a
            member, and the matrix that all of them take, if there is one.
    """

    members: Callable[[Any], list[Any]]
    write: Callable[[Graph, Any, Ask, str | None], str]


class Behind(NamedTuple):
    """A member that takes another matrix: other members' answers, or some of the columns."""

    estimator: Any
    matrix: str


def ensemble_of(estimator: Any) -> Ensemble | None:
    """How an estimator consists of others; None when it does not, or not in a way known here."""
    kind = type(estimator)
    home = kind.__module__.partition(".")[0]
    return _ENSEMBLES.get(kind.__name__) if home == "sklearn" else None


def members_of(estimator: Any) -> list[Any]:
    """The fitted members of an estimator that consists of others; none of any other."""
    found = ensemble_of(estimator)
    return [] if found is None else found.members(estimator)


def _vote(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    weights = model._weights_not_none
    method = "predict_proba" if hasattr(model, "classes_") else "predict"
    parts = [ask(member, method) for member in model.estimators_]
    return _mean(graph, parts, weights)


def _bag(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    every = list(range(model.n_features_in_))
    parts = []
    for member, features in zip(model.estimators_, model.estimators_features_, strict=True):
        chosen = [int(feature) for feature in features]
        who = member
        if chosen != every:
            if matrix is None:
                raise InputError(f"a {type(model).__name__} of some raw levels is not exported")
            who = Behind(member, graph.column(matrix, chosen))
        if not hasattr(model, "classes_"):
            parts.append(ask(who, "predict"))
            continue
        if not hasattr(member, "predict_proba"):
            raise InputError(f"a {type(model).__name__} of votes is not exported")
        shares = ask(who, "predict_proba")
        if len(member.classes_) < len(model.classes_):  # its sample lacked a class
            places = np.zeros((len(member.classes_), len(model.classes_)))
            places[np.arange(len(places)), np.asarray(member.classes_, dtype=np.int64)] = 1.0
            shares = graph.add("MatMul", shares, graph.constant(places))
        parts.append(shares)
    return _mean(graph, parts)


def _stack(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    parts = []
    for member, method in zip(model.estimators_, model.stack_method_, strict=True):
        made = ask(member, method)
        if method == "predict_proba" and len(model.classes_) == 2:
            made = graph.column(made, [1])
        parts.append(made)
    if model.passthrough:
        if matrix is None:
            raise InputError(f"a {type(model).__name__} that hands on raw levels is not exported")
        parts.append(matrix)
    together = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    method = "predict_proba" if hasattr(model, "classes_") else "predict"
    return ask(Behind(model.final_estimator_, together), method)


def _calibrated(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    return _mean(graph, [_calibrate(graph, each, ask) for each in model.calibrated_classifiers_])


def _calibrate(graph: Graph, model: Any, ask: Ask) -> str:
    """One classifier with a calibrator for each class, or for the second of two."""
    if model.method not in ("sigmoid", "isotonic"):
        raise InputError(f"calibration by {model.method} is not exported")
    classes = len(model.classes)
    if len(model.estimator.classes_) != classes:
        raise InputError("a calibration of a classifier that lacks a class is not exported")
    margin = hasattr(model.estimator, "decision_function")
    found = ask(model.estimator, "decision_function" if margin else "predict_proba")
    if classes == 2:
        column = graph.column(found, [0 if margin else 1])
        second = _curve(graph, column, model.calibrators[0])
        first = graph.add("Sub", graph.constant(1.0), second)
        return graph.add("Concat", first, second, axis=1)
    each = [
        _curve(graph, graph.column(found, [place]), calibrator)
        for place, calibrator in enumerate(model.calibrators)
    ]
    return _normalised(graph, graph.add("Concat", *each, axis=1), np.full(classes, 1.0 / classes))


def _curve(graph: Graph, column: str, calibrator: Any) -> str:
    """Platt's sigmoid, or the straight lines of an isotonic regression."""
    if hasattr(calibrator, "a_"):
        scaled = graph.add("Mul", column, graph.constant(float(calibrator.a_)))
        moved = graph.add("Add", scaled, graph.constant(float(calibrator.b_)))
        return graph.add("Sigmoid", graph.add("Neg", moved))
    knots = np.asarray(calibrator.X_thresholds_, dtype=np.float64)
    levels = np.asarray(calibrator.y_thresholds_, dtype=np.float64)
    return write_lines(graph, column, knots, levels)


def _one_against_rest(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    if model.multilabel_:
        raise InputError("a OneVsRestClassifier of several labels is not exported")
    parts = [graph.column(ask(each, "predict_proba"), [1]) for each in model.estimators_]
    if len(parts) == 1:
        parts.insert(0, graph.add("Sub", graph.constant(1.0), parts[0]))
    return _normalised(graph, graph.add("Concat", *parts, axis=1), np.zeros(len(parts)))


def _normalised(graph: Graph, shares: str, empty: np.ndarray) -> str:
    """Shares of their sum; `empty` where that is 0."""
    total = graph.add("ReduceSum", shares, graph.constant([1], np.int64), keepdims=1)
    none = graph.add("Equal", total, graph.constant(0.0))
    divided = graph.add("Div", shares, graph.add("Where", none, graph.constant(1.0), total))
    return graph.add("Where", none, graph.constant(empty), divided)


def _transformed(graph: Graph, model: Any, ask: Ask, matrix: str | None) -> str:
    found = ask(model.regressor_, "predict")
    back = model.transformer_
    name = type(back).__name__
    if name == "FunctionTransformer":
        inverse = type(back)(back.inverse_func, kw_args=back.inv_kw_args)
        return write_step(graph, found, inverse)
    if name == "StandardScaler":
        if back.with_std:
            found = graph.add("Mul", found, graph.constant(back.scale_))
        return graph.add("Add", found, graph.constant(back.mean_)) if back.with_mean else found
    if name == "MinMaxScaler" and not back.clip:
        moved = graph.add("Sub", found, graph.constant(back.min_))
        return graph.add("Div", moved, graph.constant(back.scale_))
    raise InputError(f"a target transformed by {name} is not exported")


def _mean(graph: Graph, parts: list[str], weights: Any = None) -> str:
    """The mean of members' answers, in the order of their sum."""
    factors = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = ""
    for part, factor in zip(parts, factors.tolist(), strict=True):
        term = part if factor == 1.0 else graph.add("Mul", part, graph.constant(factor))
        total = graph.add("Add", total, term) if total else term
    whole = float(factors.sum())
    return total if whole == 1.0 else graph.add("Div", total, graph.constant(whole))


def _estimators(model: Any) -> list[Any]:
    return [member for member in model.estimators_ if not isinstance(member, str)]


_ENSEMBLES = {
    "VotingClassifier": Ensemble(_estimators, _vote),
    "VotingRegressor": Ensemble(_estimators, _vote),
    "BaggingClassifier": Ensemble(_estimators, _bag),
    "BaggingRegressor": Ensemble(_estimators, _bag),
    "StackingClassifier": Ensemble(_estimators, _stack),
    "StackingRegressor": Ensemble(_estimators, _stack),
    "OneVsRestClassifier": Ensemble(_estimators, _one_against_rest),
    "CalibratedClassifierCV": Ensemble(
        lambda model: [each.estimator for each in model.calibrated_classifiers_], _calibrated
    ),
    "TransformedTargetRegressor": Ensemble(lambda model: [model.regressor_], _transformed),
}
"""Name of an estimator -> how it consists of others."""
