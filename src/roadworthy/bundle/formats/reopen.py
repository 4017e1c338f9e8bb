"""Open a format's file in a fresh process and answer rows: what whoever gets it will do.

`python -m roadworthy.bundle.formats.reopen FORMAT FOLDER` reads `model`, `rows.arrow` and
`types.json` in the folder and writes `scores.npy`; a failure's words go to standard error.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from roadworthy.bundle.formats import EXTRA
from roadworthy.errors import CheckFailed, RoadworthyError

_SECONDS = 600.0


def reopened_scores(
    name: str, content: bytes, rows: pl.DataFrame, trusted_types: Sequence[str] = ()
) -> NDArray[np.float64]:
    """What a format's file answers in a process that has seen nothing of the training.

    Args:
        name: The format.
        content: Its file, made by this very process: opening it is safe.
        rows: Raw rows.
        trusted_types: As for `Format.read`.

    Returns:
        Probabilities `[N, K]` or predictions `[N]`.

    Raises:
        CheckFailed: The file cannot be opened or asked.
    """
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        place = Path(folder)
        (place / "model").write_bytes(content)
        (place / "types.json").write_text(json.dumps(list(trusted_types)))
        rows.write_ipc(place / "rows.arrow")
        command = [sys.executable, "-m", "roadworthy.bundle.formats.reopen", name, folder]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"{name} does not answer within {_SECONDS:.0f} s") from None
        if run.returncode:
            last = (run.stderr.strip().splitlines() or ["it died"])[-1]
            raise CheckFailed(
                f"format {name}: {last[:500]}",
                where="opened again in a fresh process",
                fix="leave this format out of [package] formats",
            )
        scores: NDArray[np.float64] = np.load(place / "scores.npy", allow_pickle=False)
        return scores


def main(name: str, folder: str) -> None:
    """The other process."""
    place = Path(folder)
    types = json.loads((place / "types.json").read_text())
    rows = pl.read_ipc(place / "rows.arrow")
    try:
        estimator = EXTRA[name].read((place / "model").read_bytes(), types)
        ask = getattr(estimator, "predict_proba", estimator.predict)
        np.save(place / "scores.npy", ask(rows))
    except RoadworthyError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
