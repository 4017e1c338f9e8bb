"""A calibration as the last stage of a core."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.train.calibration import BETA_EDGE, EDGE, Calibration


def recalibrated_core(core: bytes, features: int, calibration: Calibration) -> bytes:
    """A core with one more calibration behind it; up to its scores it stays what it is.

    Args:
        core: The core's bytes.
        features: Numbers in a row's vector.
        calibration: What its scores go through.
    """
    graph = Graph()
    scores, width = graph.append(core, INPUT)
    written = write_calibration(graph, scores, calibration)
    return graph.finish(written, features, width if len(calibration.shifts) > 2 else 1)


def write_calibration(graph: Graph, scores: str, calibration: Calibration) -> str:
    """Add what `Calibration.apply` does, in float64.

    Args:
        graph: The graph.
        scores: Its probabilities so far: `[N, K]`, for two classes also the second's alone; or
            predicted numbers `[N, 1]`.
        calibration: The calibration.

    Returns:
        The calibrated probabilities: `[N, K]`, of two classes the second's alone `[N, 1]`, or
        numbers `[N, 1]`; with no calibration `scores` as it is.
    """
    if calibration.method == "none":
        return scores
    if calibration.method == "isotonic":
        knots, levels = np.array(calibration.knots), np.array(calibration.levels)
        return write_lines(graph, _second(graph, scores), knots, levels)
    slope, shifts = graph.constant(calibration.slope), calibration.shifts
    if calibration.method == "line":
        return graph.add("Add", graph.add("Mul", scores, slope), graph.constant(shifts[0]))
    if len(shifts) > 2:
        bounded = graph.add("Clip", scores, graph.constant(EDGE), graph.constant(1.0))
        sloped = graph.add("Mul", graph.add("Log", bounded), slope)
        return graph.add("Softmax", graph.add("Add", sloped, graph.constant(shifts)), axis=1)
    second, beta = _second(graph, scores), calibration.method == "beta"
    edge = BETA_EDGE if beta else EDGE
    bounded = graph.add("Clip", second, graph.constant(edge), graph.constant(1.0 - edge))
    rest = graph.add("Sub", graph.constant(1.0), bounded)
    logs = graph.add("Log", bounded), graph.add("Log", rest)
    if beta:
        own = graph.add("Mul", logs[1], graph.constant(calibration.rest))
        sloped = graph.add("Sub", graph.add("Mul", logs[0], slope), own)
    else:
        sloped = graph.add("Mul", graph.add("Sub", *logs), slope)
    return graph.add("Sigmoid", graph.add("Add", sloped, graph.constant(shifts[1])))


def _second(graph: Graph, scores: str) -> str:
    """The second class's probability `[N, 1]`: the last column, be there one or two."""
    return graph.add("Gather", scores, graph.constant([-1], np.int64), axis=1)


def write_lines(graph: Graph, column: str, knots: np.ndarray, levels: np.ndarray) -> str:
    """Straight lines between knots: the row's knot is found by counting those below it.

    Args:
        graph: The graph.
        column: Numbers, `[N, 1]`; those beyond the ends count as the ends.
        knots: Growing numbers.
        levels: The answer at each.

    Returns:
        The answers, `[N, 1]`.
    """
    widths = np.diff(knots)
    slopes = np.append(np.diff(levels) / widths, 0.0)
    low, high = graph.constant(knots[0]), graph.constant(knots[-1])
    inside = graph.add("Clip", column, low, high)
    reached = graph.add("GreaterOrEqual", inside, graph.constant(knots[None, :]))
    counted = graph.add("Cast", reached, to=TensorProto.INT64)
    axes = graph.constant([1], np.int64)
    count = graph.add("ReduceSum", counted, axes, keepdims=1)
    place = graph.add("Sub", count, graph.constant([1], np.int64))
    start = graph.add("Gather", graph.constant(knots), place, axis=0)
    level = graph.add("Gather", graph.constant(levels), place, axis=0)
    slope = graph.add("Gather", graph.constant(slopes), place, axis=0)
    step = graph.add("Mul", graph.add("Sub", inside, start), slope)
    return graph.add("Add", step, level)
