"""The further metrics against scikit-learn, and intervals of rows that belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from roadworthy.evaluate.metrics import bootstrap, class_metrics, number_metrics
from roadworthy.evaluate.paired import delong
from roadworthy.evaluate.resample import Resamples
from tests.evaluate.test_report import answers


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(20, 200), st.integers(2, 4), st.booleans())
def test_the_further_class_metrics_are_scikit_learns(
    seed: int, rows: int, classes: int, coarse: bool
) -> None:
    codes, shares = answers(seed, rows, classes, coarse)
    weights = np.random.default_rng(seed).integers(1, 4, rows).astype(float)
    found = class_metrics(codes, shares)(weights)
    predicted = shares.argmax(axis=1)
    options = {"sample_weight": weights}
    assert found["mcc"] == pytest.approx(oracle.matthews_corrcoef(codes, predicted, **options))
    balanced = oracle.balanced_accuracy_score(codes, predicted, **options)
    assert found["balanced_accuracy"] == pytest.approx(balanced)
    each = [
        oracle.average_precision_score(codes == code, shares[:, code], **options)
        for code in ([1] if classes == 2 else range(classes))
    ]
    assert found["pr_auc"] == pytest.approx(np.mean(each))
    recall = oracle.recall_score(codes, predicted, average=None, zero_division=0, **options)
    present = np.unique(np.concatenate([codes, predicted]))
    for code, value in zip(present, recall, strict=True):
        assert found[f"recall.{code}"] == pytest.approx(value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(5, 100))
def test_the_further_number_metrics_are_scikit_learns(seed: int, rows: int) -> None:
    truth, guess = np.random.default_rng(seed).normal(size=(2, rows)) * 50
    found = number_metrics(truth, guess)(np.ones(rows))
    assert found["median_ae"] == pytest.approx(oracle.median_absolute_error(truth, guess))
    expected = oracle.mean_absolute_percentage_error(truth, guess)
    assert found["mape"] == pytest.approx(expected)
    assert found["bias"] == pytest.approx((guess - truth).mean())


def test_many_weightings_at_once_are_each_alone() -> None:
    codes, shares = answers(3, 80, 3, coarse=True)
    weights = np.random.default_rng(0).poisson(1.0, (5, 80)).astype(float)
    metrics = class_metrics(codes, shares)
    together = metrics(weights)
    for number, row in enumerate(weights):
        for name, value in metrics(row).items():
            assert together[name][number] == pytest.approx(value, nan_ok=True), name


def test_the_calibration_error_is_the_mean_distance_of_bins_of_equal_rows() -> None:
    random = np.random.default_rng(0)
    claimed = random.random(50_000)
    honest = random.random(50_000) < claimed
    boasting = random.random(50_000) < np.clip(claimed - 0.2, 0, 1)
    found = [
        class_metrics(hits.astype(int), np.column_stack([1 - claimed, claimed]))(np.ones(50_000))
        for hits in (honest, boasting)
    ]
    assert found[0]["calibration_error"] < 0.01
    assert found[1]["calibration_error"] == pytest.approx(0.18, abs=0.01)  # 0.2, less the clipped


def test_rows_of_one_group_do_not_pretend_to_be_many() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    right = np.repeat(random.random(40) < 0.7, 25)
    codes = np.zeros(1000, dtype=int)
    shares = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    alone = bootstrap(class_metrics(codes, shares), 1000, 0)["accuracy"]
    together = bootstrap(class_metrics(codes, shares), 1000, 0, groups=groups)["accuracy"]
    assert alone.error is not None
    assert together.error is not None
    assert together.error > 3.5 * alone.error  # five times, but for chance


def test_resampled_cells_are_those_of_resampled_rows() -> None:
    cells = np.repeat([0, 1, 2], [500, 300, 200])
    plain = Resamples(1000, 0, count=4000).sums(cells, 3)
    weighted = Resamples(1000, 0, weights=np.ones(1000), count=400).sums(cells, 3)
    assert plain.mean(axis=0) == pytest.approx([500, 300, 200], rel=0.01)
    assert plain.std(axis=0) == pytest.approx(np.sqrt([500, 300, 200]), rel=0.1)
    assert weighted.std(axis=0) == pytest.approx(np.sqrt([500, 300, 200]), rel=0.2)


def test_delongs_error_is_that_of_many_samples() -> None:
    def sample(seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        hits = random.random(300) < 0.4
        return hits, random.normal(size=300) + hits

    areas = [delong(hits, scores[None])[0][0] for hits, scores in map(sample, range(300))]
    hits, scores = sample(0)
    area, variance = delong(hits, scores[None])
    assert area[0] == pytest.approx(oracle.roc_auc_score(hits, scores))
    assert np.sqrt(variance[0, 0]) == pytest.approx(np.std(areas), rel=0.2)
