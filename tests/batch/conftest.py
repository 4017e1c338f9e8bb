"""One small bundle, rows for it, and the object store of the registry's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.write import package
from roadworthy.evaluate import test as evaluate
from roadworthy.project import Project
from roadworthy.table import read_table
from roadworthy.train import train
from tests.registry.conftest import aws, moto_server

__all__ = ["aws", "moto_server"]


def rows(count: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "id": [f"row-{number}" for number in range(count)],
            "size": random.normal(10.0, 3.0, count).round(3),
            "colour": random.choice(["red", "green", "blue, light", 'the "grey"\none'], count),
            "old": random.integers(0, 2, count).astype(bool),
        }
    )
    return frame.with_columns(
        pl.when(pl.col("size") > 14).then(None).otherwise("size").alias("size")
    )


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    frame = rows(400)
    label = (frame["size"].fill_null(9.0) + frame["old"].cast(pl.Float64) > 10.5).cast(pl.String)
    project = Project().override("train", candidates=("linear",), budget="20s", folds=2)
    table = read_table(frame.with_columns(label.alias("bought")), "bought", project=project)
    model = train(table, project=project)
    report = evaluate(model, table.holdout)
    return package(model, report, directory=tmp_path_factory.mktemp("batch"))


def scored(folder: Path, pattern: str = "part-*.parquet") -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob(pattern))])
