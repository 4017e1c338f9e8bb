"""Quality of the trained model beside AutoGluon, FLAML, a grid-searched forest and LightGBM.

Every system gets the same training rows, the same budget and two cores, in a virtual environment
and a process of its own, one at a time; the test rows are looked at once. Run:
`python -m benchmarks.train_quality --budget 60 --seeds 2 [FILE:TARGET ...]` (default: the tables
of `examples/data`). A peer that cannot be installed is listed as such.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.train_peers import PEERS
from roadworthy.errors import RoadworthyError
from roadworthy.table import Table, read_table
from roadworthy.train.scoring import metrics_for, score

DATA = Path(__file__).parent.parent / "examples" / "data"
TABLES = (
    "churn.csv:churn", "adult.csv:income", "titanic.csv:survived", "diamonds.parquet:price",
    "hotel_rates.csv.gz:avg_price_per_room", "storms.parquet:status", "flights.parquet:late",
)  # fmt: skip
RESAMPLES = 200
CORES = "0,1"


def split(table: Table, seed: int, folder: Path) -> tuple[np.ndarray, str]:
    """Write the training and the test rows; returns the test labels and the task's metric.

    Categories and dates are text, classes their positions: what every peer reads alike.
    """
    rows = np.random.default_rng(seed).permutation(len(table))
    if table.classes:  # the same shares of classes in both parts
        rows = rows[np.argsort(table.labels[rows], kind="stable")]
        test = np.zeros(len(rows), dtype=bool)
        test[seed % 5 :: 5] = True
    else:
        test = np.arange(len(rows)) % 5 == 0
    frame = table.frame.with_columns(pl.Series("__target__", table.labels))
    frame = frame[rows]
    if table.classes:
        frame = frame.with_columns(pl.col("__target__").cast(pl.Int64))
    parts = {"train": frame.filter(pl.Series(~test)), "test": frame.filter(pl.Series(test))}
    random = np.random.default_rng(seed + 1).permutation(parts["train"].height)
    parts["train"] = parts["train"][random]
    labels = parts["test"]["__target__"].to_numpy().astype(float)
    parts["test"] = parts["test"].drop("__target__")
    for name, part in parts.items():
        part.write_parquet(folder / f"{name}.parquet")
    return labels, metrics_for(table.task)[0]


def environment(name: str, requirements: list[str], home: Path) -> tuple[Path | None, str]:
    """The interpreter of a peer's own virtual environment, or why there is none."""
    if not requirements:
        return Path(sys.executable), ""
    python = home / name / "bin" / "python"
    ready = home / name / ".installed"
    if ready.exists():
        return python, ""
    uv = os.environ.get("UV", "uv")
    commands = [
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home / name)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *requirements],
    ]
    for command in commands:
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return None, f"{command[0]}: {error.strerror}"
        if run.returncode:
            return None, (run.stderr.strip().splitlines() or ["it cannot be installed"])[-1][:100]
    ready.touch()
    return python, ""


def run_peer(
    python: Path, name: str, folder: Path, task: str, metric: str, budget: float, seed: int
) -> dict[str, Any]:
    """Run one system in a process of its own; returns what it wrote, or an error."""
    program = Path(__file__).parent / "train_peers.py"
    command = [str(python), str(program), name, str(folder), task, metric, str(budget), str(seed)]
    if sys.platform == "linux":
        command = ["taskset", "-c", CORES, *command]
    start = time.monotonic()
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=6 * budget + 600, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": "it did not end"}
    if run.returncode:
        return {"error": (run.stderr.strip().splitlines() or ["it failed"])[-1][:100]}
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    found["process_seconds"] = time.monotonic() - start
    return found


def quality(metric: str, labels: np.ndarray, scores: np.ndarray, seed: int) -> tuple[float, float]:
    """The metric on the test rows, and its bootstrap standard error."""
    random = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        rows = random.integers(0, len(labels), len(labels))
        values.append(score(metric, labels[rows], scores[rows]))
    return score(metric, labels, scores), float(np.nanstd(values, ddof=1))


def measure(spec: str, seed: int, budget: float, home: Path, names: list[str]) -> None:
    """Run every system on one split of one table and print a line each."""
    file, _, target = spec.rpartition(":")
    path = Path(file) if Path(file).exists() else DATA / file
    table = read_table(path, target)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        labels, metric = split(table, seed, folder)
        print(f"\n{path.name}, {table.task}, {len(table):,} rows, seed {seed}: {metric}")
        for name in names:
            python, reason = environment(name, PEERS[name], home)
            if python is None:
                print(f"  {name:22} not installed: {reason}")
                continue
            found = run_peer(python, name, folder, table.task, metric, budget, seed)
            if "error" in found:
                print(f"  {name:22} failed: {found['error']}")
                continue
            scores = np.load(folder / f"{name}.npy")
            value, error = quality(metric, labels, scores, seed)
            print(
                f"  {name:22} {value:11.5f} ± {error:.5f}  {found['seconds']:6.1f} s  "
                f"{found['megabytes']:8.2f} MB  {found['microseconds']:10.1f} µs",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tables", nargs="*", default=TABLES, help="FILE:TARGET")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training")
    parser.add_argument("--seeds", type=int, default=1, help="splits of each table")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    default = Path.home() / ".cache" / "roadworthy" / "peers"
    parser.add_argument("--home", type=Path, default=default, help="where environments are made")
    given = parser.parse_args()
    given.home.mkdir(parents=True, exist_ok=True)
    print("system, quality on the test rows ± bootstrap standard error, training, size, one row")
    for spec in given.tables:
        for seed in range(given.seeds):
            try:
                measure(spec, seed, given.budget, given.home, given.peers)
            except RoadworthyError as error:
                print(f"{spec}: {error}")


if __name__ == "__main__":
    main()
