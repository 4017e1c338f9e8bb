"""A core as NumPy for many rows: the runtime's answers, and never anything else."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from roadworthy.bundle import engine, tree_sums
from roadworthy.bundle.core.graph import INPUT, OUTPUT, Graph
from roadworthy.bundle.core.trees import Branch, Leaf, Node
from roadworthy.bundle.graph_reader import read_graph, without_repeats
from roadworthy.bundle.matrix_core import MatrixCore, compile_matrix_core
from roadworthy.bundle.scalar import compile_core
from roadworthy.bundle.tree_sums import TreeSums
from roadworthy.prepare.columns import encode_columns
from tests.conftest import Trained

FEATURES = 3
NUMBERS = (-math.inf, -1.0, -0.0, 0.0, 5e-324, 1.0, math.nextafter(1.0, 2.0), 1e300, math.inf)
"""Few, so that rows often lie on a threshold."""
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def core(bundles: dict[str, Trained], name: str) -> bytes:
    return (bundles[name].bundle.path / "core.onnx").read_bytes()


def random_tree(leaves: int, random: np.random.Generator) -> list[Node]:
    """A tree of any shape: leaves are split one after the other."""
    nodes: list[Node] = [Leaf(float(random.normal()))]
    ends = [0]
    while len(ends) < leaves:
        number = ends.pop(int(random.integers(len(ends))))
        below = [len(nodes), len(nodes) + 1]
        threshold = float(random.choice([*NUMBERS, *random.normal(size=4)]))
        missing_left = bool(random.integers(2))
        nodes[number] = Branch(int(random.integers(FEATURES)), threshold, *below, missing_left)
        nodes += [Leaf(float(random.normal())), Leaf(float(random.normal()))]
        ends += below
    return nodes


def graph_of(sizes: list[int], targets: int, random: np.random.Generator) -> bytes:
    """Trees of so many leaves, their targets in turn."""
    graph = Graph()
    ensemble = graph.trees()
    ensemble.reserve(targets)
    for number, leaves in enumerate(sizes):
        ensemble.add_tree(number % targets, random_tree(leaves, random).__getitem__)
    return graph.finish(graph.targets(INPUT, 0, targets), FEATURES, targets)


def by_runtime(model: bytes, matrix: np.ndarray) -> np.ndarray:
    """Row by row, the way in which a single row is answered."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT], {INPUT: row[None]})[0] for row in matrix])


@QUICK
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=8),
    targets=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@example(sizes=[1], targets=1, seed=0)
@example(sizes=[32, 32], targets=1, seed=0)
@example(sizes=[33, 1, 64], targets=2, seed=0)
@example(sizes=[65, 128, 129], targets=3, seed=0)
def test_trees_of_any_shape_add_up_to_what_the_runtime_says(
    sizes: list[int], targets: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    model = graph_of(sizes, targets, random)
    run = compile_matrix_core(model, INPUT, OUTPUT)
    assert run is not None
    matrix = random.choice([*NUMBERS, math.nan, *random.normal(size=6)], size=(40, FEATURES))
    np.testing.assert_allclose(run(matrix), by_runtime(model, matrix), rtol=1e-12, atol=1e-12)


@QUICK
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["Abs", "Neg", "Sign", "Add", "Sub", "Max", "Less"]),
            st.integers(0, 99),
            st.integers(0, 99),
        ),
        min_size=1,
        max_size=12,
    )
)
@example(steps=[("Abs", 0, 0), ("Abs", 0, 0)])
def test_what_a_graph_says_twice_is_computed_once_and_stays_the_same(
    steps: list[tuple[str, int, int]],
) -> None:
    graph = Graph()
    tensors = [INPUT, graph.constant([[1.0, -2.0, 3.0]]), graph.constant([[1.0, -2.0, 3.0]])]
    for op, left, right in steps:
        inputs = [tensors[left % len(tensors)], tensors[right % len(tensors)]]
        if op == "Less":
            tensors.append(graph.add("Where", graph.add(op, *inputs), *inputs))
        else:
            tensors.append(graph.add(op, *inputs[: 1 if op in ("Abs", "Neg", "Sign") else 2]))
    if tensors[-1] != INPUT:
        tensors.append(graph.add("Add", INPUT, tensors[-1]))
    model = graph.finish(tensors[-1], FEATURES, FEATURES)
    once = without_repeats(read_graph(model), OUTPUT)
    written = [(node.op, node.inputs) for node in once.nodes if node.output != OUTPUT]
    assert len(set(written)) == len(written)
    assert len(once.constants) <= 1
    matrix = np.array([[0.0, 1.0, -2.0], [3.5, -1e300, 1e-300]])
    run = compile_matrix_core(model, INPUT, OUTPUT)
    one = compile_core(model, INPUT, OUTPUT, FEATURES)
    assert run is not None
    assert one is not None
    wanted = by_runtime(model, matrix)
    np.testing.assert_allclose(run(matrix), wanted, rtol=1e-12)
    np.testing.assert_allclose([one(row) for row in matrix.tolist()], wanted, rtol=1e-12)


@pytest.mark.parametrize("room", [0, 1 << 12, 1 << 18])
def test_features_that_share_a_table_add_up_as_each_alone(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    random = np.random.default_rng(3)
    model = graph_of([3, 9, 40, 31, 2] * 6, 2, random)
    matrix = random.choice([*NUMBERS, math.nan, *random.normal(size=6)], size=(200, FEATURES))
    wanted = by_runtime(model, matrix)
    monkeypatch.setattr(tree_sums, "_JOINED_BYTES", room)
    run = compile_matrix_core(model, INPUT, OUTPUT)
    assert run is not None
    np.testing.assert_allclose(run(matrix), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("targets", [1, 3])
def test_the_same_row_has_the_same_sum_in_whatever_company(targets: int) -> None:
    random = np.random.default_rng(0)
    run = compile_matrix_core(graph_of([40] * 300, targets, random), INPUT, OUTPUT)
    assert run is not None
    matrix = random.normal(size=(3000, FEATURES))  # more than are looked at together
    found = run(matrix)
    for start, end in ((7, 8), (100, 102), (500, 1500), (2990, 3000)):
        assert np.array_equal(run(matrix[start:end]), found[start:end])
    for end in range(1, 500):  # whatever is left for the last look
        assert np.array_equal(run(matrix[:end]), found[:end])


def test_a_core_of_any_task_says_what_the_runtime_says(bundles: dict[str, Trained]) -> None:
    for name, trained in bundles.items():
        model = core(bundles, name)
        run = compile_matrix_core(model, INPUT, OUTPUT)
        if run is None:  # many large trees, which the search for a model may come to
            assert b"TreeEnsemble" in model, name
            continue
        matrix = encode_columns(trained.table.frame.head(200), trained.model.plan)
        numbers = [place for place, one in enumerate(trained.model.plan.features) if not one.levels]
        matrix[::7, numbers] *= -1e6
        found = run(matrix)
        np.testing.assert_allclose(found, by_runtime(model, matrix), rtol=1e-9, atol=1e-12)
        for start, end in ((0, 1), (1, 3), (5, 22), (70, 134)):
            assert np.array_equal(run(matrix[start:end]), found[start:end]), name


def test_a_code_beyond_every_level_is_an_unknown_level_in_many_rows_too(
    bundles: dict[str, Trained],
) -> None:
    engine = bundles["linear"].bundle.engine
    plan = bundles["linear"].bundle.plan
    frame = bundles["linear"].table.frame.head(100)
    matrix = encode_columns(frame, bundles["linear"].model.plan)
    coded = [place for place, feature in enumerate(plan.features) if feature.levels]
    matrix[3, coded] = 1e9  # beyond every level
    found = engine.run_many(matrix)
    wanted = np.concatenate([engine.run_many(row[None]) for row in matrix])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_what_is_too_large_or_unknown_is_left_to_the_runtime() -> None:
    random = np.random.default_rng(0)
    graph = Graph()
    unknown = graph.finish(graph.add("Tanh", INPUT), FEATURES, FEATURES)
    assert compile_matrix_core(unknown, INPUT, OUTPUT) is None
    assert compile_matrix_core(b"\x00" * (9 << 20), INPUT, OUTPUT) is None
    many = graph_of([3] * 31_000, 1, random)
    assert compile_matrix_core(many, INPUT, OUTPUT) is None


@QUICK
@given(data=st.data())
def test_a_damaged_graph_is_refused_or_says_something_and_is_no_fault(data: st.DataObject) -> None:
    content = bytearray(graph_of([5, 9], 2, np.random.default_rng(0)))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    compile_matrix_core(bytes(content), INPUT, OUTPUT)


def test_trees_that_compare_or_add_up_otherwise_are_refused() -> None:
    node = next(
        node
        for node in read_graph(graph_of([5], 1, np.random.default_rng(0))).nodes
        if node.op == "ai.onnx.ml.TreeEnsemble"
    )
    matrix = np.zeros((2, FEATURES))
    assert TreeSums(node)(matrix).shape == (2, 1)
    for changed in (
        node._replace(integers={**node.integers, "aggregate_function": 0}),
        node._replace(integers={**node.integers, "post_transform": 1}),
        node._replace(tensors={**node.tensors, "nodes_modes": np.array([2, 0, 0, 0], np.uint8)}),
    ):
        try:
            TreeSums(changed)
        except ValueError:
            continue
        raise AssertionError(changed.integers)


def test_what_says_otherwise_than_the_runtime_is_not_used(
    bundles: dict[str, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundles["binary"].bundle
    rows = encode_columns(bundles["binary"].table.frame.head(100), bundles["binary"].model.plan)
    wanted = bundle.engine.run_many(rows)
    told: list[int] = []

    def wrong(core: bytes, given: str, wanted: str) -> MatrixCore:
        def run(matrix: np.ndarray) -> np.ndarray:
            told.append(len(matrix))
            return np.full((len(matrix), 1), 0.25)

        return run

    monkeypatch.setattr(engine, "compile_matrix_core", wrong)
    other = engine.Engine(bundle.contract, bundle.plan, bundle.core)
    asked = len(told)
    assert asked
    np.testing.assert_allclose(other.run_many(rows), wanted, rtol=1e-9, atol=1e-12)
    assert len(told) == asked
