"""Tables with a planted fault, and what the guard says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from roadworthy.guard import Finding, inspect
from roadworthy.project import GuardSection, Project
from roadworthy.table import read_table

ROWS = 800


def clean(rows: int = ROWS, seed: int = 0, *, numbers: bool = False) -> pl.DataFrame:
    """Honest columns: no single one tells the target `y`, all together do fairly well."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4))
    signal = x @ [1.0, 0.8, -0.6, 0.0] + 0.7 * random.normal(size=rows)
    return pl.DataFrame(
        {
            **{f"x{place}": x[:, place] for place in range(4)},
            "town": random.choice(["Ulm", "Bonn", "Kiel"], rows),
            "y": signal if numbers else np.where(signal > 0.3, "yes", "no"),
        }
    )


def found(frame: pl.DataFrame, *checks: str, **data: Any) -> tuple[Finding, ...]:
    """What the named checks, or all, say of a frame whose target is `y`."""
    table = read_table(frame, "y", project=Project().override("data", **data))
    return inspect(table, GuardSection(checks=checks or "all"))  # type: ignore[arg-type]


def names(findings: tuple[Finding, ...], severity: str | None = None) -> set[str]:
    return {f.names[0] for f in findings if severity in (None, f.severity)}
