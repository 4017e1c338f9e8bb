"""The model that the serving benchmarks share: boosted trees on the census-income table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import roadworthy as rw
from roadworthy.project import Project

DATA = Path(__file__).parent.parent / "examples" / "data" / "adult.csv"


def make_bundle(folder: Path, family: str = "boosting") -> rw.Bundle:
    """Train one family on the whole table and package it, joblib included."""
    project = Project().override("train", candidates=(family,), folds=2)
    table = rw.read_table(DATA, "income", project=project)
    model = rw.train(table, "30s", project=project)
    best = model.search.best
    print(f"{family}: {best.rounds or ''} {best.config}", file=sys.stderr)
    report = rw.test(model, table.holdout)
    return rw.package(model, report, formats=["onnx", "joblib"], directory=folder)


def whole_rows(bundle: rw.Bundle) -> list[dict[str, Any]]:
    """Golden rows without a blank, which the plain way takes without a thought."""
    return [g.row for g in bundle.golden if None not in g.row.values()]
