"""MLflow's folders: read without MLflow, written so that MLflow itself serves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import mlflow.catboost
import mlflow.lightgbm
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from roadworthy.bundle.foreign.opening import open_model
from roadworthy.bundle.portable.feed import portable_feed
from roadworthy.cli import app
from roadworthy.errors import InputError
from roadworthy.registry.mlflow_folder import export_mlflow
from roadworthy.table.conform import conform
from tests.conftest import DATA, Trained

runner = CliRunner()
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 2)), columns=["a", "b"])
    return frame.assign(y=(frame["a"] + random.normal(size=60) > 0).astype(int))


def test_a_skops_model_is_read_without_any_pickle(rows: pd.DataFrame, tmp_path: Path) -> None:
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(rows[["a", "b"]], rows["y"])
    mlflow.sklearn.save_model(
        model,
        tmp_path / "m",
        serialization_format="skops",
        skops_trusted_types=["numpy.dtype"],
    )
    found = open_model(tmp_path / "m")
    np.testing.assert_array_equal(
        found.predict_proba(rows[["a", "b"]]), model.predict_proba(rows[["a", "b"]])
    )


@pytest.mark.parametrize("form", ["pickle", "cloudpickle"])
def test_a_pickle_in_a_folder_needs_the_flag(form: str, rows: pd.DataFrame, tmp_path: Path) -> None:
    model = LogisticRegression().fit(rows[["a", "b"]], rows["y"])
    mlflow.sklearn.save_model(model, tmp_path / "m", serialization_format=form)
    with pytest.raises(InputError, match="runs whatever code"):
        open_model(tmp_path / "m")
    found = open_model(tmp_path / "m", allow_pickle=True)
    np.testing.assert_array_equal(found.coef_, model.coef_)


@pytest.mark.parametrize(
    ("save", "model"),
    [
        (mlflow.xgboost.save_model, xgboost.XGBClassifier(n_estimators=3)),
        (mlflow.catboost.save_model, catboost.CatBoostClassifier(iterations=3, verbose=0)),
        (mlflow.lightgbm.save_model, lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)),
    ],
)
def test_boosted_trees_are_read(save: Any, model: Any, rows: pd.DataFrame, tmp_path: Path) -> None:
    model.fit(rows[["a", "b"]], rows["y"])
    save(model, str(tmp_path / "m"))
    found = open_model(tmp_path / "m", allow_pickle=True)
    np.testing.assert_allclose(
        found.predict_proba(rows[["a", "b"]]), model.predict_proba(rows[["a", "b"]])
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        ("[", "damaged"),
        ("flavors: 3", "damaged"),
        ("flavors: {spark: {}}", "no flavour"),
        ("flavors: {sklearn: {pickled_model: ../../m.pkl}}", "not a file in its folder"),
        ("flavors: {sklearn: {}}", "not a file in its folder"),
        ("flavors: {xgboost: {model_class: os.system, data: MLmodel}}", "not an estimator"),
        ("!!python/object/apply:os.mkdir [ran]", "damaged"),
    ],
)
def test_a_bad_folder_is_said_to_be_one(text: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.pkl").write_bytes(b"")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match="no MLmodel"):
        open_model(folder)
    (folder / "MLmodel").write_text(text)
    with pytest.raises(InputError, match=said):
        open_model(folder, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "file"), [("binary", "adult.csv"), ("multiclass", "storms.parquet")]
)
def test_mlflow_serves_an_exported_bundle(
    name: str, file: str, bundles: dict[str, Trained], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = bundles[name].bundle
    export_mlflow(bundle.path, tmp_path / "m")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    assert loaded.metadata.signature.inputs.input_names() == list(bundle.contract.names)
    raw = pd.read_csv(DATA / file) if file.endswith("csv") else pd.read_parquet(DATA / file)
    given = raw[list(bundle.contract.names)].head(30)
    given = given.astype(dict.fromkeys(given.select_dtypes("number"), float))
    found = loaded.predict(given)
    wanted = bundle.predict(given)
    assert list(found.columns) == wanted.columns
    assert found["prediction"].tolist() == wanted["prediction"].to_list()
    for column in wanted.columns[1:]:
        np.testing.assert_allclose(found[column], wanted[column], atol=1e-12)


def test_mlflow_s_onnx_flavour_is_the_portable_graph(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    bundle = bundles["regression"].bundle
    export_mlflow(bundle.path, tmp_path / "m")
    graph = mlflow.onnx.load_model(str(tmp_path / "m"))
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString())
    held = bundles["regression"].table.holdout.frame.select(bundle.contract.names).head(20)
    feed = portable_feed(held, conform(held, bundle.contract), bundle.contract)
    (found,) = session.run(["prediction"], feed)
    np.testing.assert_allclose(found, bundle.predict(held)["prediction"], rtol=1e-12)


def test_the_verb_writes_a_new_folder_whole(bundles: dict[str, Trained], tmp_path: Path) -> None:
    path = str(bundles["linear"].bundle.path)
    words = ["models", "export", path, "--format", "mlflow", "--to", str(tmp_path / "m")]
    made = runner.invoke(app, [*words, "--json"])
    assert json.loads(made.stdout)["to"] == str(tmp_path / "m")
    assert {each.name for each in (tmp_path / "m").iterdir()} == {
        "MLmodel", "bundle", "conda.yaml", "python_env.yaml", "requirements.txt",
    }  # fmt: skip
    assert isinstance(runner.invoke(app, words).exception, InputError)
