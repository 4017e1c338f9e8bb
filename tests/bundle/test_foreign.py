"""Bring your own model: taken apart, proven equal on hostile rows, or refused by its name."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

import roadworthy as rw
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.foreign import ForeignModel, adopt
from roadworthy.bundle.foreign.opening import open_model
from roadworthy.bundle.parity import Evidence, check_parity
from roadworthy.cli import app
from roadworthy.errors import CheckFailed, InputError, RoadworthyError
from roadworthy.project import Project

runner = CliRunner()
N = 240
NUMBERS, LEVELS, CODES = ["a", "b"], ["c"], ["m"]
COLUMNS = [*NUMBERS, *LEVELS, *CODES, "flag", "unused"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Blanks, white space around levels, letters beyond ASCII, whole numbers, booleans."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=N),
            "b": random.integers(0, 50, N),
            "c": random.choice([" u", "v", "wé", "NA?"], N),
            "m": random.integers(1, 6, N),
            "flag": random.random(N) > 0.5,
            "unused": ["x"] * N,
        }
    )
    frame.loc[random.random(N) < 0.1, "a"] = np.nan
    frame.loc[random.random(N) < 0.1, "c"] = np.nan
    score = frame["a"].fillna(0) + (frame["c"] == "v") + frame["m"] * 0.2 + random.normal(size=N)
    frame["two"] = np.where(score > score.median(), "yes", "no")
    frame["three"] = np.where(score < -0.2, "lo", np.where(score < 1, "mid", "hi"))
    frame["number"] = np.exp(score / 4)
    return frame


def prepared(numbers: Any, levels: Any, estimator: Any) -> Any:
    """A pipeline as people write it."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    steps = [(numbers, NUMBERS), (levels, LEVELS), (codes, CODES), ("passthrough", ["flag"])]
    return make_pipeline(make_column_transformer(*steps), estimator)


def one_hot(**options: Any) -> Any:
    options = {"handle_unknown": "ignore", **options}
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(**options))


def filled(*steps: Any) -> Any:
    return make_pipeline(SimpleImputer(strategy="median", add_indicator=True), *steps)


def evidence(pipeline: Any, table: pd.DataFrame, target: str, columns: Any = None) -> Evidence:
    columns = columns or COLUMNS
    pipeline.fit(table[columns], table[target])
    return proof(adopt(pipeline, table[[*columns, target]], target))


def proof(adopted: ForeignModel) -> Evidence:
    engine = Engine(adopted.contract, adopted.plan, adopted.core)
    return check_parity(adopted, engine, adopted.core, reference=lambda rows, _: adopted.each(rows))


SERVED = {
    "logistic, standard, one hot": (filled(StandardScaler()), one_hot(), LogisticRegression()),
    "logistic, min max, rare levels": (
        filled(MinMaxScaler()),
        one_hot(min_frequency=50, handle_unknown="infrequent_if_exist"),
        LogisticRegression(),
    ),
    "logistic, robust, first dropped": (
        filled(RobustScaler()),
        one_hot(drop="first"),
        LogisticRegression(),
    ),
    "logistic, max abs, target means": (
        filled(MaxAbsScaler()),
        TargetEncoder(),
        LogisticRegression(),
    ),
    "logistic, power, one hot": (filled(PowerTransformer()), one_hot(), LogisticRegression()),
    "logistic, quantiles, one hot": (
        filled(QuantileTransformer(n_quantiles=20)),
        one_hot(),
        LogisticRegression(),
    ),
    "forest, standard, one hot": (filled(StandardScaler()), one_hot(), RandomForestClassifier(10)),
    "forest, as they are, target means": (
        "passthrough",
        TargetEncoder(),
        RandomForestClassifier(10),
    ),
    "tree, filled, dense one hot": (
        filled(),
        one_hot(sparse_output=False),
        DecisionTreeClassifier(max_depth=4),
    ),
    "gradient, filled, ordinal": (
        filled(),
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="none"),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ),
        GradientBoostingClassifier(n_estimators=10),
    ),
    "hist, as they are, ordinal with blanks": (
        "passthrough",
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        HistGradientBoostingClassifier(max_iter=10),
    ),
    "lightgbm, as they are, one hot": (
        "passthrough",
        one_hot(),
        lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
    ),
    "lightgbm, standard, blank level": (
        StandardScaler(),
        OneHotEncoder(handle_unknown="ignore"),
        lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
    ),
    "catboost, as they are, one hot": (
        "passthrough",
        one_hot(sparse_output=False),
        catboost.CatBoostClassifier(iterations=10, verbose=0, allow_writing_files=False),
    ),
    "logistic, products, one hot": (
        filled(StandardScaler(), PolynomialFeatures(3)),
        one_hot(),
        LogisticRegression(max_iter=1000),
    ),
    "forest, products of two, one hot": (
        filled(PolynomialFeatures((2, 3), interaction_only=True, include_bias=False)),
        one_hot(),
        RandomForestClassifier(10),
    ),
    "tree, bins, one hot": (
        filled(KBinsDiscretizer(4, encode="ordinal")),
        one_hot(),
        DecisionTreeClassifier(max_depth=4),
    ),
    "logistic, a column a bin, one hot": (
        filled(KBinsDiscretizer(4)),
        one_hot(),
        LogisticRegression(),
    ),
    "logistic, functions, one hot": (
        filled(
            FunctionTransformer(np.abs),
            make_union(
                FunctionTransformer(np.log1p),
                FunctionTransformer(np.sqrt),
                make_pipeline(FunctionTransformer(np.negative), FunctionTransformer(np.exp)),
                "passthrough",
            ),
            MaxAbsScaler(),
        ),
        one_hot(),
        LogisticRegression(),
    ),
    "gradient, chosen, principal components": (
        filled(StandardScaler(), SelectKBest(k=3), PCA(2, whiten=True)),
        one_hot(),
        GradientBoostingClassifier(n_estimators=10),
    ),
    "logistic, by length, above": (
        filled(make_union(Normalizer(), Normalizer("l1"), Normalizer("max"), Binarizer())),
        one_hot(),
        LogisticRegression(),
    ),
    "naive bayes, standard": (filled(StandardScaler()), one_hot(sparse_output=False), GaussianNB()),
    "perceptrons, standard": (
        filled(StandardScaler()),
        one_hot(),
        MLPClassifier((5,), max_iter=20),
    ),
    "calibrated logistic": (
        filled(StandardScaler()),
        one_hot(),
        CalibratedClassifierCV(LogisticRegression()),
    ),
}
NUMBERS_TOO = {
    "ridge, standard, one hot": (filled(StandardScaler()), one_hot(), Ridge()),
    "least squares, min max, refusing": (
        filled(MinMaxScaler()),
        OneHotEncoder(),
        LinearRegression(),
    ),
    "poisson, standard, one hot": (filled(StandardScaler()), one_hot(), PoissonRegressor()),
    "forest, filled, ordinal": (filled(), OrdinalEncoder(), RandomForestRegressor(10)),
    "extra trees, power, one hot": (filled(PowerTransformer()), one_hot(), ExtraTreesRegressor(10)),
    "hist, as they are, target means": (
        "passthrough",
        TargetEncoder(),
        HistGradientBoostingRegressor(max_iter=10),
    ),
    "lightgbm, as they are, one hot": (
        "passthrough",
        one_hot(),
        lightgbm.LGBMRegressor(n_estimators=10, verbose=-1),
    ),
    "catboost, filled, one hot": (
        filled(),
        one_hot(sparse_output=False),
        catboost.CatBoostRegressor(iterations=10, verbose=0, allow_writing_files=False),
    ),
    "perceptrons, standard": (
        filled(StandardScaler()),
        one_hot(),
        MLPRegressor(hidden_layer_sizes=(5,), max_iter=20),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(SERVED))
def test_classifiers_of_others_are_served_as_they_predict(name: str, table: pd.DataFrame) -> None:
    target = "three" if "forest" in name or "lightgbm" in name else "two"
    check_evidence(evidence(prepared(*SERVED[name]), table, target))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(NUMBERS_TOO))
def test_regressors_of_others_are_served_as_they_predict(name: str, table: pd.DataFrame) -> None:
    check_evidence(evidence(prepared(*NUMBERS_TOO[name]), table, "number"))


def check_evidence(found: Evidence) -> None:
    assert found.portable is not None, found.parity.refused
    assert found.parity.holdout_rows > 100
    assert found.parity.generated_rows > 50
    for way in found.parity.ways.values():
        assert way.different_labels == 0
        assert way.largest_difference < 1e-9


@pytest.mark.filterwarnings("ignore")
def test_bare_estimators_and_matrices_without_names_are_taken(table: pd.DataFrame) -> None:
    numbers = table[["a", "b", "m"]]
    yes = (table["two"] == "yes").astype(int)
    nameless = xgboost.XGBClassifier(n_estimators=5).fit(numbers.to_numpy(), yes)
    named = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(numbers, table["number"])
    for model, goal in ((nameless, yes), (named, table["number"])):
        proven = proof(adopt(model, numbers.assign(y=goal), "y"))
        assert max(way.largest_difference for way in proven.parity.ways.values()) < 1e-6


class Shout(BaseEstimator):
    """A transformer that nobody knows."""

    def fit(self, X: Any, y: Any = None) -> Shout:
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * 2


REFUSED = {
    "SplineTransformer": prepared(filled(SplineTransformer()), one_hot(), LogisticRegression()),
    "Shout": prepared(filled(Shout()), one_hot(), LogisticRegression()),
    "FunctionTransformer": prepared(
        filled(FunctionTransformer(np.sinh)), one_hot(), LogisticRegression()
    ),
    "AdaBoostClassifier": prepared(filled(), one_hot(), AdaBoostClassifier(n_estimators=3)),
    "gives no probabilities": prepared(filled(), one_hot(), LinearSVC()),
    "KNeighborsClassifier": prepared(filled(), one_hot(), KNeighborsClassifier(weights="distance")),
    "LinearDiscriminantAnalysis": prepared(
        filled(), one_hot(sparse_output=False), LinearDiscriminantAnalysis()
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_served_is_refused_by_name(name: str, table: pd.DataFrame) -> None:
    with pytest.raises(RoadworthyError, match=name):
        evidence(REFUSED[name], table, "two")


def test_what_does_not_predict_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="neither a fitted classifier"):
        adopt(FeatureHasher(), table, "two")
    with pytest.raises(InputError, match="dict is neither"):
        adopt({"a": 1}, table, "two")


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_not_fitted_or_answers_by_another_rule_is_refused(
    table: pd.DataFrame,
) -> None:
    with pytest.raises(InputError, match="fitted"):
        adopt(prepared(filled(), one_hot(), LogisticRegression()), table, "two")
    random = np.random.default_rng(4)
    numbers = pd.DataFrame(random.normal(size=(60, 2)), columns=["a", "b"])
    noisy = (numbers["a"] + random.normal(size=60) * 2) > 0.8
    machine = SVC(probability=True, random_state=0).fit(numbers, noisy)
    with pytest.raises(CheckFailed, match="another class than the most probable"):
        adopt(machine, numbers.assign(y=noisy), "y")


def test_what_a_model_refuses_its_bundle_refuses(table: pd.DataFrame, tmp_path: Path) -> None:
    pipeline = prepared(filled(StandardScaler()), OneHotEncoder(), LogisticRegression())
    pipeline.fit(table[COLUMNS], table["two"])
    bundle = rw.package(pipeline, data=table[[*COLUMNS, "two"]], target="two", directory=tmp_path)
    column = {each.name: each for each in bundle.contract.columns}
    assert "unused" not in column
    assert (column["c"].on_unseen, column["flag"].on_blank) == ("error", "error")
    rows = table[COLUMNS].head(60)
    assert bundle.predict(rows)["prediction"].to_list() == pipeline.predict(rows).tolist()
    row = bundle.golden[0].row
    for bad in ({"c": "never seen"}, {"flag": None}):
        with pytest.raises(RoadworthyError):
            bundle.predict({**row, **bad})
    assert bundle.report["search"] is None
    assert "fitted elsewhere" in (bundle.path / "card.md").read_text()
    assert rw.test(bundle).passed


def test_the_formats_hold_the_model_that_came(table: pd.DataFrame, tmp_path: Path) -> None:
    pipeline = prepared(filled(StandardScaler()), one_hot(), LogisticRegression())
    pipeline.fit(table[COLUMNS], table["two"])
    bundle = rw.package(
        pipeline,
        data=table[[*COLUMNS, "two"]],
        target="two",
        formats=["skops"],
        directory=tmp_path,
    )
    rows = table[COLUMNS].head(40)
    found = bundle.estimator("skops").predict_proba(rows)
    np.testing.assert_allclose(found, pipeline.predict_proba(rows), atol=1e-15)


@pytest.mark.filterwarnings("ignore")
def test_rows_that_the_model_itself_refuses_are_left_out_and_told(table: pd.DataFrame) -> None:
    model = LogisticRegression().fit(table[NUMBERS].fillna(0), table["two"])
    adopted = adopt(model, table[[*NUMBERS, "two"]], "two")
    assert {c.name: c.on_blank for c in adopted.contract.columns} == {"a": "error", "b": "error"}
    assert len(adopted.table) == table["a"].notna().sum()
    assert "the model refuses them" in adopted.table.notes[-1]
    check_evidence(proof(adopted))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": ["b", "m"]}, "lacks columns"),
        ({"target": "unused"}, "nothing to predict"),
        ({"target": "three"}, "classes that the model does not know"),
        ({"target": None}, "no target column"),
    ],
)
def test_a_sample_that_does_not_fit_is_said(change: dict, said: str, table: pd.DataFrame) -> None:
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression())
    pipeline.fit(table[NUMBERS], table["two"])
    target = change.get("target", "two")
    columns = change.get("columns", NUMBERS)
    sample = table[[*columns, *([target] if target else [])]]
    project = Project().override("data", target=target)
    if target == "three":
        sample = sample[sample["three"] != "mid"]
    with pytest.raises(InputError, match=said):
        adopt(pipeline, sample, target, project)


def test_a_pickle_is_opened_only_when_that_is_said(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(mark),)

    for name in ("m.pkl", "m.pickle", "m.joblib"):
        (tmp_path / name).write_bytes(pickle.dumps(Evil()))
        with pytest.raises(InputError, match="runs whatever code") as caught:
            open_model(tmp_path / name)
        assert "--allow-pickle" in str(caught.value.fix)
    assert not mark.exists()
    for name in ("m.txt", "none.skops"):
        (tmp_path / "m.txt").write_text("")
        with pytest.raises(InputError):
            open_model(tmp_path / name)


@pytest.mark.filterwarnings("ignore")
def test_the_verb_packages_a_file_and_says_what_it_proved(
    table: pd.DataFrame, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = prepared(filled(StandardScaler()), one_hot(), LogisticRegression())
    pipeline.fit(table[COLUMNS], table["two"])
    joblib.dump(pipeline, "model.joblib")
    table[[*COLUMNS, "two"]].to_csv("sample.csv", index=False)
    arguments = ["package", "model.joblib", "--data", "sample.csv", "--target", "two"]
    refused = runner.invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    made = runner.invoke(app, [*arguments, "--allow-pickle", "--json"])
    assert made.exception is None, made.output
    document = json.loads(made.stdout)
    assert document["parity"]["refused"] == {}
    bundle = rw.load(document["path"])
    assert bundle.predict("sample.csv")["prediction"].to_list() == pipeline.predict(table).tolist()
    without = runner.invoke(app, ["package"])
    assert isinstance(without.exception, InputError)
