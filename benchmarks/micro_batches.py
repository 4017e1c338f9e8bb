"""Whether rows of several callers should wait for each other and be run together.

    python -m benchmarks.micro_batches

Cores of random trees: processor time of a row alone, as requests of one row are run, and of a row
among 8 and 64, as the faster of the two ways of many rows. Together wins where the time that is
saved is more than what collecting the rows of several connections takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.core_cost import build, microseconds
from roadworthy.bundle.core.graph import INPUT
from roadworthy.bundle.engine import _open
from roadworthy.bundle.matrix_core import compile_matrix_core

FEATURES, TARGETS = 14, 2
SHAPES = ((50, 31), (200, 31), (1000, 31), (1000, 127), (3000, 63))


def each(run: Callable[[], object], rows: int) -> float:
    """Microseconds a row, the best of some calls."""
    run()
    best = float("inf")
    for _ in range(30):
        began = time.thread_time()
        run()
        best = min(best, time.thread_time() - began)
    return 1e6 * best / rows


def main() -> None:
    print("trees x leaves  alone µs    of 8 µs   of 64 µs")
    for trees, leaves in SHAPES:
        core = build(trees, leaves, TARGETS, FEATURES)
        session, bits = _open(core), compile_matrix_core(core, INPUT, "scores")
        found = [microseconds(core, FEATURES, TARGETS)]
        for rows in (8, 64):
            matrix = np.random.default_rng(2).normal(size=(rows, FEATURES))
            ways = [each(lambda m=matrix, s=session: s.run(["scores"], {INPUT: m}), rows)]  # type: ignore[misc]
            if bits is not None:
                ways.append(each(lambda m=matrix, run=bits: run(m), rows))  # type: ignore[misc]
            found.append(min(ways))
        print(f"{trees:>5} x {leaves:<6}" + "".join(f"{one:>11.1f}" for one in found))


if __name__ == "__main__":
    main()
