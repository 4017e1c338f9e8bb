"""An ONNX file of others: checked as data, joined to a plan, proven against the file itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from typer.testing import CliRunner

import roadworthy as rw
from roadworthy.bundle.foreign.onnx_file import open_onnx
from roadworthy.cli import app
from roadworthy.errors import CheckFailed, InputError, RoadworthyError

N = 240
COLUMNS = ["a", "b", "c", "d"]
EACH = [
    ("a", FloatTensorType([None, 1])),
    ("b", Int64TensorType([None, 1])),
    ("c", StringTensorType([None, 1])),
    ("d", StringTensorType([None, 1])),
]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Numbers, whole numbers, levels with white space and letters beyond ASCII, blanks."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=N),
            "b": random.integers(0, 50, N),
            "c": random.choice(["u ", "v", "wé", ""], N),
            "d": random.choice(["x", "y"], N),
        }
    )
    score = frame["a"] + (frame["c"] == "v") + 0.02 * frame["b"] + random.normal(size=N)
    frame["two"] = np.where(score > score.median(), "yes", "no")
    frame["three"] = np.digitize(score, [0.3, 1.3])
    frame["number"] = score
    return frame


def converted(pipeline: Any, types: Any, *, zipmap: bool = False, opset: int = 17) -> Any:
    options = {id(pipeline): {"zipmap": zipmap}} if hasattr(pipeline, "classes_") else None
    versions = {"": opset, "ai.onnx.ml": 3}
    return to_onnx(pipeline, initial_types=types, options=options, target_opset=versions, name="m")


def mixed(estimator: Any, encoder: Any = None) -> Any:
    encoder = encoder or OneHotEncoder(handle_unknown="ignore")
    steps = [(StandardScaler(), ["a", "b"]), (encoder, ["c", "d"])]
    return make_pipeline(make_column_transformer(*steps), estimator)


def asked(model: onnx.ModelProto, frame: pd.DataFrame, output: int) -> Any:
    """What the file itself answers, by nothing but ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    inputs = session.get_inputs()
    if len(inputs) == 1:
        cells = frame.to_numpy().astype(kinds.get(inputs[0].type, object))
        return session.run(None, {inputs[0].name: cells})[output]
    feed = {
        each.name: frame[[each.name]].to_numpy().astype(kinds.get(each.type, object))
        for each in inputs
    }
    return session.run(None, feed)[output]


def ordinal() -> Any:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


MATRIX = [("X", DoubleTensorType([None, 2]))]
FORMS: dict[str, tuple[Any, Any, list[str], str, bool, int]] = {
    "an input a column, mappings": (mixed(LogisticRegression()), EACH, COLUMNS, "two", True, 17),
    "an input a column, tensor, forest": (
        mixed(RandomForestClassifier(5)), EACH, COLUMNS, "three", False, 17,
    ),
    "an input a column, a number": (
        mixed(GradientBoostingRegressor(n_estimators=5), ordinal()),
        EACH, COLUMNS, "number", False, 15,
    ),
    "a matrix of doubles": (
        make_pipeline(StandardScaler(), LogisticRegression()), MATRIX, ["a", "b"], "three", False,
        12,
    ),
    "a matrix of floats, mappings": (
        make_pipeline(StandardScaler(), RandomForestClassifier(5)),
        [("X", FloatTensorType([None, 2]))], ["a", "b"], "two", True, 21,
    ),
    "a matrix of texts": (
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        [("X", StringTensorType([None, 2]))], ["c", "d"], "two", False, 17,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(FORMS))
def test_an_onnx_model_becomes_a_bundle_that_answers_what_the_file_answers(
    name: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    pipeline, types, columns, target, zipmap, opset = FORMS[name]
    rows = table[columns]
    pipeline.fit(rows if len(types) > 1 else rows.to_numpy(), table[target])
    model = converted(pipeline, types, zipmap=zipmap, opset=opset)
    bundle = rw.package(model, data=table[[*columns, target]], target=target, directory=tmp_path)
    assert set(bundle.parity["ways"]) >= {"plan and core, batch", "portable.onnx"}
    assert bundle.parity["generated_rows"] > 20
    for way in bundle.parity["ways"].values():
        assert way["different_labels"] == 0
        assert way["largest_difference"] < 1e-6
    assert len(bundle.manifest.lineage["model"]) == 64
    bundle.check_golden()
    found, wanted = bundle.predict(rows)["prediction"], asked(model, rows, 0).reshape(-1)
    if target == "number":
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    else:
        assert found.to_list() == wanted.tolist()


def perceptron(outputs: int = 1, *, end: str = "Sigmoid", rows: Any = "N") -> onnx.ModelProto:
    """A network of two layers as deep-learning libraries write it."""
    random = np.random.default_rng(1)
    sizes = {"w1": (2, 4), "b1": (4,), "w2": (4, outputs), "b2": (outputs,)}
    weights = [
        numpy_helper.from_array(random.normal(size=size).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["input", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["z"]),
        helper.make_node(end, ["z"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [rows, 2])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [rows, outputs])],
        weights,
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="network")


def test_a_network_that_ends_in_a_logistic_function_tells_two_classes(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    model = perceptron()
    sample = table[["a", "b"]].assign(y=(table["two"] == "yes").astype(int))
    bundle = rw.package(model, data=sample, target="y", directory=tmp_path)
    assert bundle.manifest.classes == (0, 1)
    found = bundle.predict(sample)["probability_1"].to_numpy()
    np.testing.assert_allclose(found, asked(model, sample[["a", "b"]], 0)[:, 0], rtol=1e-6)


def test_classes_are_named_by_the_target_or_by_the_file_and_never_guessed(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    model = perceptron(3, end="Softmax")
    numbers = table[["a", "b", "three"]]
    bundle = rw.package(model, data=numbers, target="three", directory=tmp_path)
    assert bundle.manifest.classes == (0, 1, 2)
    texts = numbers.assign(three=numbers["three"].map({0: "lo", 1: "mid", 2: "hi"}))
    with pytest.raises(InputError, match="does not say which classes"):
        rw.package(model, data=texts, target="three", directory=tmp_path)
    helper.set_model_props(model, {"classes": '["lo", "mid", "hi"]'})
    bundle = rw.package(model, data=texts, target="three", directory=tmp_path)
    assert bundle.manifest.classes == ("lo", "mid", "hi")


def external(model: onnx.ModelProto) -> None:
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../../etc/passwd")
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def node(op: str, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def add(model: onnx.ModelProto) -> None:
        model.graph.node.add(op_type=op, domain=domain, input=["output"], output=["more"])

    return add


def enormous(model: onnx.ModelProto) -> None:
    """A constant of 64 TiB, which a runtime makes when it runs."""
    shape = numpy_helper.from_array(np.array([1 << 22, 1 << 22]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["much"]))
    model.graph.node.insert(1, helper.make_node("ReduceSum", ["much"], ["sum"], keepdims=0))
    model.graph.node[-1].input[0] = "zz"
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("Add", ["z", "sum"], ["zz"])
    )


HOSTILE = {
    "weights in another file": external,
    "Loop": node("Loop"),
    "If": node("If"),
    "draws at random": node("RandomNormalLike"),
    "domain 'evil'": node("Run", "evil"),
    "no valid ONNX": node("NoSuchOperator"),
    "cannot load": enormous,
}


@pytest.mark.parametrize("said", list(HOSTILE))
def test_what_a_file_may_not_hold_is_refused_before_it_is_run_here(
    said: str, tmp_path: Path
) -> None:
    model = perceptron()
    HOSTILE[said](model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RoadworthyError, match=said):
        open_onnx(tmp_path / "m.onnx")


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_model_or_a_clear_error(content: bytes, tmp_path_factory: Any) -> None:
    place = tmp_path_factory.mktemp("any") / "m.onnx"
    place.write_bytes(content)
    with pytest.raises(RoadworthyError):
        open_onnx(place)


REFUSED: dict[str, Callable[[], onnx.ModelProto]] = {
    "exactly 1 rows": lambda: perceptron(rows=1),
    "no probabilities": lambda: perceptron(2, end="Identity"),
    "takes 2 columns": lambda: perceptron(),
}


@pytest.mark.parametrize("said", list(REFUSED))
def test_what_cannot_be_served_is_refused_in_words(
    said: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    columns = ["a", "b", "c"] if said == "takes 2 columns" else ["a", "b"]
    sample = table[columns].assign(y=(table["two"] == "yes").astype(int))
    with pytest.raises((InputError, CheckFailed), match=said):
        rw.package(REFUSED[said](), data=sample, target="y", directory=tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_formats_need_an_estimator(table: pd.DataFrame, tmp_path: Path) -> None:
    sample = table[["a", "b", "number"]]
    model = perceptron(end="Identity")
    with pytest.raises(InputError, match="no scikit-learn estimator"):
        rw.package(model, data=sample, target="number", formats=["skops"], directory=tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_the_verb_takes_an_onnx_file(table: pd.DataFrame, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    model = converted(mixed(LogisticRegression()).fit(table[COLUMNS], table["two"]), EACH)
    Path("model.onnx").write_bytes(model.SerializeToString())
    table[[*COLUMNS, "two"]].to_csv("sample.csv", index=False)
    arguments = ["package", "model.onnx", "--data", "sample.csv", "--target", "two", "--json"]
    made = CliRunner().invoke(app, arguments)
    assert made.exception is None, made.output
    document = json.loads(made.stdout)
    assert document["parity"]["refused"] == {}
    bundle = rw.load(document["path"])
    answer = bundle.predict({"a": 0.5, "b": 3, "c": "never seen", "d": "x"})
    row = pd.DataFrame({"a": [0.5], "b": [3], "c": ["never seen"], "d": ["x"]})
    assert answer["prediction"] == asked(model, row, 0)[0]
