"""What is learned from a column: equal to scikit-learn's own, and free of leaks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import OneHotEncoder, TargetEncoder

from roadworthy.contract import Column, Contract, Target
from roadworthy.errors import InputError
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.explain import explain
from roadworthy.prepare.fit import fit_encode, fit_plan
from roadworthy.project import ColumnPreparation, PrepareSection, Project
from roadworthy.table import Table, read_table
from tests.conftest import DATA

SKLEARN = {"mean": "mean", "median": "median", "most_frequent": "most_frequent"}


def contract(task: str = "regression", classes: tuple = (), **kinds: str) -> Contract:
    dtypes = {"number": "number", "boolean": "boolean", "date": "datetime"}
    columns = tuple(
        Column(name=name, kind=kind, dtype=dtypes.get(kind, "string"))
        for name, kind in kinds.items()
    )
    return Contract(target=Target(name="y", task=task, classes=classes), columns=columns)


def adult() -> Table:
    return read_table(DATA / "adult.csv", "income").training


def of(**said: object) -> PrepareSection:
    return PrepareSection(columns={"c": ColumnPreparation(**said)})


@pytest.mark.parametrize("impute", sorted(SKLEARN))
def test_imputed_numbers_are_what_scikit_learn_learns(impute: str) -> None:
    random = np.random.default_rng(0)
    cells = random.integers(0, 9, (50, 3)).astype(float)
    cells[random.random(cells.shape) < 0.2] = np.nan
    frame = pl.DataFrame(cells, schema=list("abc"), nan_to_null=True)
    plan = fit_plan(
        frame, np.zeros(50), contract(a="number", b="number", c="number"),
        PrepareSection(number_impute=impute),
    )  # fmt: skip
    theirs = SimpleImputer(strategy=SKLEARN[impute]).fit(cells).statistics_
    np.testing.assert_allclose([feature.blank for feature in plan.features], theirs, rtol=1e-14)


def test_blank_numbers_are_left_to_the_model_and_blank_levels_are_a_level() -> None:
    frame = pl.DataFrame({"n": [1.0, None, 3.0, 4.0], "c": ["a", None, "b", None]})
    labels = np.array([1.0, 5.0, 2.0, 7.0])
    plan, matrix = fit_encode(frame, labels, contract(n="number", c="category"), PrepareSection())
    assert np.isnan(matrix[1, 0])
    assert matrix[:, 1].tolist() == [0.0, 2.0, 1.0, 2.0]  # by the target's mean: a, b, blank
    assert plan.features[1].code


def test_constants_and_indicators_say_what_was_blank() -> None:
    frame = pl.DataFrame({"c": [1.0, None, 3.0]})
    plan, matrix = fit_encode(
        frame, np.zeros(3), contract(c="number"),
        of(impute="constant", fill=-1.0, indicator=True),
    )  # fmt: skip
    assert [feature.name for feature in plan.features] == ["c", "c:blank"]
    assert matrix.tolist() == [[1.0, 0.0], [-1.0, 1.0], [3.0, 0.0]]


def test_small_categories_follow_the_target_and_large_ones_their_frequency() -> None:
    frame = pl.DataFrame(
        {"s": ["lo", "hi", "mid"] * 40, "l": [f"v{i % 40 if i < 110 else 7}" for i in range(120)]}
    )
    labels = np.array([{"lo": 0.0, "hi": 2.0, "mid": 1.0}[level] for level in frame["s"]])
    small, large = fit_plan(
        frame, labels, contract(s="category", l="category"), PrepareSection()
    ).features
    assert small.levels == ("lo", "mid", "hi")
    assert large.levels[0] == "v7"
    assert large.blank == 0.0


def test_one_hot_is_what_scikit_learn_makes_with_rare_levels_folded() -> None:
    table = adult()
    cells = table.frame["occupation"].fill_null("(blank)").to_numpy().reshape(-1, 1)
    theirs = OneHotEncoder(min_frequency=1000, sparse_output=False).fit(cells)
    said = PrepareSection(encode="one_hot", rare_rows=1000)
    plan, matrix = fit_encode(
        table.frame.select(pl.col("occupation").alias("c")), table.labels, contract(c="category"),
        said,
    )  # fmt: skip
    wanted = theirs.transform(cells)
    assert plan.features[-1].name == "c:= (rare)"
    assert matrix.shape == wanted.shape
    assert sorted(matrix.sum(axis=0)) == sorted(wanted.sum(axis=0))
    np.testing.assert_array_equal(matrix[:, -1], wanted[:, -1])
    new = encode_columns(pl.DataFrame({"c": ["never seen"]}), plan)
    assert new[0].tolist() == [0.0] * (plan.width - 1) + [1.0]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_target_means_are_scikit_learns_and_cross_fitted(task: str) -> None:
    random = np.random.default_rng(1)
    levels = random.choice([f"l{i}" for i in range(40)], 400)
    classes = {"binary": 2, "multiclass": 3, "regression": 0}[task]
    labels = random.integers(0, classes, 400) if classes else random.normal(size=400)
    made = contract(task, tuple(range(classes)), c="category")
    plan, matrix = fit_encode(
        pl.DataFrame({"c": levels}), labels.astype(float), made, PrepareSection(encode="target"), 3
    )
    folds = (StratifiedKFold if classes else KFold)(5, shuffle=True, random_state=3)
    kind = task if classes else "continuous"
    theirs = TargetEncoder(target_type=kind, cv=folds)
    cells = levels.astype(object).reshape(-1, 1)
    np.testing.assert_array_equal(matrix, theirs.fit_transform(cells, labels))
    served = encode_columns(pl.DataFrame({"c": [*levels, "never seen"]}), plan)
    np.testing.assert_array_equal(
        served, theirs.transform(np.append(cells, [["never seen"]], axis=0))
    )


def test_a_level_of_one_row_learns_nothing_from_its_own_target() -> None:
    """The leak that plain target means have: noise levels would predict the training rows."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"c": [f"id{i}" for i in range(500)]})
    labels = random.normal(size=500)
    _, matrix = fit_encode(frame, labels, contract(c="category"), PrepareSection(encode="target"))
    assert abs(np.corrcoef(matrix[:, 0], labels)[0, 1]) < 0.2


def test_words_are_weighed_as_scikit_learn_weighs_them() -> None:
    texts = ["The red house", "the RED car", None, "a blue car, the car", "house and house"] * 3
    said = PrepareSection(text="tf_idf", text_features=6)
    plan, matrix = fit_encode(pl.DataFrame({"c": texts}), np.zeros(15), contract(c="text"), said)
    words = [feature.levels[0] for feature in plan.features]
    known = [text for text in texts if text is not None]
    theirs = TfidfVectorizer(vocabulary=words).fit(known)
    wanted = theirs.transform([text or "" for text in texts]).toarray()
    np.testing.assert_allclose(matrix, wanted, rtol=1e-14)
    assert "the" in words


def test_an_order_that_is_given_is_the_order_of_the_numbers() -> None:
    frame = pl.DataFrame({"c": ["low", "high", "mid", "low"]})
    columns = (
        Column(name="c", kind="category", dtype="string", categories=dict.fromkeys(frame["c"], 1)),
    )
    made = Contract(target=Target(name="y", task="regression"), columns=columns)
    labels = np.array([9.0, 1.0, 5.0, 9.0])
    plan, matrix = fit_encode(frame, labels, made, of(order=("low", "mid", "high", "top")))
    assert matrix[:, 0].tolist() == [0.0, 2.0, 1.0, 0.0]
    assert not plan.features[0].code
    assert plan.features[0].levels == ("low", "mid", "high", "top")
    with pytest.raises(InputError, match="leaves out levels of the table: 'mid'"):
        fit_encode(frame, labels, made, of(order=("low", "high")))


def test_skewed_numbers_are_put_on_a_logarithm_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"a": random.normal(size=500), "b": random.lognormal(0, 2, 500)})
    plan = fit_plan(frame, np.zeros(500), contract(a="number", b="number"), PrepareSection())
    assert [feature.scale for feature in plan.features] == ["standard", "log"]


def test_december_lies_beside_january_on_the_circle() -> None:
    days = pl.Series("c", ["2024-01-15", "2024-12-15", "2024-06-15"]).str.to_datetime(
        time_unit="us"
    )
    _, matrix = fit_encode(
        days.to_frame(), np.zeros(3), contract(c="date"), PrepareSection(date="cyclic")
    )
    names = [f.label for f in fit_plan(
        days.to_frame(), np.zeros(3), contract(c="date"), PrepareSection(date="cyclic")
    ).features]  # fmt: skip
    month = matrix[:, [names.index("month_sin"), names.index("month_cos")]]
    assert np.linalg.norm(month[0] - month[1]) < 0.6 < np.linalg.norm(month[0] - month[2])


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("number", {"encode": "one_hot"}, "encode does not fit a number column"),
        ("category", {"scale": "log"}, "scale does not fit a category column"),
        ("category", {"impute": "mean"}, "a category has no mean"),
        ("number", {"impute": "constant"}, "belong together"),
        ("number", {"fill": 3.0}, "belong together"),
        ("number", {"impute": "constant", "fill": "x"}, "cannot hold"),
        ("category", {"impute": "constant", "fill": 1.0}, "cannot hold"),
        ("boolean", {"impute": "constant", "fill": 0.5}, "0 or 1"),
        ("text", {"impute": "mean"}, "impute does not fit a text column"),
        ("category", {"order": ("a", "a")}, "names a level twice"),
        ("category", {"order": ("a", "b"), "encode": "hash"}, "order does not go with"),
    ],
)
def test_what_does_not_fit_a_column_is_refused_before_any_work(
    kind: str, said: dict, message: str
) -> None:
    cells = {"number": [1.0], "category": ["a"], "boolean": [True], "text": ["a b"]}[kind] * 4
    with pytest.raises(InputError, match=message) as caught:
        fit_encode(pl.DataFrame({"c": cells}), np.zeros(4), contract(c=kind), of(**said))
    assert "c" in caught.value.where


def test_what_would_make_every_request_slow_is_refused_with_what_to_do() -> None:
    frame = pl.DataFrame({"c": [f"l{i}" for i in range(300)] * 2})
    with pytest.raises(InputError, match="300 features") as caught:
        fit_plan(frame, np.zeros(600), contract(c="category"), PrepareSection(encode="one_hot"))
    assert "rare_rows" in caught.value.fix
    many = contract("multiclass", tuple(range(20)), c="category")
    with pytest.raises(InputError, match="20 classes"):
        fit_plan(frame, np.arange(600.0) % 20, many, PrepareSection(encode="target"))


def test_every_column_is_explained() -> None:
    table = read_table(DATA / "titanic.csv", "survived")
    said = PrepareSection(columns={"age": ColumnPreparation(impute="median", scale="robust")})
    columns = {column.column: column for column in explain(table, said)}
    assert set(columns) == {profile.name for profile in table.profiles}
    assert columns["age"].blank.startswith("median ")
    assert columns["age"].scale == "robust"
    assert columns["name"].encoding == "tf-idf of words"
    assert columns["embarked"].blank == "own level"
    assert not columns["ticket"].used
    assert all(column.reasons for column in columns.values())
    plan = fit_plan(table.training.frame, table.training.labels, table.contract, Project().prepare)
    assert sum(len(column.features) for column in columns.values()) == plan.width
