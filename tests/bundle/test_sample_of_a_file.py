"""A model of a sample: its bundle's contract and reference are of the whole file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from roadworthy.bundle.write import package
from roadworthy.evaluate import test as evaluate
from roadworthy.observe.reference import read_reference
from roadworthy.project import Project
from roadworthy.table import read_table
from roadworthy.train import train


def test_the_reference_counts_every_row_and_the_model_saw_the_sample(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size = random.normal(10.0, 3.0, 5000)
    frame = pl.DataFrame(
        {
            "size": pl.Series(size).set(pl.Series(random.random(5000) < 0.2), None),
            # a level may be called as the library calls its own columns
            "count": random.choice(["many", "few", "none left"], 5000, p=[0.6, 0.3, 0.1]),
            "bought": np.where(size + random.normal(size=5000) > 10, "yes", "no"),
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    project = Project().override("train", candidates=("linear",), budget="20s", folds=2)
    project = project.override("data", sample_rows=600)
    table = read_table(tmp_path / "t.parquet", "bought", project=project)
    model = train(table, project=project)
    assert model.search.training_rows == 480
    bundle = package(model, evaluate(model, table.holdout), directory=tmp_path)
    reference = read_reference((bundle.path / "reference.json").read_bytes())
    assert reference.cells[0] == 5000
    assert reference.cells[1] == 120  # answers are counted of held-out rows alone
    layout = reference.layout
    blocks = dict(zip((column.name for column in reference.columns), layout.blocks, strict=True))
    assert reference.cells[blocks["size"].blank] == frame["size"].null_count()
    level = reference.columns[1].levels.index("few")
    assert reference.cells[blocks["count"].start + level] == (frame["count"] == "few").sum()
    assert "600 of 5,000 rows were drawn" in (bundle.path / "report.json").read_text()
