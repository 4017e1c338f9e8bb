"""Everything that is decided on out-of-fold scores, on models that were really trained."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, recall_score
from sklearn.naive_bayes import GaussianNB

from roadworthy.errors import InputError
from roadworthy.project import DecisionOptions, Project, TrainSection
from roadworthy.table import Table, read_table
from roadworthy.train.calibration import Calibrated
from roadworthy.train.decisions import check_options, decide
from roadworthy.train.folds import make_folds


def table(task: str, rows: int = 3000) -> Table:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 4))
    signal = x[:, 0] + 0.5 * x[:, 1] + random.normal(size=rows)
    goals = {
        "binary": np.where(signal > 1.5, "yes", "no"),
        "multiclass": np.digitize(signal, [-1, 0.5]),
        "regression": 10 * np.exp(0.5 * signal),
    }[task]
    columns = {f"x{i}": x[:, i] for i in range(4)}
    # a repeated column: naive Bayes becomes far too sure
    columns["again"] = x[:, 0] + 1e-3 * random.normal(size=rows)
    return read_table(pl.DataFrame({**columns, "y": goals}), "y")


def out_of_fold(training: Table, make) -> tuple[np.ndarray, np.ndarray]:
    rows, scores = [], []
    X, y = training.frame.to_numpy(), training.labels
    for fold in make_folds(training, 3, 0):
        model = make().fit(X[fold.train], y[fold.train])
        answer = model.predict_proba if training.classes else model.predict
        rows.append(fold.valid)
        scores.append(answer(X[fold.valid]))
    return np.concatenate(rows), np.concatenate(scores)


def test_too_sure_a_model_is_calibrated_and_its_recall_kept_on_new_rows() -> None:
    rows = table("binary")
    training, held = rows.training, rows.holdout
    options = TrainSection(decision=DecisionOptions(recall_floor=0.8, positive="yes"))
    check_options(rows, options)
    decisions = decide(training, *out_of_fold(training, GaussianNB), options)
    model = GaussianNB().fit(training.frame.to_numpy(), training.labels)
    served = Calibrated(model, decisions.calibration)
    X, y = held.frame.to_numpy(), held.labels
    assert decisions.record.calibration != "none"
    assert log_loss(y, served.predict_proba(X)) < log_loss(y, model.predict_proba(X))
    assert decisions.target.positive == "yes"
    answers = decisions.target.predicted_codes(served.predict_proba(X))
    assert recall_score(y, answers) == pytest.approx(0.8, abs=0.1)
    assert decisions.record.threshold.measure == "recall"


def test_a_regression_gets_its_interval() -> None:
    rows = table("regression")
    training, held = rows.training, rows.holdout
    decisions = decide(
        training, *out_of_fold(training, LinearRegression), TrainSection(interval=0.9)
    )
    model = LinearRegression().fit(training.frame.to_numpy(), training.labels)
    predicted = model.predict(held.frame.to_numpy())
    low, high = np.array([decisions.target.interval.around(p) for p in predicted.tolist()]).T
    assert ((low <= held.labels) & (held.labels <= high)).mean() == pytest.approx(0.9, abs=0.04)
    assert decisions.record.interval.coverage == pytest.approx(0.9, abs=0.03)


def test_nothing_is_decided_where_nothing_is_asked_for() -> None:
    for task, make in (("binary", RandomForestClassifier), ("regression", LinearRegression)):
        rows = table(task, 400).training
        decisions = decide(rows, *out_of_fold(rows, make), TrainSection(calibrate="none"))
        assert decisions.target == rows.contract.target
        assert decisions.calibration.method == "none"


def test_rows_scored_more_than_once_count_once() -> None:
    rows = table("binary", 1200).training
    places, scores = out_of_fold(rows, GaussianNB)
    once = decide(rows, np.sort(places), scores[np.argsort(places)], TrainSection())
    twice = decide(rows, np.tile(places, 2), np.tile(scores, (2, 1)), TrainSection())
    assert once.record.rows == twice.record.rows
    assert once.calibration.slope == pytest.approx(twice.calibration.slope)


def test_several_classes_are_calibrated_too() -> None:
    rows = table("multiclass").training
    decisions = decide(rows, *out_of_fold(rows, GaussianNB), TrainSection())
    assert decisions.record.calibration == "sigmoid"
    assert len(decisions.calibration.shifts) == 3


def test_class_weights_are_not_undone_by_calibration() -> None:
    rows = table("binary").training
    options = TrainSection(class_weight="balanced", calibrate="sigmoid")
    weighed = decide(rows, *out_of_fold(rows, GaussianNB), options)
    plain = decide(rows, *out_of_fold(rows, GaussianNB), TrainSection(calibrate="sigmoid"))
    assert weighed.calibration.shifts[1] > plain.calibration.shifts[1] + 0.5


@pytest.mark.parametrize(
    ("task", "train", "message"),
    [
        ("regression", {"class_weight": "balanced"}, "no classes to weigh"),
        ("regression", {"calibrate": "sigmoid"}, "no probabilities"),
        ("regression", {"decision": {"maximise": "f1"}}, "decides between two classes"),
        ("multiclass", {"interval": 0.9}, "are for regression"),
        ("multiclass", {"calibrate": "isotonic"}, "for two classes"),
        ("regression", {"validation": "stratified"}, "a regression has none"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(task: str, train: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(table(task, 200), Project().override("train", **train).train)
