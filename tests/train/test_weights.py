"""How much a row weighs in a fit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from roadworthy.errors import InputError
from roadworthy.project import Project, TrainSection
from roadworthy.table import Table, read_table
from roadworthy.train.weights import row_weights


def table(weights: list[float] | None = None) -> Table:
    goals = ["no", "no", "no", "yes"] * 10
    columns = {"x": np.arange(40) / 3, "y": goals}
    options = {}
    if weights is not None:
        columns["w"], options = weights, {"weight": "w"}
    return read_table(pl.DataFrame(columns), "y", project=Project().override("data", **options))


def test_without_weights_there_is_nothing_to_weigh() -> None:
    assert row_weights(table(), TrainSection()) is None


def test_balanced_weights_are_scikit_learns() -> None:
    rows = table()
    found = row_weights(rows, TrainSection(class_weight="balanced"))
    np.testing.assert_allclose(found, compute_sample_weight("balanced", rows.labels))


def test_balanced_classes_weigh_the_same_when_rows_do_not() -> None:
    rows = table([0.0, 1.0, 2.0, 9.0] * 10)
    found = row_weights(rows, TrainSection(class_weight="balanced"))
    assert found[rows.labels == 0].sum() == pytest.approx(found[rows.labels == 1].sum())
    assert found.mean() == pytest.approx(1)
    assert (found[rows.weights == 0] == 0).all()


def test_named_classes_weigh_what_is_said_and_the_unit_does_not_matter() -> None:
    rows = table()
    found = row_weights(rows, TrainSection(class_weight={"yes": 6.0, "no": 2.0}))
    assert found[rows.labels == 1][0] / found[rows.labels == 0][0] == pytest.approx(3)
    alone = row_weights(rows, TrainSection(class_weight={"yes": 3.0}))
    np.testing.assert_allclose(found, alone)
    small, large = (table([unit, 2 * unit] * 20) for unit in (1e-6, 1e6))
    np.testing.assert_allclose(
        row_weights(small, TrainSection()), row_weights(large, TrainSection())
    )


def test_impossible_weights_are_refused() -> None:
    with pytest.raises(InputError, match="no class 'yea'") as caught:
        row_weights(table(), TrainSection(class_weight={"yea": 2.0}))
    assert "did you mean 'yes'" in str(caught.value)
    numbers = read_table(pl.DataFrame({"x": range(40), "y": np.arange(40) / 7}), "y")
    with pytest.raises(InputError, match="no classes to weigh"):
        row_weights(numbers, TrainSection(class_weight="balanced"))
    rows = table([0.0] * 39 + [1.0])
    light = rows.take(np.flatnonzero(rows.weights == 0))
    with pytest.raises(InputError, match="every training row weighs 0"):
        row_weights(light, TrainSection())
