"""`portable.onnx`: the whole model for anyone who has ONNX Runtime and nothing else."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from roadworthy.bundle.core import export_core
from roadworthy.bundle.portable import export_portable, output_names
from roadworthy.bundle.portable.feed import portable_feed, portable_scores
from roadworthy.cells import WHITE_SPACE
from roadworthy.contract import Column, Contract, Interval, Target
from roadworthy.prepare.columns import encode_columns
from roadworthy.prepare.fit import fit_plan
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.project import PrepareSection
from roadworthy.table import read_table
from roadworthy.table.conform import conform
from tests.conftest import DATA, Trained
from tests.installing import CACHE, alone, install_node

LEVELS = {"0": 2, "2.5": 1, "16777217": 1}
BLANKS = ("", "na", "null", "k", "straße")


def summed(contract: Contract, plan: FeaturePlan) -> bytes:
    """The portable graph of a plan and the sum of its features."""
    portable = export_portable(contract, plan, export_core(_sum_of(plan.width), plan.width))
    assert portable.reasons == {}
    assert portable.content is not None
    return portable.content


def _sum_of(width: int) -> LinearRegression:
    model = LinearRegression()
    model.coef_, model.intercept_ = np.ones(width), 0.0
    return model


def vectors(content: bytes, raw: pl.DataFrame, contract: Contract) -> np.ndarray:
    """What comes out of the plan's part of a portable graph."""
    model = onnx.load_from_string(content)
    last = next(n for n in model.graph.node if n.op_type == "MatMul").input[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, 11, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run([last], portable_feed(raw, conform(raw, contract), contract))[0]


def contract_of(*columns: Column, target: Target | None = None) -> Contract:
    goal = target or Target(name="y", task="regression")
    return Contract(target=goal, columns=columns, blanks=BLANKS)


LETTERS = "aAbBkK\u212a\u0130iIs\u017fßẞéÉ\u03c3Σςǅ_1²Ⅷ-' \u3000\t\u200b\u0301🚗"
TEXTS = st.text(LETTERS, max_size=12) | st.sampled_from(
    ["", "NA", " nUll\n", "\u212a", "STRASSE", "STRAßE", "STRAẞE", "İİi aİbc abİcd İ", "x" * 3000]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(TEXTS, min_size=1, max_size=8),
    st.lists(st.sampled_from(["a", "k", "ß", " a", "na", "x y", "İ"]), unique=True, max_size=5),
)
def test_levels_blanks_and_white_space_are_read_as_the_contract_reads_them(
    texts: list[str], levels: list[str]
) -> None:
    column = Column(name="c", kind="category", dtype="string", categories=dict.fromkeys(levels, 1))
    contract = contract_of(column)
    known = pl.DataFrame({"c": [*levels, None]}, schema={"c": pl.String})
    options = PrepareSection(encode="one_hot", indicator=True, rare_rows=1)
    plan = fit_plan(known, np.zeros(known.height), contract, options)
    raw = pl.DataFrame({"c": texts}, schema={"c": pl.String})
    wanted = encode_columns(conform(raw, contract), plan)
    np.testing.assert_array_equal(vectors(summed(contract, plan), raw, contract), wanted)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=3, max_size=8))
def test_words_are_found_and_weighed_as_the_plan_does_it_bit_for_bit(texts: list[str]) -> None:
    contract = contract_of(Column(name="t", kind="text", dtype="string"))
    raw = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    typed = conform(raw, contract)
    learned = pl.DataFrame({"t": ["ab ka Straße aİ i̇ xx", "kk ab 1² ii", "ka ab", None]})
    plan = fit_plan(learned, np.zeros(4), contract, PrepareSection(text_features=8))
    plan = FeaturePlan(tuple(f for f in plan.features if not set("σς") & set(f.label)))
    found = vectors(summed(contract, plan), raw, contract)
    np.testing.assert_array_equal(found, encode_columns(typed, plan))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none() | st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["parts", "cyclic"]),
)
def test_parts_of_dates_are_those_of_the_calendar(days: list[Any], way: str) -> None:
    contract = contract_of(Column(name="d", kind="date", dtype="datetime"))
    raw = pl.DataFrame({"d": days}, schema={"d": pl.Datetime("us")})
    plan = fit_plan(raw, np.zeros(len(days)), contract, PrepareSection(date=way, indicator=True))
    found = vectors(summed(contract, plan), raw, contract)
    np.testing.assert_array_equal(found, encode_columns(conform(raw, contract), plan))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9)
)
def test_numbers_and_their_blanks_are_kept_in_float64(numbers: list[float | None]) -> None:
    contract = contract_of(
        Column(name="n", kind="number", dtype="number"),
        Column(name="m", kind="category", dtype="number", categories=LEVELS),
    )
    levels = [[0.0, -0.0, 2.5, 16777217.0, 16777216.0, None][i % 6] for i in range(len(numbers))]
    raw = pl.DataFrame({"n": numbers, "m": levels}, schema={"n": pl.Float64, "m": pl.Float64})
    typed = conform(raw, contract)
    options = PrepareSection(number_impute="median", indicator=True)
    plan = fit_plan(typed, np.zeros(len(numbers)), contract, options)
    found = vectors(summed(contract, plan), raw, contract)
    np.testing.assert_array_equal(found, encode_columns(typed, plan))


@pytest.mark.parametrize(
    ("column", "options", "why"),
    [
        (Column(name="c", kind="category", dtype="string"), {"encode": "hash"}, "CRC-32"),
        (Column(name="c", kind="text", dtype="string"), {"text": "hash"}, "CRC-32"),
        (
            Column(name="c", kind="category", dtype="integer", categories={"9007199254740993": 1}),
            {},
            "cannot tell apart",
        ),
        (Column(name="c", kind="category", dtype="integer", categories={"x": 1}), {}, "texts"),
        (Column(name="c", kind="category", dtype="string", categories={"": 1}), {}, "empty text"),
    ],
)
def test_what_cannot_be_said_exactly_is_refused_with_the_reason(
    column: Column, options: dict[str, str], why: str
) -> None:
    contract = contract_of(column)
    frame = pl.DataFrame({"c": list(column.categories) or ["one two three"] * 3})
    plan = fit_plan(frame, np.zeros(frame.height), contract, PrepareSection(**options))
    portable = export_portable(contract, plan, export_core(_sum_of(plan.width), plan.width))
    assert portable.content is None
    assert why in portable.reasons["c"]


@pytest.mark.parametrize("name", ["binary", "linear", "multiclass", "regression"])
def test_a_bare_script_with_onnxruntime_alone_predicts_the_golden_rows(
    bundles: dict[str, Trained], name: str, tmp_path: Path
) -> None:
    bundle = bundles[name].bundle
    rows = [golden.row for golden in bundle.golden]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    script = """
import datetime, json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
rows = json.load(open(sys.argv[2]))
feed = {}
for given in session.get_inputs():
    cells = [row[given.name] for row in rows]
    if given.type == "tensor(string)":
        array = np.array(["" if cell is None else cell for cell in cells], object)
    else:
        utc = datetime.timezone.utc
        seconds = lambda text: datetime.datetime.fromisoformat(text).replace(tzinfo=utc).timestamp()
        numbers = [seconds(cell) if isinstance(cell, str) else cell for cell in cells]
        array = np.array([np.nan if cell is None else cell for cell in numbers], np.float64)
    feed[given.name] = array.reshape(-1, 1)
names = [each.name for each in session.get_outputs()]
answers = dict(zip(names, session.run(names, feed)))
heavy = {"polars", "sklearn", "roadworthy", "pandas", "onnx"} & set(sys.modules)
assert not heavy, heavy
print(json.dumps({name: answer.tolist() for name, answer in answers.items()}))
"""
    run = subprocess.run(
        [sys.executable, "-c", script, bundle.path / "portable.onnx", tmp_path / "rows.json"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    answers = json.loads(run.stdout)
    expected = [golden.expected for golden in bundle.golden]
    if name == "regression":
        wanted = [each["prediction"] for each in expected]
        np.testing.assert_allclose(answers["prediction"], wanted, rtol=1e-12)
        return
    assert answers["prediction"] == [each["prediction"] for each in expected]
    shares = [list(each["probabilities"].values()) for each in expected]
    np.testing.assert_allclose(answers["probabilities"], shares, atol=1e-12)


def test_the_graph_says_which_class_is_which(bundles: dict[str, Trained]) -> None:
    bundle = bundles["multiclass"].bundle
    session = onnxruntime.InferenceSession(bundle.path / "portable.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(bundle.contract.target.class_names)
    assert metadata["target"] == "status"


def binary(**decided: Any) -> Target:
    return Target(name="y", task="binary", classes=(False, True), **decided)


@pytest.mark.parametrize("column", ["prediction", "~t1", "probabilities", "X", "a b.c/é"])
@pytest.mark.parametrize("threshold", [None, 0.9])
def test_thresholds_hold_and_no_column_name_is_in_the_way(
    column: str, threshold: float | None
) -> None:
    contract = contract_of(
        Column(name=column, kind="number", dtype="number"),
        target=binary(threshold=threshold, positive=False),
    )
    raw = pl.DataFrame({column: np.linspace(-4.0, 4.0, 41)})
    plan = fit_plan(raw, np.zeros(41), contract, PrepareSection())
    model = LogisticRegression()
    model.coef_, model.intercept_ = np.array([[1.0]]), np.array([0.0])
    model.classes_ = np.array([0, 1])
    content = export_portable(contract, plan, export_core(model, plan, 2)).content
    assert content is not None
    scores, answers = portable_scores(content, raw, raw, contract)
    np.testing.assert_allclose(scores, model.predict_proba(raw.to_numpy()), atol=1e-15)
    codes = contract.target.predicted_codes(scores)
    assert answers.tolist() == [bool(code) for code in codes]
    assert len({column, *output_names(contract).values()}) == 3


@pytest.mark.parametrize("floor", [None, 2.0])
def test_intervals_have_the_same_bits(floor: float | None) -> None:
    interval = Interval(level=0.9, low=-0.3, high=1.7, floor=floor)
    target = Target(name="y", task="regression", interval=interval)
    contract = contract_of(Column(name="n", kind="number", dtype="number"), target=target)
    raw = pl.DataFrame({"n": [-3.0, 0.1, 2.0, 7.7, 1e300, 1.7e308]})
    plan = fit_plan(raw, np.zeros(6), contract, PrepareSection())
    content = export_portable(contract, plan, export_core(_sum_of(1), 1)).content
    session = onnxruntime.InferenceSession(content)
    feed = portable_feed(raw, raw, contract)
    low, high = session.run(["low", "high"], feed)
    with np.errstate(over="ignore"):
        wanted = interval.around_many(raw["n"].to_numpy())
    np.testing.assert_array_equal([low, high], wanted)


def test_a_graph_that_errs_is_left_out_and_the_column_named(
    bundles: dict[str, Trained], monkeypatch
) -> None:
    from roadworthy.bundle import parity, portable
    from roadworthy.bundle.engine import Engine

    model = bundles["binary"].model
    right = portable.write_number

    def wrong(graph: Any, source: str, features: Any) -> str:
        made = right(graph, source, features)
        return graph.add("Neg", made) if source == "capital-gain" else made

    monkeypatch.setattr(portable, "write_number", wrong)
    core = export_core(model.estimator, model.plan, 2)
    engine = Engine(model.contract, model.plan, core)
    evidence = parity.check_parity(model, engine, core)
    assert evidence.portable is None
    assert "capital-gain" in evidence.parity.refused["portable.onnx"]


@pytest.mark.parametrize(
    ("file", "target"), [("titanic.csv", "survived"), ("flights.parquet", "late")]
)
def test_the_plans_of_real_tables_are_portable(file: str, target: str) -> None:
    table = read_table(DATA / file, target)
    training = table.training
    plan = fit_plan(training.frame, training.labels, table.contract, PrepareSection())
    portable = export_portable(table.contract, plan, export_core(_sum_of(plan.width), plan.width))
    assert portable.reasons == {}


def test_white_space_is_all_that_unicode_knows() -> None:
    contract = contract_of(Column(name="c", kind="category", dtype="string", categories={"a": 1}))
    raw = pl.DataFrame({"c": [f"{sign}a{sign}" for sign in WHITE_SPACE]})
    plan = fit_plan(raw.select(pl.lit("a").alias("c")), np.zeros(1), contract, PrepareSection())
    assert (vectors(summed(contract, plan), raw, contract) == 0.0).all()


IN_NODE = """
const ort = require("onnxruntime-node");
const [model, file] = process.argv.slice(2);
const rows = JSON.parse(require("fs").readFileSync(file, "utf8"));
const number = (cell) =>
  cell === null ? NaN : typeof cell === "string" ? Date.parse(cell + "Z") / 1000 : Number(cell);
ort.InferenceSession.create(model).then(async (session) => {
  const feeds = {};
  for (const { name, type } of session.inputMetadata) {
    const cells = rows.map((row) => row[name]);
    const data =
      type === "string" ? cells.map((cell) => cell ?? "") : Float64Array.from(cells, number);
    feeds[name] = new ort.Tensor(type, data, [rows.length, 1]);
  }
  const answers = await session.run(feeds);
  console.log(JSON.stringify(Array.from((answers.probabilities ?? answers.prediction).data)));
});
"""


@pytest.mark.parametrize("name", ["binary", "regression"])
def test_javascript_predicts_the_golden_rows(
    bundles: dict[str, Trained], name: str, tmp_path: Path
) -> None:
    folder = CACHE / "onnxruntime-node-1.30"
    with alone():
        if not (folder / "node_modules" / "onnxruntime-node" / "package.json").exists():
            install_node(folder, "onnxruntime-node@1.30.0")
    bundle = bundles[name].bundle
    script, rows = tmp_path / "predict.js", tmp_path / "rows.json"
    script.write_text(IN_NODE)
    rows.write_text(json.dumps([golden.row for golden in bundle.golden]))
    run = subprocess.run(
        ["node", str(script), str(bundle.path / "portable.onnx"), str(rows)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "NODE_PATH": str(folder / "node_modules")},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    expected = [golden.expected for golden in bundle.golden]
    wanted = [
        list(each["probabilities"].values()) if name == "binary" else [each["prediction"]]
        for each in expected
    ]
    np.testing.assert_allclose(json.loads(run.stdout), np.concatenate(wanted), rtol=1e-12)
