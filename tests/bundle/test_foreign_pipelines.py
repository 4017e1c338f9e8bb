"""Pipelines as people write them: every way of naming columns, both readings of a column, searches.

Each is packaged and asked the rows that the model itself is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import roadworthy as rw
from roadworthy.bundle.engine import Engine
from roadworthy.bundle.foreign import ForeignModel, adopt
from roadworthy.bundle.foreign.core import converted
from roadworthy.bundle.jumps import jump_rows
from roadworthy.bundle.parity import check_parity
from roadworthy.errors import CheckFailed, InputError, RoadworthyError

N = 200
COLUMNS = ["a", "b", "c", "d", "flag"]
HOT = OneHotEncoder(handle_unknown="ignore")
CODES = OrdinalEncoder(
    handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
)


def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=N).round(3),
            "b": random.integers(0, 9, N),
            "c": random.choice(["u", "v", "w"], N).astype(object),
            "d": random.choice(["x", "y"], N).astype(object),
            "flag": random.random(N) > 0.5,
        }
    )
    frame.loc[::10, "a"] = np.nan
    frame.loc[::7, "c"] = np.nan
    score = frame["a"].fillna(0) + (frame["c"] == "v") + frame["flag"] + frame["b"] / 9
    frame["y"] = np.where(score > score.median(), "yes", "no")
    return frame


TABLE = table()


def columns(*parts: Any, **options: Any) -> ColumnTransformer:
    return ColumnTransformer([(f"part{n}", *part) for n, part in enumerate(parts)], **options)


PREPARED = {
    "weights": columns(
        (SimpleImputer(), ["a", "b"]),
        (HOT, ["c"]),
        transformer_weights={"part0": 0.5, "part1": 3.0},
    ),
    "a ColumnTransformer in another": columns(
        (columns((SimpleImputer(), ["a"]), (HOT, ["d", "c"])), ["c", "a", "d"]),
        ("passthrough", ["flag"]),
    ),
    "a union of encoders": columns((SimpleImputer(), ["a"]), (make_union(HOT, CODES), ["c", "d"])),
    "a union of numbers and blanks": columns(
        (make_union(SimpleImputer(), MissingIndicator(features="all")), ["a", "b"])
    ),
    "a column as a number and by its levels": columns(
        (SimpleImputer(), ["a", "b"]), (HOT, ["b", "flag", "c"])
    ),
    "truths by their levels": columns((SimpleImputer(), ["a"]), (HOT, ["flag", "c"])),
    "the rest by its levels": columns((SimpleImputer(), slice("a", "b")), remainder=CODES),
    "a constant that stands for a blank": columns(
        (SimpleImputer(strategy="constant", fill_value=-9, add_indicator=True), ["a", "b"])
    ),
    "a ColumnTransformer behind another": make_pipeline(
        columns((SimpleImputer(), ["a", "b"]), (HOT, ["d"])),
        columns((StandardScaler(), [0]), (KBinsDiscretizer(3), [1]), remainder="passthrough"),
    ),
    "by position, mask and selector": columns(
        (SimpleImputer(), [0, -4]),
        (HOT, [False, False, True, False, False]),
        (CODES, make_column_selector(pattern="^d$")),
    ),
}


def answers(bundle: rw.Bundle, rows: pd.DataFrame) -> np.ndarray:
    cells = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return np.array([list(each["probabilities"].values()) for each in bundle.predict(cells)])


def packaged(model: Any, tmp_path: Path, sample: Any = TABLE, **options: Any) -> rw.Bundle:
    return rw.package(model, data=sample, target="y", directory=tmp_path, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(PREPARED))
def test_a_pipeline_of_any_shape_is_served_as_it_predicts(name: str, tmp_path: Path) -> None:
    model = make_pipeline(PREPARED[name], LogisticRegression()).fit(TABLE[COLUMNS], TABLE["y"])
    bundle = packaged(model, tmp_path)
    assert bundle.has_core
    rows = TABLE[COLUMNS]
    assert np.allclose(answers(bundle, rows), model.predict_proba(rows), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_the_levels_come_from_the_imputer_and_the_encoder_behind_it(tmp_path: Path) -> None:
    steps = SimpleImputer(strategy="most_frequent"), HOT, LogisticRegression()
    model = make_pipeline(*steps).fit(TABLE[["c", "d"]], TABLE["y"])
    bundle = packaged(model, tmp_path, TABLE[["c", "d", "y"]])
    rows = TABLE[["c", "d"]]
    assert np.allclose(answers(bundle, rows), model.predict_proba(rows), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_truths_of_a_text_file_are_the_truths_that_an_encoder_learned(tmp_path: Path) -> None:
    model = make_pipeline(columns((HOT, ["flag"])), LogisticRegression(C=100)).fit(
        TABLE[COLUMNS], TABLE["y"]
    )
    TABLE.to_csv(tmp_path / "sample.csv", index=False)
    bundle = packaged(model, tmp_path, tmp_path / "sample.csv")
    rows = TABLE[COLUMNS].head(20)
    assert np.allclose(answers(bundle, rows), model.predict_proba(rows), rtol=0, atol=1e-12)
    assert rows["flag"].nunique() == 2


@pytest.mark.filterwarnings("ignore")
def test_a_search_is_the_best_model_that_it_found(tmp_path: Path) -> None:
    inner = make_pipeline(PREPARED["weights"], RandomForestClassifier(5, random_state=0))
    grid = {"randomforestclassifier__max_depth": [2, 4]}
    model = GridSearchCV(inner, grid, cv=2).fit(TABLE[COLUMNS], TABLE["y"])
    bundle = packaged(model, tmp_path)
    assert bundle.manifest.family == "RandomForestClassifier"
    rows = TABLE[COLUMNS]
    assert (answers(bundle, rows) == model.predict_proba(rows)).all()


NUMBERS = TABLE[["a", "b", "y"]].fillna(0.0)


def test_a_conversion_that_differs_on_thresholds_alone_is_found() -> None:
    """The stock converter compares float64 numbers where scikit-learn compares float32 ones."""
    tree = DecisionTreeClassifier(max_depth=4).fit(NUMBERS[["a", "b"]], NUMBERS["y"])
    adopted = adopt(tree, NUMBERS, "y")
    stock = converted(tree, 2)
    for core in (adopted.core, stock):
        engine = Engine(adopted.contract, adopted.plan, core)
        if core is stock:
            with pytest.raises(CheckFailed, match="--format skops"):
                check_parity(adopted, engine, core, reference=lambda rows, _: adopted.each(rows))
        else:
            check_parity(adopted, engine, core, reference=lambda rows, _: adopted.each(rows))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    threshold=st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: abs(x) > 1e-6),
)
def test_the_place_where_an_answer_jumps_is_found_wherever_it_lies(threshold: float) -> None:
    span = 2 * abs(threshold)
    held = pl.DataFrame({"a": [-span, span]}, schema={"a": pl.Float64})
    contract = adopt(
        LogisticRegression().fit(NUMBERS[["a"]], NUMBERS["y"]), NUMBERS[["a", "y"]], "y"
    ).contract
    rows = jump_rows(held, contract, lambda frame: (frame["a"] > threshold).to_numpy() * 1.0)
    below = rows["a"].filter(rows["a"] <= threshold).max()
    above = rows["a"].filter(rows["a"] > threshold).min()
    assert threshold - below < 1e-8 * span
    assert above - threshold < 1e-8 * span


def categories(kind: str) -> tuple[pd.DataFrame, Any]:
    """A table with columns of categories, and a pipeline to fit on it."""
    options = {"max_iter": 8, "min_samples_leaf": 5, "random_state": 0}
    frame = TABLE[COLUMNS].astype({"c": "category", "d": "category"})
    if kind == "by their type":
        return frame, HistGradientBoostingClassifier(**options)
    if kind == "numbers by name":
        frame = frame[["a", "b"]].assign(b=frame["b"].where(frame["b"] > 0))
        return frame, HistGradientBoostingClassifier(categorical_features=["b"], **options)
    coded = columns((CODES, ["c", "d"]), remainder="passthrough", verbose_feature_names_out=False)
    model = HistGradientBoostingClassifier(categorical_features=["c", "d"], **options)
    return TABLE[COLUMNS], make_pipeline(coded.set_output(transform="pandas"), model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["by their type", "numbers by name", "behind an encoder"])
@pytest.mark.parametrize("goal", ["two", "three", "number"])
def test_splits_by_categories_are_served_as_they_predict(
    kind: str, goal: str, tmp_path: Path
) -> None:
    frame, model = categories(kind)
    score = TABLE["b"] % 4 + (TABLE["c"] == "v")
    target = {
        "two": np.where(score > 1, "hi", "lo"),
        "three": np.array(["lo", "mid", "hi"])[np.digitize(score, [1, 2])],
        "number": score + 0.5,
    }[goal]
    if goal == "number":
        kept = HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=5)
        last = model.steps[-1][1] if hasattr(model, "steps") else model
        kept.set_params(categorical_features=last.categorical_features)
        model = make_pipeline(model[0], kept) if hasattr(model, "steps") else kept
    model.fit(frame, target)
    bundle = packaged(model, tmp_path, frame.assign(y=target))
    assert bundle.has_core
    cells = frame.astype(object).where(frame.notna(), None).to_dict("records")
    got = bundle.predict(cells)
    if goal == "number":
        wanted = model.predict(frame)
        assert np.allclose([each["prediction"] for each in got], wanted, rtol=1e-12, atol=0)
    else:
        shares = [list(each["probabilities"].values()) for each in got]
        assert np.allclose(shares, model.predict_proba(frame), rtol=0, atol=1e-12)


PREPARE = columns((SimpleImputer(), ["a", "b"]), (HOT, ["c", "d"]))
FOREST, LINE = RandomForestClassifier(4, random_state=0), LogisticRegression()
GROWN = GradientBoostingClassifier(n_estimators=4, random_state=0)
MEMBERS = [("forest", FOREST), ("line", LINE), ("grown", GROWN)]
EACH = [(name, make_pipeline(PREPARE, member)) for name, member in MEMBERS]
ENSEMBLES = {
    "a vote": VotingClassifier(MEMBERS, voting="soft", weights=[1, 2, 0.5]),
    "a bag": BaggingClassifier(DecisionTreeClassifier(max_depth=4), 4, random_state=0),
    "a bag of some columns": BaggingClassifier(FOREST, 3, max_features=0.6, random_state=0),
    "a bag of small samples": BaggingClassifier(
        DecisionTreeClassifier(), 5, max_samples=3, random_state=0
    ),
    "a stack": StackingClassifier(MEMBERS, cv=2),
    "a stack with the columns": StackingClassifier(
        MEMBERS, final_estimator=FOREST, cv=2, passthrough=True
    ),
    "sigmoids": CalibratedClassifierCV(FOREST, cv=2),
    "sigmoids of margins": CalibratedClassifierCV(LinearSVC(), cv=2),
    "lines of margins": CalibratedClassifierCV(GROWN, method="isotonic", cv=2),
    "one for each class": OneVsRestClassifier(FOREST),
}
OF_PIPELINES = {
    "a vote": VotingClassifier(EACH, voting="soft"),
    "a stack": StackingClassifier(EACH, cv=2),
    "a calibration": CalibratedClassifierCV(EACH[0][1], cv=2),
    "a calibrated vote": CalibratedClassifierCV(VotingClassifier(EACH, voting="soft"), cv=2),
}
ALL_ENSEMBLES = [
    *((f"{name} behind steps", make_pipeline(PREPARE, each)) for name, each in ENSEMBLES.items()),
    *((f"{name} of pipelines", each) for name, each in OF_PIPELINES.items()),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", [name for name, _ in ALL_ENSEMBLES])
def test_an_ensemble_is_served_as_its_members_predict(
    name: str, classes: int, tmp_path: Path
) -> None:
    score = TABLE["b"] + 3 * (TABLE["c"] == "v")
    cuts = [4] if classes == 2 else [3, 6]
    goal = np.array(["lo", "mid", "hi"])[np.digitize(score, cuts)]
    model = dict(ALL_ENSEMBLES)[name].fit(TABLE[COLUMNS], goal)
    adopted = adopt(model, TABLE.assign(y=goal), "y")
    check_exact(adopted)


TARGETS = {
    "a vote": VotingRegressor([("forest", RandomForestRegressor(4)), ("line", Ridge())]),
    "a bag": BaggingRegressor(DecisionTreeRegressor(max_depth=4), 4),
    "a stack": StackingRegressor([("forest", RandomForestRegressor(4)), ("line", Ridge())], cv=2),
    "a logarithm": TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
    "a scaled target": TransformedTargetRegressor(
        RandomForestRegressor(4), transformer=StandardScaler()
    ),
    "a target between": TransformedTargetRegressor(Ridge(), transformer=MinMaxScaler()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(TARGETS))
def test_an_ensemble_of_regressors_is_served_as_its_members_predict(name: str) -> None:
    goal = 1.5 + TABLE["b"] + (TABLE["c"] == "v")
    model = make_pipeline(PREPARE, TARGETS[name]).fit(TABLE[COLUMNS], goal)
    check_exact(adopt(model, TABLE.assign(y=goal), "y"))


def check_exact(adopted: ForeignModel) -> None:
    """A core of our own exporters, as exact as the members are, also where answers jump."""
    engine = Engine(adopted.contract, adopted.plan, adopted.core)
    found = check_parity(
        adopted, engine, adopted.core, reference=lambda rows, _: adopted.each(rows)
    )
    assert max(way.largest_difference for way in found.parity.ways.values()) < 1e-9
    assert max(way.different_labels for way in found.parity.ways.values()) == 0


def test_categories_that_only_a_library_can_code_are_refused_in_words() -> None:
    frame = TABLE[["a", "c"]].astype({"c": "category"})
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(frame, TABLE["y"])
    with pytest.raises(InputError, match="category type"):
        adopt(model, TABLE[["a", "c", "y"]], "y")


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "several targets": (MultiOutputClassifier(LogisticRegression()), ["y", "d"], "several targets"),
    "a forest of several targets": (RandomForestClassifier(3), ["y", "d"], "several targets"),
    "a line of several targets": (Ridge(), ["a", "b"], "several targets"),
    "numbers of several targets": (RandomForestRegressor(3), ["a", "b"], "several targets"),
    "a search of several targets": (
        GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2),
        ["a", "b"],
        "several targets",
    ),
    "several targets, transformed": (
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        ["a", "b"],
        "several targets",
    ),
    "votes": (VotingClassifier([("l", LogisticRegression())]), "y", "voting='hard'"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(REFUSED))
def test_what_answers_no_probabilities_of_one_target_is_refused(name: str) -> None:
    model, targets, said = REFUSED[name]
    frame = TABLE.assign(a=TABLE["a"].fillna(0))
    with pytest.raises(InputError, match=said):
        adopt(model.fit(frame[["a", "b"]], frame[targets]), frame, "y")


def test_levels_that_are_dates_are_refused_in_words() -> None:
    frame = TABLE.assign(when=pd.Timestamp("2020-01-01") + pd.to_timedelta(TABLE["b"], unit="D"))
    model = make_pipeline(HOT, LogisticRegression()).fit(frame[["when"]], frame["y"])
    with pytest.raises(InputError, match="neither texts nor numbers"):
        adopt(model, frame[["when", "y"]], "y")


def test_numbers_that_the_sample_has_as_dates_or_texts_are_refused_as_the_models() -> None:
    frame = TABLE.assign(b=TABLE["c"].fillna("u"))
    model = RandomForestClassifier(3).fit(TABLE[["b"]], TABLE["y"])
    with pytest.raises(InputError, match="the model reads this column as numbers") as caught:
        adopt(model, frame[["b", "y"]], "y")
    assert "encoder" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_an_imputer_of_everything_before_the_encoders_is_refused_in_words() -> None:
    first = SimpleImputer(strategy="most_frequent").set_output(transform="pandas")
    steps = first, columns((StandardScaler(), ["a"]), (HOT, ["c"])), LogisticRegression()
    model = make_pipeline(*steps).fit(TABLE[COLUMNS], TABLE["y"])
    with pytest.raises(InputError, match="let the ColumnTransformer come first"):
        adopt(model, TABLE, "y")


@pytest.mark.filterwarnings("ignore")
def test_a_conversion_that_fails_on_a_row_is_told_and_not_raised(tmp_path: Path) -> None:
    model = RadiusNeighborsClassifier(radius=0.1, outlier_label="most_frequent")
    with pytest.raises(RoadworthyError, match=r"cannot answer every row|does not predict"):
        packaged(model.fit(NUMBERS[["a", "b"]], NUMBERS["y"]), tmp_path, NUMBERS)


def test_why_a_model_refuses_its_own_sample_is_told_in_its_words(tmp_path: Path) -> None:
    model = make_pipeline(columns((OneHotEncoder(), ["c"])), LogisticRegression())
    model.fit(TABLE.assign(c=TABLE["c"].fillna("u"))[COLUMNS], TABLE["y"])
    strange = TABLE.assign(c="strange")
    with pytest.raises(InputError, match=r"refuses a row of the sample: ValueError: Found unknown"):
        adopt(model, strange, "y")


def test_a_sample_may_lack_a_class_and_have_another_once(tmp_path: Path) -> None:
    three = np.digitize(NUMBERS["a"], [-0.3, 0.5])
    names = np.array(["lo", "mid", "hi"])
    model = RandomForestClassifier(4).fit(NUMBERS[["a", "b"]], names[three])
    sample = NUMBERS[["a", "b"]].assign(y=names[three])
    two = sample[sample["y"] != "mid"]
    bundle = packaged(model, tmp_path / "two", two)
    assert bundle.contract.target.class_names == ("hi", "lo", "mid")
    once = pd.concat([two, sample[sample["y"] == "mid"].head(1)])
    assert packaged(model, tmp_path / "once", once).has_core


@pytest.mark.parametrize("classes", [("True", "False"), (" no", "yes "), (-1, 1), (1.0, 2.0)])
def test_classes_are_found_in_a_text_file_however_they_are_written(
    classes: tuple[Any, Any], tmp_path: Path
) -> None:
    goal = np.array(classes)[(NUMBERS["y"] == "yes").astype(int)]
    model = RandomForestClassifier(4).fit(NUMBERS[["a", "b"]], goal)
    NUMBERS.assign(y=goal).to_csv(tmp_path / "sample.csv", index=False)
    bundle = packaged(model, tmp_path, tmp_path / "sample.csv")
    rows = NUMBERS[["a", "b"]]
    assert (answers(bundle, rows) == model.predict_proba(rows)).all()
    assert list(bundle.contract.target.classes) == sorted(classes)


def test_names_that_are_numbers_are_a_header_where_the_target_stands_in_it(tmp_path: Path) -> None:
    frame = NUMBERS.rename(columns={"a": 0, "b": 1})
    model = RandomForestClassifier(4).fit(frame[[0, 1]], frame["y"])
    frame.rename(columns={"y": "2"}).to_csv(tmp_path / "sample.csv", index=False)
    bundle = rw.package(model, data=tmp_path / "sample.csv", target="2", directory=tmp_path)
    assert bundle.contract.names == ("0", "1")


def test_a_sample_without_the_target_is_told_what_it_has(tmp_path: Path) -> None:
    model = RandomForestClassifier(4).fit(NUMBERS[["a", "b"]], NUMBERS["y"])
    with pytest.raises(InputError, match="no column 'goal'"):
        adopt(model, NUMBERS, "goal")


def test_a_row_without_a_finite_answer_is_refused_by_the_server(tmp_path: Path) -> None:
    import asyncio

    from roadworthy.serve.predictions import Predictor
    from roadworthy.serve.problems import RequestProblem

    model = PoissonRegressor(alpha=0).fit(NUMBERS[["a"]], np.exp(NUMBERS["a"]))
    sample = NUMBERS[["a"]].assign(y=np.exp(NUMBERS["a"]))
    predictor = Predictor(packaged(model, tmp_path, sample), 100)
    near, far = b'{"a": 1}', b'{"a": 1e9}'
    assert predictor.one(near, "r") is not None
    assert predictor.one(far, "r") is None
    for body in (far, b"[" + near + b"," + far + b"]"):
        with pytest.raises(RequestProblem) as caught:
            asyncio.run(predictor.json(body, "r"))
        assert caught.value.status == 422
