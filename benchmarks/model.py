"""The models that the serving benchmarks share, on the census-income table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import rich
from sklearn.base import clone

import roadworthy as rw
from roadworthy.prepare.columns import encode_columns
from roadworthy.project import Project
from roadworthy.train.blend import Blend

DATA = Path(__file__).parent.parent / "examples" / "data" / "adult.csv"
TREES, LEAVES = 200, 31


def make_bundle(folder: Path, family: str = "boosting") -> rw.Bundle:
    """Train one family on the whole table and package it, joblib included.

    Boosting is fitted again with 200 trees of 31 leaves, whatever the search found: the speed of
    a served model is its size's, and sizes must compare.
    """
    project = Project().override("train", candidates=(family,), folds=2, calibrate="none")
    table = rw.read_table(DATA, "income", project=project, name=family)
    model = rw.train(table, "30s", project=project)
    if family == "boosting":
        training = table.training
        found = model.estimator  # several boosters may have been blended: one is what compares
        booster = found.members[0] if isinstance(found, Blend) else found
        estimator = clone(booster).set_params(n_estimators=TREES, num_leaves=LEAVES)
        estimator.fit(encode_columns(training.frame, model.plan), training.labels)
        model = dataclasses.replace(model, estimator=estimator)
    rich.print(f"{family}: {len(table):,} rows, {model.plan.width} features")
    report = rw.test(model, table.holdout)
    return rw.package(model, report, formats=["onnx", "joblib"], directory=folder)


def whole_rows(bundle: rw.Bundle) -> list[dict[str, Any]]:
    """Golden rows without a blank, which the plain way takes without a thought."""
    return [g.row for g in bundle.golden if None not in g.row.values()]
