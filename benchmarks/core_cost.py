"""What a core costs to run on one row: the measurements behind `roadworthy.train.cost`.

Times cores of random trees (one row, one thread, rows changing from call to call) and fits the
cost model's coefficients to them. Run: `python -m benchmarks.core_cost`.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from numpy.typing import NDArray

from roadworthy.bundle.core.graph import INPUT, Graph
from roadworthy.bundle.core.trees import Branch, Ensemble, Leaf, Node
from roadworthy.bundle.engine import _open

Floats = NDArray[np.float64]
ROWS = 300


def grow(nodes: list[Node], leaves: int, features: int, random: np.random.Generator) -> int:
    """A random tree, as unbalanced as leaf-wise boosting makes them."""
    place = len(nodes)
    if leaves == 1:
        nodes.append(Leaf(float(random.normal())))
        return place
    nodes.append(Leaf(0.0))
    share = int(np.clip(round(leaves * random.uniform(0.2, 0.8)), 1, leaves - 1))
    left = grow(nodes, share, features, random)
    right = grow(nodes, leaves - share, features, random)
    feature, threshold = int(random.integers(features)), float(random.normal() * 0.7)
    nodes[place] = Branch(feature, threshold, left, right, missing_left=True)
    return place


def build(trees: int, leaves: int, targets: int, features: int) -> bytes:
    random = np.random.default_rng(0)
    graph = Graph()
    ensemble: Ensemble = graph.trees()
    ensemble.reserve(targets)
    for number in range(trees):
        nodes: list[Node] = []
        grow(nodes, leaves, features, random)
        ensemble.add_tree(number % targets, nodes.__getitem__)
    raw = graph.targets(INPUT, 0, targets)
    link = graph.add("Softmax", raw, axis=1) if targets > 1 else graph.add("Sigmoid", raw)
    return graph.finish(link, features, targets)


def microseconds(core: bytes, features: int, targets: int) -> float:
    """Median over rows of the best of a few calls each."""
    session = _open(core)
    rows = np.random.default_rng(1).normal(size=(ROWS, features))
    vector, answer = np.zeros((1, features)), np.zeros((1, targets))
    binding = session.io_binding()
    double = np.float64
    binding.bind_input(INPUT, "cpu", 0, double, vector.shape, vector.ctypes.data)
    binding.bind_output("scores", "cpu", 0, double, answer.shape, answer.ctypes.data)
    taken = np.full((3, ROWS), np.inf)
    for turn, number in itertools.product(range(3), range(ROWS)):
        vector[0] = rows[number]
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        taken[turn, number] = time.perf_counter() - start
    return float(np.median(taken.min(axis=0)) * 1e6)


def main() -> None:
    cases: list[tuple[Floats, float, float]] = []
    print("trees leaves targets features | µs   bytes a leaf")
    for trees, leaves, targets, features in itertools.product(
        (10, 100, 400, 1000), (8, 32, 100, 1000), (1, 4, 10), (10, 60)
    ):
        if trees * leaves > 120_000:
            continue
        core = build(trees, leaves, targets, features)
        taken = microseconds(core, features, targets)
        steps = trees * np.log2(leaves)
        terms = np.array([1.0, targets, features, trees, steps, steps * np.log2(trees * leaves)])
        cases.append((terms, taken, len(core) / (trees * leaves)))
        print(f"{trees:5} {leaves:6} {targets:7} {features:8} | {taken:6.1f} {cases[-1][2]:6.1f}")
    design = np.array([terms for terms, _, _ in cases])
    wanted = np.array([taken for _, taken, _ in cases])
    weight = 1.0 / wanted  # relative errors count
    found = np.linalg.lstsq(design * weight[:, None], wanted * weight, rcond=None)[0]
    error = np.abs(design @ found / wanted - 1.0)
    names = ("base", "a target", "a feature", "a tree", "a step", "a step x log2(leaves in all)")
    for name, value in zip(names, found, strict=True):
        print(f"{name:30} {value:.5f}")
    print(f"relative error: median {np.median(error):.0%}, largest {error.max():.0%}")


if __name__ == "__main__":
    main()
