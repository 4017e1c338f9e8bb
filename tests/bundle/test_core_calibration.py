"""The calibration of a core against the Python that was judged."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.bundle.core.calibration import write_calibration
from roadworthy.bundle.core.graph import INPUT, OUTPUT, Graph
from roadworthy.train.calibration import Calibration, fit_calibration

HOSTILE = [0.0, 5e-324, 1e-300, 1e-15, 1e-12, 0.5, np.nextafter(0.5, 1), 1 - 1e-12, 1 - 1e-16, 1.0]


def run(calibration: Calibration, scores: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Scores through a graph of the calibration alone, as `Engine.run_many` reads its output."""
    columns = columns or scores.shape[1]
    graph = Graph()
    output = write_calibration(graph, INPUT, calibration)
    if output == INPUT:
        output = graph.add("Identity", INPUT)
    width = 1 if scores.shape[1] == 2 and calibration.method != "none" else columns
    content = graph.finish(output, columns, width)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = np.ascontiguousarray(scores[:, -columns:])
    found = session.run([OUTPUT], {INPUT: given})[0]
    one = np.vstack([session.run([OUTPUT], {INPUT: row[None]})[0] for row in given[:20]])
    np.testing.assert_allclose(found[:20], one, atol=1e-15)
    return np.hstack([1.0 - found, found]) if found.shape[1] == 1 else found


def scores_of(classes: int, rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    logits = 3 * random.normal(size=(rows, classes))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = (scores.cumsum(axis=1) ** 0.7 < random.random((rows, 1))).sum(axis=1)
    return scores, codes.clip(max=classes - 1).astype(float)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_two_classes_are_calibrated_as_in_python(method: str, columns: int) -> None:
    scores, y = scores_of(2)
    calibration = fit_calibration(method, scores, y, np.ones(len(y)))
    second = np.concatenate([scores[:, 1], HOSTILE, calibration.knots])
    second = np.concatenate([second, np.nextafter(second, 0), np.nextafter(second, 1)])
    both = np.column_stack([1.0 - second, second])
    wanted, got = calibration.apply(both), run(calibration, both, columns)
    assert np.abs(got - wanted).max() < 1e-12
    sure = np.abs(wanted[:, 1] - 0.5) > 1e-12
    assert (got.argmax(axis=1) == wanted.argmax(axis=1))[sure].all()


@pytest.mark.parametrize("classes", [3, 7])
def test_several_classes_are_calibrated_as_in_python(classes: int) -> None:
    scores, y = scores_of(classes)
    calibration = fit_calibration("sigmoid", scores, y, np.ones(len(y)))
    corners = np.vstack([np.eye(classes), np.full((1, classes), 1 / classes)])
    scores = np.vstack([scores, corners])
    wanted, got = calibration.apply(scores), run(calibration, scores)
    assert np.abs(got - wanted).max() < 1e-12
    top = np.sort(wanted, axis=1)
    sure = top[:, -1] - top[:, -2] > 1e-12
    assert (got.argmax(axis=1) == wanted.argmax(axis=1))[sure].all()


def test_a_temperature_alone_leaves_every_label_as_it_is() -> None:
    scores, _ = scores_of(5)
    calibration = Calibration(method="sigmoid", slope=0.3, shifts=(0.0,) * 5)
    got = run(calibration, scores)
    np.testing.assert_array_equal(got.argmax(axis=1), scores.argmax(axis=1))


def test_without_a_calibration_the_scores_are_the_same_bits() -> None:
    scores, _ = scores_of(4)
    np.testing.assert_array_equal(run(Calibration(), scores), scores)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30),
    st.sampled_from(["sigmoid", "isotonic"]),
)
def test_any_probability_is_calibrated_as_in_python(p, rows, method) -> None:
    second, hits = np.array(rows, dtype=float).T
    learned = np.column_stack([1.0 - second, second])
    calibration = fit_calibration(method, learned, hits, np.ones(len(hits)))
    both = np.column_stack([1.0 - np.array(p), p])
    assert np.abs(run(calibration, both) - calibration.apply(both)).max() < 1e-12


def test_the_graph_is_the_same_bytes_every_time() -> None:
    scores, y = scores_of(2)
    calibration = fit_calibration("isotonic", scores, y, np.ones(len(y)))
    contents = set()
    for _ in range(2):
        graph = Graph()
        contents.add(graph.finish(write_calibration(graph, INPUT, calibration), 2, 1))
    assert len(contents) == 1
