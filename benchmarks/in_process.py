"""Microseconds a row of each stage between the bytes of a request and those of its answer.

python -m benchmarks.in_process
"""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from benchmarks.model import make_bundle, whole_rows
from roadworthy.serve.predictions import Predictor


def microseconds(work: Callable[[Any], object], cases: list[Any], loops: int) -> float:
    """The median over nine passes, different cases in turn."""
    passes = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(loops):
            for case in cases:
                work(case)
        passes.append((time.perf_counter() - start) / loops / len(cases) * 1e6)
    return statistics.median(passes)


def main() -> None:
    for family in ("linear", "boosting"):
        with tempfile.TemporaryDirectory() as folder:
            bundle = make_bundle(Path(folder), family)
            pipeline = joblib.load(bundle.path / "model.joblib")
            rows = whole_rows(bundle)
            bodies = [json.dumps(row).encode() for row in rows]
            predictor = Predictor(bundle, 1000)
            encoder = bundle.engine.rows
            records = [bundle.engine.decode(body) for body in bodies]
            vectors = [encoder.encode(record)[0] for record in records]

            def plain(body: bytes, pipeline: Any = pipeline) -> str:
                shares = pipeline.predict_proba(pd.DataFrame([json.loads(body)]))
                return json.dumps(shares.tolist())

            stages: list[tuple[str, Callable[[Any], object], list[Any], int]] = [
                ("decode JSON to a record", bundle.engine.decode, bodies, 200),
                ("encode the record to a vector", encoder.encode, records, 200),
                ("run the core", bundle.engine.run_one, vectors, 200),
                ("bytes to bytes", functools.partial(predictor.one, request_id="id"), bodies, 200),
                ("the plain way: json, pandas, scikit-learn", plain, bodies, 2),
            ]
            print(f"\n{family}")
            taken = {}
            for name, work, cases, loops in stages:
                taken[name] = microseconds(work, cases, loops)
                print(f"{taken[name]:>12,.2f} µs  {name}")
            ratio = taken[stages[-1][0]] / taken["bytes to bytes"]
            print(f"{ratio:>12,.0f} x   bytes to bytes against the plain way")


if __name__ == "__main__":
    main()
