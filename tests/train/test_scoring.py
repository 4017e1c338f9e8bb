"""Every metric against scikit-learn, also weighted, with ties and with classes missing."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from roadworthy.errors import InputError
from roadworthy.project import Project, TrainSection
from roadworthy.table import Table, read_table
from roadworthy.train.scoring import (
    GREATER_IS_BETTER,
    built_in,
    class_code,
    find_metric,
    metrics_for,
    score,
)


def one_hot(codes: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[codes]


def sklearn_class_metric(name, codes, scores, weights, positive=1):
    """The metric as scikit-learn's user would write it; NaN where it is undefined."""
    classes, labels = scores.shape[1], scores.argmax(axis=1)
    present = np.unique(codes)
    w = {"sample_weight": weights}
    family, _, suffix = name.rpartition("_")
    if name in ("precision", "recall", "f1"):
        family, suffix = name, "macro"
    functions = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }
    if suffix == "positive":
        if positive not in codes and (family == "recall" or positive not in labels):
            return np.nan
        return functions[family](
            codes == positive, labels == positive, average="binary", zero_division=0, **w
        )
    if family in functions:
        return functions[family](codes, labels, average=suffix, zero_division=0, **w)
    if name == "accuracy":
        return metrics.accuracy_score(codes, labels, **w)
    if name == "balanced_accuracy":
        return metrics.recall_score(
            codes, labels, labels=present, average="macro", zero_division=0, **w
        )
    if name == "log_loss":
        safe = np.clip(scores, 1e-15, 1)
        return -np.average(np.log(safe[np.arange(len(codes)), codes]), weights=weights)
    if name == "brier":
        return metrics.brier_score_loss(codes, scores, labels=list(range(classes)), **w)
    area = metrics.roc_auc_score if name.startswith("roc") else metrics.average_precision_score
    if classes == 2:
        if positive not in present or (name.startswith("roc") and len(present) < 2):
            return np.nan
        return area(codes == positive, scores[:, positive], **w)
    if len(present) < 2:
        return np.nan
    average = "weighted" if name.endswith("weighted") else "macro"
    truth = one_hot(codes, classes)[:, present]
    return area(truth, scores[:, present], average=average, **w)


@st.composite
def classified(draw, classes=None):
    count = draw(st.integers(1, 30))
    classes = classes or draw(st.sampled_from([2, 3, 5]))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    codes = random.integers(0, draw(st.integers(1, classes)), count)
    # few distinct probabilities: ties in rankings and between classes
    scores = random.integers(1, draw(st.sampled_from([3, 50])), (count, classes)).astype(float)
    scores /= scores.sum(axis=1, keepdims=True)
    weights = random.choice([0.0, 0.5, 1.0, 3.0], count) if draw(st.booleans()) else None
    return codes, scores, weights


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None)
@given(classified(), st.integers(0, 1))
def test_class_metrics_are_scikit_learns(data, positive) -> None:
    codes, scores, weights = data
    task = "binary" if scores.shape[1] == 2 else "multiclass"
    kept = slice(None) if weights is None else weights > 0
    for name in metrics_for(task):
        found = built_in(name, positive=positive)(codes.astype(float), scores, weights)
        if weights is not None and not weights.any():
            assert np.isnan(found)
            continue
        w = None if weights is None else weights[kept]
        wanted = sklearn_class_metric(name, codes[kept], scores[kept], w, positive)
        assert found == pytest.approx(wanted, abs=1e-12, nan_ok=True), name


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(-10, 1e6), st.sampled_from([0.0, 0.5, 2.0])),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
def test_number_metrics_are_scikit_learns(rows, weighted) -> None:
    y, p, w = np.array(rows).T
    weights = w if weighted else None
    kept = w > 0 if weighted else slice(None)
    y0, p0, w0 = y[kept], p[kept], w[kept] if weighted else None
    for name in metrics_for("regression"):
        found = built_in(name, quantile=0.8)(y, p, weights)
        if not len(y0) or (name == "r2" and (len(y0) < 2 or len(set(y0)) < 2)):
            assert np.isnan(found)
            continue
        wanted = {
            "rmse": lambda: metrics.mean_squared_error(y0, p0, sample_weight=w0) ** 0.5,
            "mae": lambda: metrics.mean_absolute_error(y0, p0, sample_weight=w0),
            "r2": lambda: metrics.r2_score(y0, p0, sample_weight=w0),
            "mape": lambda: metrics.mean_absolute_percentage_error(y0, p0, sample_weight=w0),
            "pinball": lambda: metrics.mean_pinball_loss(y0, p0, sample_weight=w0, alpha=0.8),
            "rmsle": lambda: (
                metrics.mean_squared_log_error(y0, np.clip(p0, 0, None), sample_weight=w0) ** 0.5
            ),
        }[name]()
        assert found == pytest.approx(wanted, rel=1e-9), name


def test_a_metric_that_is_better_when_greater_rises_with_a_better_answer() -> None:
    codes = np.array([0, 0, 1, 1, 1, 0] * 5)
    good = np.clip(one_hot(codes, 2), 0.1, 0.9)
    numbers = np.linspace(1, 9, 30)
    for name, greater in GREATER_IS_BETTER.items():
        if name in metrics_for("regression"):
            better, worse = score(name, numbers, numbers), score(name, numbers, numbers[::-1])
        else:
            y = codes.astype(float)
            better, worse = score(name, y, good), score(name, y, good[:, ::-1])
        assert (better > worse) == greater, name


def small(target: str, rows: int = 60, **train) -> tuple[TrainSection, Table]:
    x = np.arange(rows) / 3
    goals = {
        "binary": ["no", "yes"] * (rows // 2),
        "rare": ["no"] * (rows - 4) + ["yes"] * 4,
        "numbers": x - 2,
        "multiclass": [3, 7, 9] * (rows // 3),
    }
    table = read_table(pl.DataFrame({"x": x % 7, "y": goals[target]}), "y")
    return Project().override("train", **train).train, table


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("binary", "roc_auc"),
        ("rare", "log_loss"),
        ("multiclass", "log_loss"),
        ("numbers", "rmse"),
    ],
)
def test_the_default_metric_fits_the_target(target: str, name: str) -> None:
    assert find_metric(*small(target)).name == name


@pytest.mark.parametrize(
    ("target", "metric", "message"),
    [
        ("binary", "rmse", "does not fit a binary task"),
        ("binary", "roc_auk", "did you mean 'roc_auc'"),
        ("numbers", "f1", "does not fit a regression"),
        ("multiclass", "f1_positive", "does not fit a multiclass"),
        ("numbers", "mape", "0 in some rows"),
        ("numbers", "rmsle", "below 0 in some rows"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_the_remedy(target, metric, message) -> None:
    with pytest.raises(InputError) as caught:
        find_metric(*small(target, metric=metric))
    assert message in str(caught.value)
    assert "[train] metric" in str(caught.value)


def test_the_positive_class_of_a_metric_is_the_one_that_is_named() -> None:
    y = np.array([0.0, 0, 0, 1])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    yes = find_metric(*small("binary", metric="recall_positive"))
    no = find_metric(*small("binary", metric="recall_positive", decision={"positive": "no"}))
    assert (yes(y, scores), no(y, scores)) == (1.0, pytest.approx(2 / 3))
    with pytest.raises(InputError, match="no class 'nein'"):
        find_metric(*small("binary", metric="f1_positive", decision={"positive": "nein"}))
    assert class_code((False, True), "true") == 1


OWN = """
import numpy as np

def profit(y_true, y_pred, sample_weight=None):
    assert set(np.unique(y_true)) <= {"no", "yes"}, y_true
    gain = np.where(y_pred == "yes", np.where(y_true == "yes", 5.0, -1.0), 0.0)
    return np.average(gain, weights=sample_weight)
profit.greater_is_better, profit.needs = True, "labels"

def spread(y_true, proba):
    return float(proba[:, 1].std() + 0 * len(y_true))
spread.greater_is_better, spread.needs = False, "probabilities"

def error(y_true, y_pred):
    return abs(y_true - y_pred).max()
error.greater_is_better = False

def silent(y_true, y_pred): return 1.0
def odd(y_true, y_pred): return 1.0
odd.greater_is_better, odd.needs = True, "scores"
def shape(y_true, y_pred): return y_pred == y_true
def nothing(y_true, y_pred): return None
def nan(y_true, y_pred): return float("nan")
def broken(y_true, y_pred): raise RuntimeError("no idea")
for each in (shape, nothing, nan, broken):
    each.greater_is_better, each.needs = True, "labels"
number = 5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_metrics.py").write_text(textwrap.dedent(OWN))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("own_metrics", None)


@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own_sees_ones_own_classes() -> None:
    profit = find_metric(*small("binary", metric="own_metrics:profit"))
    assert profit.greater_is_better
    y, scores = np.array([0.0, 1, 1]), np.array([[0.4, 0.6], [0.1, 0.9], [0.8, 0.2]])
    assert profit(y, scores) == pytest.approx((-1 + 5 + 0) / 3)
    assert profit(y, scores, np.array([0.0, 1, 1])) == pytest.approx(5 / 2)
    spread = find_metric(*small("binary", metric="own_metrics:spread"))
    assert not spread.greater_is_better
    assert spread(y, scores) == pytest.approx(scores[:, 1].std())
    error = find_metric(*small("numbers", metric="own_metrics:error"))
    assert error(np.array([1.0, 5]), np.array([2.0, 2])) == 3


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_metrics:", "no import path"),
        ("own metrics:profit", "no import path"),
        ("own_metrics:absent", "cannot be imported"),
        ("no_such_module:profit", "cannot be imported"),
        ("own_metrics:number", "cannot be called"),
        ("own_metrics:silent", "does not say greater_is_better"),
        ("own_metrics:odd", "does not say needs"),
        ("own_metrics:shape", "an array of shape"),
        ("own_metrics:nothing", "NoneType, not a number"),
        ("own_metrics:nan", "answered nan"),
        ("own_metrics:broken", "RuntimeError: no idea"),
    ],
)
def test_a_metric_of_ones_own_that_fails_is_told_before_any_work(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_metric(*small("binary", metric=path))


@pytest.mark.usefixtures("own")
def test_a_metric_that_cannot_weigh_rows_is_refused_where_rows_weigh() -> None:
    frame = pl.DataFrame(
        {"x": np.arange(40) / 3, "w": [1.0, 2.5] * 20, "y": ["no", "no", "yes", "yes"] * 10}
    )
    table = read_table(frame, "y", project=Project().override("data", weight="w"))
    find_metric(TrainSection(metric="own_metrics:profit"), table)
    with pytest.raises(InputError, match="takes no sample_weight"):
        find_metric(TrainSection(metric="own_metrics:spread"), table)
