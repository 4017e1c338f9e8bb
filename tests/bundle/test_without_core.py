"""A bundle without a core: scikit-learn itself serves it, when that is allowed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.tree import DecisionTreeRegressor

import roadworthy as rw
from roadworthy.bundle import Bundle
from roadworthy.bundle.foreign import adopt
from roadworthy.bundle.recalibrate import check_recalibratable
from roadworthy.errors import CheckFailed, InputError, RowsError
from roadworthy.image.context import write_context
from roadworthy.project import Project, ServeSection
from roadworthy.serve.models import Opener
from roadworthy.serve.problems import RequestProblem
from tests.bundle.test_signature import make_key
from tests.conftest import Server

N = 80
TREES = ["sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=N),
            "b": random.integers(0, 50, N),
            "c": random.choice(["u", "v ", "wé"], N),
            "m": random.integers(1, 4, N),
        }
    )
    score = frame["a"] + (frame["c"] == "u") + random.normal(size=N)
    return frame.assign(two=np.where(score > 0.3, "yes", "no"), number=score)


def pipeline(estimator: Any) -> Any:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    steps = [(FunctionTransformer(np.sinh), ["a", "b"]), (levels, ["c"]), (codes, ["m"])]
    return make_pipeline(make_column_transformer(*steps), estimator)


@pytest.fixture(scope="module")
def neighbours(table: pd.DataFrame) -> Any:
    model = pipeline(KNeighborsClassifier(weights="distance"))
    return model.fit(table[["a", "b", "c", "m"]], table["two"])


@pytest.fixture(scope="module")
def bundle(neighbours: Any, table: pd.DataFrame, tmp_path_factory: Any) -> Bundle:
    return rw.package(
        neighbours,
        data=table.drop(columns="number"),
        target="two",
        formats=["skops"],
        trusted_types=TREES,
        directory=tmp_path_factory.mktemp("bundles"),
    )


def test_a_model_that_does_not_convert_is_packaged_with_what_that_costs(bundle: Bundle) -> None:
    assert not bundle.has_core
    assert bundle.manifest.format == 3
    assert not {"core.onnx", "portable.onnx"} & bundle.manifest.files.keys()
    assert "FunctionTransformer" in bundle.parity["refused"]["core.onnx and portable.onnx"]
    assert set(bundle.parity["ways"]) == {
        "plan and core, batch", "plan and core, one row of JSON",
        "skops, opened in a fresh process",
    }  # fmt: skip
    assert all(way["largest_difference"] == 0 for way in bundle.parity["ways"].values())
    measured = bundle.manifest.measured
    assert 0 < measured["rows_a_second"] < measured["rows_a_second_linear_core"]
    assert any("scikit-learn itself serves it" in note for note in bundle.report["notes"])


def test_it_answers_what_the_model_answers_when_its_types_are_trusted(
    bundle: Bundle, neighbours: Any, table: pd.DataFrame
) -> None:
    rows = table[["a", "b", "c", "m"]]
    opened = rw.load(bundle.path, trusted_types=TREES)
    found = opened.predict(rows)
    wanted = neighbours.predict_proba(rows)
    np.testing.assert_allclose(found["probability_yes"].to_numpy(), wanted[:, 1], atol=1e-15)
    one = opened.predict({"a": 0.1, "b": 3, "c": "never seen", "m": 77})
    row = pd.DataFrame({"a": [0.1], "b": [3], "c": ["never seen"], "m": [77]})
    assert one["prediction"] == neighbours.predict(row)[0]
    opened.check_golden()
    with pytest.raises(RowsError, match="blank"):
        opened.predict({"a": None, "b": 3, "c": "u", "m": 1})


def test_types_are_trusted_by_the_project_and_never_by_the_bundle(bundle: Bundle) -> None:
    with pytest.raises(CheckFailed, match="not trusted"):
        rw.load(bundle.path).engine  # noqa: B018
    with pytest.raises(InputError, match="no core"):
        rw.load(bundle.path).core  # noqa: B018


def test_verifying_it_opens_nothing_and_other_bundles_bring_in_no_training_code(
    bundle: Bundle,
) -> None:
    code = (
        "import sys; from roadworthy.bundle import Bundle; "
        f"Bundle({str(bundle.path)!r}); print('sklearn' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_pickle_needs_the_flag_and_a_trusted_signature(
    neighbours: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path)
    made = rw.package(
        neighbours,
        data=table.drop(columns="number"),
        target="two",
        formats=["joblib"],
        directory=tmp_path / "bundles",
        signing_key=private,
    )
    with pytest.raises(InputError, match="runs the code"):
        rw.load(made.path, trusted_keys=[public]).engine  # noqa: B018
    with pytest.raises(CheckFailed, match="trusted key"):
        rw.load(made.path, allow_pickle=True).engine  # noqa: B018
    rw.load(made.path, trusted_keys=[public], allow_pickle=True).check_golden()


def test_without_a_format_that_holds_it_the_model_is_refused_with_the_way_out(
    neighbours: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="FunctionTransformer") as caught:
        rw.package(neighbours, data=table.drop(columns="number"), target="two", directory=tmp_path)
    assert 'formats = ["skops"]' in str(caught.value.fix)


def test_a_model_that_has_a_core_keeps_it_whatever_the_formats(table: pd.DataFrame) -> None:
    model = DecisionTreeRegressor(max_depth=3).fit(table[["a", "b"]], table["number"])
    assert adopt(model, table[["a", "b", "number"]], "number", without_core=True).core


def test_no_image_is_made_of_it(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no core"):
        write_context(bundle, Project(), tmp_path / "context", "base")
    assert not (tmp_path / "context").exists()


def test_no_calibration_is_put_behind_it(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="it has no core"):
        check_recalibratable(bundle)


def test_the_server_opens_it_as_the_project_says_and_refuses_what_the_model_refuses(
    bundle: Bundle, neighbours: Any, table: pd.DataFrame
) -> None:
    async def ask() -> None:
        with pytest.raises(CheckFailed, match="not trusted"):
            await Opener(ServeSection(), ()).open(bundle.path)
        predictor = await Opener(ServeSection(), (), TREES).open(bundle.path)
        row = {"a": 0.1, "b": 3, "c": "u", "m": 2}
        alone = predictor.one(msgspec.json.encode(row), "id")
        assert alone is not None
        assert (
            msgspec.json.decode(alone)["prediction"] == neighbours.predict(pd.DataFrame([row]))[0]
        )
        far = {**row, "a": 1e300}  # its hyperbolic sine is no number
        assert predictor.one(msgspec.json.encode(far), "id") is None
        with pytest.raises(RequestProblem) as refused:
            await predictor.json(msgspec.json.encode([row, far]), "id")
        assert refused.value.status == 422
        assert [problem.row for problem in refused.value.problems] == [1]

    asyncio.run(ask())


def test_a_server_process_answers_over_its_socket_as_the_model_does(
    bundle: Bundle, neighbours: Any, table: pd.DataFrame, tmp_path: Path
) -> None:
    types = ", ".join(f"'{each}'" for each in TREES)
    (tmp_path / "roadworthy.toml").write_text(f"[package]\ntrusted_types = [{types}]\n")
    rows = table[["a", "b", "c", "m"]].head(20)
    server = Server(bundle.path, cwd=tmp_path)
    try:
        said = []
        for row in rows.to_dict("records"):
            status, answer = server.predict(row)
            assert status == 200, answer
            said.append(answer["prediction"])
        assert said == neighbours.predict(rows).tolist()
        status, answer = server.predict(rows.to_dict("records"))
        assert [each["prediction"] for each in answer["predictions"]] == said
        status, _ = server.predict({**rows.iloc[0].to_dict(), "a": 1e300})
        assert status == 422
    finally:
        assert server.stop() == 0
