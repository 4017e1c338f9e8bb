"""Evidently and NannyML, each in an environment of its own, asked about windows of rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from benchmarks.drift_cases import LEVELS, NUMBERS, Rows

_NEEDS = {
    "evidently": ("evidently==0.7.23", "pandas<3", "pyarrow"),
    "nannyml": ("nannyml==0.13.1", "statsmodels", "pyarrow"),
}
_PROGRAMS = {
    "evidently": """
import json, sys
from pathlib import Path
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
folder = Path(sys.argv[1])
columns = list(pd.read_parquet(folder / "reference.parquet").columns)
numbers = [name for name in columns if name.startswith("number")]
about = DataDefinition(numerical_columns=numbers,
                       categorical_columns=[name for name in columns if name not in numbers])
def read(path):
    return Dataset.from_pandas(pd.read_parquet(path), data_definition=about)
base, found = pd.read_parquet(folder / "reference.parquet"), []
if len(sys.argv) > 2:  # all of it takes twenty seconds a window; its distances need no more rows
    base = base.sample(5000, random_state=0)
base = Dataset.from_pandas(base, data_definition=about)
for path in sorted(folder.glob("window*.parquet")):
    result = Report([DataDriftPreset()]).run(read(path), base).dict()
    flagged = []
    for metric in result["metrics"]:
        config = metric.get("config", {})
        if config.get("type", "").endswith("ValueDrift"):
            method, value = config.get("method", ""), float(metric["value"])
            limit = float(config.get("threshold", 0.1))
            drifted = value < limit if "p_value" in method else value >= limit
            if drifted:
                flagged.append(config["column"])
    found.append(flagged)
print("ANSWER" + json.dumps(found))
""",
    "nannyml": """
import json, sys
from pathlib import Path
import pandas as pd
import nannyml
folder = Path(sys.argv[1])
daily = len(sys.argv) > 2
def read(path, day):
    rows = pd.read_parquet(path)
    if daily:
        rows["at"] = pd.Timestamp("2026-01-01") + pd.Timedelta(days=day)
    return rows
paths = sorted(folder.glob("window*.parquet"))
base = read(folder / "reference.parquet", 0)
columns = [name for name in base.columns if name != "at"]
levels = [name for name in columns if name.startswith("level")]
chunks = {"chunk_size": 1000}
if daily:
    base["at"] += pd.to_timedelta(base.index // (len(base) // int(sys.argv[2])), unit="D")
    chunks = {"timestamp_column_name": "at", "chunk_period": "D"}
drift = nannyml.UnivariateDriftCalculator(
    column_names=columns, treat_as_categorical=levels, **chunks)
blank = nannyml.MissingValuesCalculator(column_names=columns, **chunks)
drift.fit(base)
blank.fit(base)
found = [set() for _ in paths]
windows = [read(path, 1000 + place) for place, path in enumerate(paths)]
calls = [(0, pd.concat(windows, ignore_index=True))] if daily else enumerate(windows)
for start, window in calls:
    for calculator in (drift, blank):
        table = calculator.calculate(window).filter(period="analysis").to_df()
        for column in table.columns:
            if column[-1] == "alert":
                for place, alert in enumerate(table[column]):
                    if alert:
                        found[start + (place if daily else 0)].add(column[0])
print("ANSWER" + json.dumps([sorted(flagged) for flagged in found]))
""",
}


def write_windows(folder: Path, base: Rows, windows: list[Rows]) -> None:
    """Write the reference and the windows as Parquet."""
    frame_of(base).write_parquet(folder / "reference.parquet")
    for place, rows in enumerate(windows):
        frame_of(rows).write_parquet(folder / f"window{place:05}.parquet")


def ask_peers(folder: Path, days: int = 0) -> dict[str, list[set[str]]]:
    """The columns that each library flags in each window; a library that fails is left out.

    Args:
        folder: Reference and windows.
        days: Of how many days of as many rows the reference is, where each window is one day:
            NannyML then learns its limits from days, and Evidently gets 5,000 rows of reference.
    """
    answers = {}
    for name, needs in _NEEDS.items():
        try:
            python = _environment(name, needs)
            run = subprocess.run(
                [str(python), "-c", _PROGRAMS[name], str(folder), *([str(days)] if days else [])],
                capture_output=True, text=True, check=True, timeout=1800,
                env={**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"},
            )  # fmt: skip
        except subprocess.SubprocessError as error:
            tail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
            print(f"  {name} could not be asked: {' '.join(tail)}")
            continue
        (line,) = [line for line in run.stdout.splitlines() if line.startswith("ANSWER")]
        answers[name] = [set(flagged) for flagged in json.loads(line.removeprefix("ANSWER"))]
    return answers


def _environment(name: str, needs: tuple[str, ...]) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = base / "roadworthy" / "benchmarks" / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *needs], check=True)
        (folder / ".ready").touch()
    return python


def frame_of(rows: Rows) -> pl.DataFrame:
    """Rows as a table."""
    columns = {
        f"number{place}": pl.Series(rows.numbers[:, place]).fill_nan(None)
        for place in range(NUMBERS)
    }
    for place, size in enumerate(LEVELS):
        codes = rows.codes[:, place].tolist()
        columns[f"level{place}"] = pl.Series(
            [None if code < 0 else f"level{code}" if code < size else "unheard" for code in codes]
        )
    return pl.DataFrame(columns)
