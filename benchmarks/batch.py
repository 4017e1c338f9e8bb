"""Batch scoring by partitions beside the same bundle in one process: rows a second of a core.

Processor time is what counts, so that others who use the machine do not. Of every run the time of
a run over a tenth of the rows is taken away: what is left is scoring, without starting.

    python -m benchmarks.batch BUNDLE TABLE
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

_FACTOR = 10

_ALONE = """
import sys
from roadworthy.bundle import Bundle
print(Bundle(sys.argv[1]).predict(sys.argv[2]).height)
"""


def processor_seconds(command: list[str]) -> float:
    """Of a command and all that it started and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def write(table: str, kind: str, path: Path, times: int) -> int:
    """A table repeated, as a file; returns its rows."""
    if kind == "csv":
        frame = pl.concat([pl.read_csv(table, infer_schema=False)] * times)
        frame.write_csv(path)
    else:
        frame = pl.concat([pl.read_csv(table)] * times)
        frame.write_parquet(path, row_group_size=50_000)
    return frame.height


def main(bundle: str, table: str) -> None:
    options = ["--model", bundle, "--workers", "1", "--overwrite"]
    score = [sys.executable, "-m", "roadworthy", "predict"]
    for kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{times}.{kind}" for times in (2, 2 * _FACTOR)]
            few, many = (
                write(table, kind, path, times)
                for path, times in zip(files, (2, 2 * _FACTOR), strict=True)
            )
            commands = {
                "in process": [[sys.executable, "-c", _ALONE, bundle, str(f)] for f in files],
                "by partitions": [
                    [*score, str(f), "-o", f"{folder}/{f.stem}/", *options] for f in files
                ],
            }
            speeds = []
            for name, (first, second) in commands.items():
                start = processor_seconds(first)
                speeds.append((many - few) / (processor_seconds(second) - start))
                print(f"{kind:8} {name:14} {speeds[-1]:10,.0f} rows/s of a core")
            print(f"{kind:8} {'ratio':14} {speeds[1] / speeds[0]:10.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
