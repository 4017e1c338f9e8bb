"""scikit-learn's transformers of numbers as float64 nodes: scalers, imputers and functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from roadworthy.bundle.core.features import FEATURES
from roadworthy.bundle.core.graph import Graph
from roadworthy.bundle.core.trees import Branch, Leaf, Node
from roadworthy.errors import InputError


def write_step(graph: Graph, matrix: str, step: Any) -> str:
    """Write one fitted transformer, or a pipeline of them.

    Args:
        graph: The graph.
        matrix: Its input, `[N, F]`.
        step: The transformer.

    Returns:
        Its output, `[N, F']`.

    Raises:
        InputError: It is of a kind that is not exported.
    """
    if step in (None, "passthrough"):
        return matrix
    if isinstance(step, Pipeline):
        for _, part in step.steps:
            matrix = write_step(graph, matrix, part)
        return matrix
    writer = _WRITERS.get(type(step).__name__)
    if writer is None:
        raise InputError(f"{type(step).__name__} is not exported", fix=_KNOWN)
    return writer(graph, matrix, step)


def is_clip(step: Any) -> bool:
    """Whether a transformer is a FunctionTransformer of `numpy.clip` with two numbers."""
    if getattr(step, "func", None) is not np.clip or set(step.kw_args or ()) != {"a_min", "a_max"}:
        return False
    return all(isinstance(bound, int | float) for bound in step.kw_args.values())


def _function(graph: Graph, matrix: str, step: Any) -> str:
    if step.func is None or getattr(step.func, "func", None) is check_array:
        return matrix  # HistGradientBoosting looks at its numbers by a partial of check_array
    if is_clip(step):
        low, high = (graph.constant(float(step.kw_args[key])) for key in ("a_min", "a_max"))
        return graph.add(
            "Where", graph.add("IsNaN", matrix), matrix, _clip(graph, matrix, low, high)
        )
    if getattr(step.func, "__name__", "") == "signed_log":
        return graph.add("Mul", graph.add("Sign", matrix), _log1p(graph, graph.add("Abs", matrix)))
    for function, writer in _FUNCTIONS:
        if step.func is function and not step.kw_args:
            return writer(graph, matrix)
    raise InputError(f"a FunctionTransformer of {step.func!r} is not exported")


def _clip(graph: Graph, matrix: str, low: str, high: str) -> str:
    return graph.add("Clip", matrix, low, high)


def _imputer(graph: Graph, matrix: str, step: Any) -> str:
    if not isinstance(step.missing_values, float) or not np.isnan(step.missing_values):
        raise InputError("a SimpleImputer of anything but NaN is not exported")
    fill = np.asarray(step.statistics_, dtype=np.float64)
    empty = np.isnan(fill)
    unknown = graph.add("IsNaN", matrix)
    known = graph.add("Where", unknown, graph.constant(np.where(empty, 0.0, fill)), matrix)
    if empty.any() and not step.keep_empty_features:
        known = graph.column(known, np.flatnonzero(~empty).tolist())
    if not step.add_indicator or not len(step.indicator_.features_):
        return known
    return graph.add("Concat", known, _indicator(graph, matrix, step.indicator_), axis=1)


def _indicator(graph: Graph, matrix: str, step: Any) -> str:
    chosen = graph.column(matrix, [int(column) for column in step.features_])
    return graph.add("Cast", graph.add("IsNaN", chosen), to=TensorProto.DOUBLE)


def _standard(graph: Graph, matrix: str, step: Any) -> str:
    if step.with_mean:
        matrix = graph.add("Sub", matrix, graph.constant(step.mean_))
    return graph.add("Div", matrix, graph.constant(step.scale_)) if step.with_std else matrix


def _min_max(graph: Graph, matrix: str, step: Any) -> str:
    scaled = graph.add("Mul", matrix, graph.constant(step.scale_))
    moved = graph.add("Add", scaled, graph.constant(step.min_))
    if not step.clip:
        return moved
    return _clip(graph, moved, *(graph.constant(float(end)) for end in step.feature_range))


def _max_abs(graph: Graph, matrix: str, step: Any) -> str:
    return graph.add("Div", matrix, graph.constant(step.scale_))


def _robust(graph: Graph, matrix: str, step: Any) -> str:
    if step.with_centering:
        matrix = graph.add("Sub", matrix, graph.constant(step.center_))
    return graph.add("Div", matrix, graph.constant(step.scale_)) if step.with_scaling else matrix


def _power(graph: Graph, matrix: str, step: Any) -> str:
    """Yeo and Johnson (2000): each side of zero has a power of its own."""
    if step.method != "yeo-johnson":
        raise InputError(f"PowerTransformer's {step.method} is not exported")
    powers = np.asarray(step.lambdas_, dtype=np.float64)
    above = _power_side(graph, graph.add("Max", matrix, graph.constant(0.0)), powers)
    low = graph.add("Neg", graph.add("Min", matrix, graph.constant(0.0)))
    below = graph.add("Neg", _power_side(graph, low, 2.0 - powers))
    positive = graph.add("GreaterOrEqual", matrix, graph.constant(0.0))
    moved = graph.add("Where", positive, above, below)
    return _standard(graph, moved, step._scaler) if step.standardize else moved


def _power_side(graph: Graph, matrix: str, powers: np.ndarray) -> str:
    """`((x + 1)^p - 1) / p`, which is `log(x + 1)` where p is 0."""
    flat = np.abs(powers) < np.finfo(np.float64).eps
    logs = _log1p(graph, matrix)
    curved = _expm1(graph, graph.add("Mul", logs, graph.constant(np.where(flat, 1.0, powers))))
    curved = graph.add("Div", curved, graph.constant(np.where(flat, 1.0, powers)))
    return graph.add("Where", graph.constant(flat, np.bool_), logs, curved)


def _log1p(graph: Graph, matrix: str) -> str:
    """`log(1 + x)` for x > -1, to a few ulp also near 0 (Goldberg 1991, theorem 4)."""
    one = graph.constant(1.0)
    up = graph.add("Add", matrix, one)
    lost = graph.add("Sub", up, one)
    exact = graph.add("Mul", graph.add("Log", up), graph.add("Div", matrix, lost))
    tiny = graph.add("Equal", lost, graph.constant(0.0))
    return graph.add("Where", tiny, matrix, exact)


def _expm1(graph: Graph, matrix: str) -> str:
    """`exp(x) - 1` to a few ulp also near 0 (Higham 2002, section 1.14.1)."""
    power = graph.add("Exp", matrix)
    less = graph.add("Sub", power, graph.constant(1.0))
    exact = graph.add("Div", graph.add("Mul", less, matrix), graph.add("Log", power))
    tiny = graph.add("Equal", less, graph.constant(0.0))
    # far out the quotient is no number or 0 / -inf, where exp(x) - 1 itself is right
    far = graph.add("GreaterOrEqual", graph.add("Abs", matrix), graph.constant(1.0))
    return graph.add("Where", tiny, matrix, graph.add("Where", far, less, exact))


def _quantile(graph: Graph, matrix: str, step: Any) -> str:
    """Interpolation between quantiles: a tree finds a number's piece in log2(knots) steps.

    Each feature has three targets: a piece's start, its value there and its slope.
    """
    if step.output_distribution != "uniform":
        raise InputError("QuantileTransformer to a normal distribution is not exported")
    features = step.quantiles_.shape[1]
    ensemble = graph.trees(matrix)
    first = ensemble.reserve(3 * features)
    for feature in range(features):
        pieces = _pieces(step.quantiles_[:, feature], step.references_)
        for part in range(3):
            nodes: list[Node] = []
            _search_tree(nodes, pieces, part, feature)
            ensemble.add_tree(first + part * features + feature, nodes.__getitem__)
    start, value, slope = (
        graph.targets(matrix, first + part * features, features) for part in range(3)
    )
    inside = graph.add("Mul", graph.add("Sub", matrix, start), slope)
    # a piece beyond the ends has slope 0, and far numbers must not make 0 x inf of it
    return graph.add("Add", inside, value)


Piece = tuple[float, float, float, float]


def _pieces(knots: np.ndarray, values: np.ndarray) -> list[Piece]:
    """Pieces `(last number, start, value, slope)` in order; a repeated knot is one of its own."""
    unique, firsts = np.unique(knots, return_index=True)
    lasts = np.append(firsts[1:], len(knots)) - 1
    low, high = values[firsts], values[lasts]
    middle = (low + high) / 2.0
    middle[0], middle[-1] = 0.0, 1.0
    if len(unique) == 1:  # a constant: scikit-learn's lower end wins
        middle[:] = 0.0
    pieces: list[Piece] = [(float(np.nextafter(unique[0], -np.inf)), 0.0, 0.0, 0.0)]
    for place, knot in enumerate(unique):
        pieces.append((float(knot), float(knot), float(middle[place]), 0.0))
        if place + 1 < len(unique):
            end = unique[place + 1]
            slope = (low[place + 1] - high[place]) / (end - knot)
            last = float(np.nextafter(end, -np.inf))
            if last > knot:
                pieces.append((last, float(knot), float(high[place]), float(slope)))
    pieces.append((np.inf, 0.0, 1.0, 0.0))
    return pieces


def _search_tree(nodes: list[Node], pieces: list[Piece], part: int, feature: int) -> int:
    place = len(nodes)
    if len(pieces) == 1:
        nodes.append(Leaf(pieces[0][1 + part]))
        return place
    half = len(pieces) // 2
    nodes.append(Leaf(0.0))
    left = _search_tree(nodes, pieces[:half], part, feature)
    right = _search_tree(nodes, pieces[half:], part, feature)
    nodes[place] = Branch(feature, pieces[half - 1][0], left, right, missing_left=True)
    return place


def _union(graph: Graph, matrix: str, step: Any) -> str:
    weights = step.transformer_weights or {}
    parts = []
    for name, part in step.transformer_list:
        if isinstance(part, str) and part == "drop":
            continue
        made = write_step(graph, matrix, part)
        if name in weights:
            made = graph.add("Mul", made, graph.constant(float(weights[name])))
        parts.append(made)
    return graph.add("Concat", *parts, axis=1)


def _columns(graph: Graph, matrix: str, step: Any) -> str:
    """A ColumnTransformer among numbers: its parts side by side."""
    places = step._transformer_to_input_indices
    weights = step.transformer_weights or {}
    parts = []
    for name, part, _ in step.transformers_:
        columns = [int(place) for place in places[name]]
        if (isinstance(part, str) and part == "drop") or not columns:
            continue
        made = write_step(graph, graph.column(matrix, columns), part)
        if name in weights:
            made = graph.add("Mul", made, graph.constant(float(weights[name])))
        parts.append(made)
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


_FUNCTIONS: tuple[tuple[Any, Callable[[Graph, str], str]], ...] = (
    (np.log1p, lambda graph, matrix: _log1p(graph, matrix)),
    (np.expm1, lambda graph, matrix: _expm1(graph, matrix)),
    (np.log, lambda graph, matrix: graph.add("Log", matrix)),
    (np.exp, lambda graph, matrix: graph.add("Exp", matrix)),
    (np.sqrt, lambda graph, matrix: graph.add("Sqrt", matrix)),
    (np.abs, lambda graph, matrix: graph.add("Abs", matrix)),
    (np.square, lambda graph, matrix: graph.add("Mul", matrix, matrix)),
    (np.negative, lambda graph, matrix: graph.add("Neg", matrix)),
    (np.sign, lambda graph, matrix: graph.add("Sign", matrix)),
)

_KNOWN = "take steps of docs/formats.md"

_WRITERS: dict[str, Callable[[Graph, str, Any], str]] = {
    "FunctionTransformer": _function,
    "FeatureUnion": _union,
    "ColumnTransformer": _columns,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "QuantileTransformer": _quantile,
    "PowerTransformer": _power,
    **FEATURES,
}
