"""A small core as generated Python: the runtime's answers, and never anything else."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.bundle.core.graph import INPUT, OUTPUT
from roadworthy.bundle.graph_reader import UnreadableGraph, read_graph
from roadworthy.bundle.scalar import compile_core
from tests.conftest import Trained

QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def core(bundles: dict[str, Trained], name: str) -> bytes:
    return (bundles[name].bundle.path / "core.onnx").read_bytes()


def test_linear_cores_are_compiled_and_trees_are_left_to_the_runtime(
    bundles: dict[str, Trained],
) -> None:
    for name, compiled in (("linear", True), ("binary", False), ("multiclass", False)):
        width = bundles[name].bundle.plan.width
        found = compile_core(core(bundles, name), INPUT, OUTPUT, width)
        assert (found is not None) == compiled


@QUICK
@given(data=st.data())
def test_a_compiled_core_says_what_the_runtime_says(
    bundles: dict[str, Trained], data: st.DataObject
) -> None:
    bundle = bundles["linear"].bundle
    scalar = compile_core(core(bundles, "linear"), INPUT, OUTPUT, bundle.plan.width)
    assert scalar is not None
    vector = [
        float(data.draw(st.integers(-1, len(feature.levels) + 2)))
        if feature.levels
        else data.draw(st.floats(allow_infinity=False))  # NaN: a blank
        for feature in bundle.plan.features
    ]
    wanted = bundle.engine.run_many(np.array([vector]))[0]
    np.testing.assert_allclose(scalar(vector)[-1], wanted[-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(bundle.engine.run_one(vector), wanted, rtol=1e-9, atol=1e-12)


@QUICK
@given(data=st.data())
def test_a_damaged_graph_is_unreadable_and_not_a_fault(
    bundles: dict[str, Trained], data: st.DataObject
) -> None:
    content = bytearray(core(bundles, "linear"))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableGraph):
        read_graph(bytes(content))
    compile_core(bytes(content), INPUT, OUTPUT, bundles["linear"].bundle.plan.width)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_graph_or_unreadable(content: bytes) -> None:
    with contextlib.suppress(UnreadableGraph):
        read_graph(content)
