"""The numbers of a report, against scikit-learn and against planted truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from roadworthy.errors import InputError
from roadworthy.evaluate import test as evaluate
from roadworthy.evaluate.metrics import (
    bootstrap,
    class_metrics,
    mean_interval,
    number_metrics,
    share_interval,
)
from roadworthy.project import Project
from roadworthy.table import read_table
from roadworthy.train import train
from tests.conftest import Trained


def answers(seed: int, rows: int, classes: int, coarse: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    codes = random.integers(0, classes, rows)
    codes[:classes] = np.arange(classes)
    raw = random.random((rows, classes)) + np.eye(classes)[codes] * random.random()
    if coarse:
        raw = np.round(raw, 1) + 0.01
    return codes, raw / raw.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(20, 200), st.integers(2, 5), st.booleans())
def test_class_metrics_are_scikit_learns(seed: int, rows: int, classes: int, coarse: bool) -> None:
    codes, shares = answers(seed, rows, classes, coarse)
    weights = np.random.default_rng(seed).integers(0, 4, rows).astype(float)
    weights[: 2 * classes] += 1
    found = class_metrics(codes, shares)(weights)
    predicted = shares.argmax(axis=1)
    options = {"sample_weight": weights, "zero_division": 0}
    expected = {
        "accuracy": oracle.accuracy_score(codes, predicted, sample_weight=weights),
        "precision_macro": oracle.precision_score(codes, predicted, average="macro", **options),
        "recall_macro": oracle.recall_score(codes, predicted, average="macro", **options),
        "f1_macro": oracle.f1_score(codes, predicted, average="macro", **options),
        "precision_weighted": oracle.precision_score(
            codes, predicted, average="weighted", **options
        ),
        "recall_weighted": oracle.recall_score(codes, predicted, average="weighted", **options),
        "f1_weighted": oracle.f1_score(codes, predicted, average="weighted", **options),
        "log_loss": oracle.log_loss(codes, shares, sample_weight=weights),
    }
    if classes == 2:
        expected["roc_auc"] = oracle.roc_auc_score(codes, shares[:, 1], sample_weight=weights)
        expected["brier"] = oracle.brier_score_loss(codes, shares[:, 1], sample_weight=weights)
    else:
        each = [
            oracle.roc_auc_score(codes == code, shares[:, code], sample_weight=weights)
            for code in range(classes)
        ]
        expected["roc_auc"] = np.mean(each)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(5, 100))
def test_number_metrics_are_scikit_learns(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, guess = random.normal(size=(2, rows)) * 50
    weights = random.integers(1, 4, rows).astype(float)
    found = number_metrics(truth, guess)(weights)
    options = {"sample_weight": weights}
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(truth, guess, **options))
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(truth, guess, **options))
    assert found["r2"] == pytest.approx(oracle.r2_score(truth, guess, **options))


def test_bootstrap_intervals_hold_the_truth_about_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        truth = random.normal(size=300)
        guess = truth + random.normal(size=300)
        estimate = bootstrap(number_metrics(truth, guess), 300, seed)["mae"]
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= np.sqrt(2 / np.pi) <= estimate.high
    assert 105 <= held <= 119


def test_intervals_of_shares_and_means() -> None:
    perfect = share_interval(20, 20)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.8389, abs=1e-4)  # Wilson's published value
    single = mean_interval(np.array([3.0]))
    assert (single.value, single.low) == (3.0, None)


def test_one_class_in_the_holdout_leaves_the_area_undefined() -> None:
    shares = np.full((30, 2), 0.5)
    assert bootstrap(class_metrics(np.zeros(30, dtype=int), shares), 30, 0)["roc_auc"].value is None


def test_a_subgroup_that_was_broken_on_purpose_is_the_weakest(tmp_path) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=4000)
    region = random.choice(["north", "south", "east"], 4000, p=[0.2, 0.5, 0.3])
    right = x > 0
    flipped = np.where((region == "north") & (random.random(4000) < 0.45), ~right, right)
    frame = pl.DataFrame({"x": x, "region": region, "y": np.where(flipped, "yes", "no")})
    table = read_table(frame, "y")
    project = Project().override("train", candidates=("linear",), folds=2)
    report = evaluate(train(table, "30s", project=project), table.holdout)
    regions = [entry for entry in report.slices if entry.column == "region"]
    worst = min(regions, key=lambda entry: entry.estimate.value or 0)
    assert worst.value == "north"
    assert worst.gap is not None
    assert worst.gap < -0.3
    assert sum(entry.rows for entry in regions) == report.rows == 800


def test_a_report_says_per_class_what_its_confusion_says(bundles: dict[str, Trained]) -> None:
    trained = bundles["multiclass"]
    report = evaluate(trained.model, trained.table.holdout)
    confusion = np.array(report.confusion)
    assert confusion.sum() == report.rows
    for code, entry in enumerate(report.classes):
        assert entry.rows == confusion[code].sum()
        if entry.rows:
            assert entry.recall.value == pytest.approx(confusion[code, code] / entry.rows)
    name, headline = report.headline
    assert name == "log_loss"
    assert headline == report.metrics["log_loss"]


def test_rows_of_another_table_are_refused(bundles: dict[str, Trained]) -> None:
    with pytest.raises(InputError, match="other columns"):
        evaluate(bundles["binary"].model, bundles["regression"].table.holdout)
