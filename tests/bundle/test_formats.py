"""The further formats: one scikit-learn estimator of raw rows, opened only by those who may."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import accuracy_score

from roadworthy.bundle import Bundle
from roadworthy.bundle.formats import EXTRA
from roadworthy.bundle.formats.estimator import packaged_estimator
from roadworthy.bundle.keys import generate
from roadworthy.bundle.write import package
from roadworthy.errors import CheckFailed, InputError, RowsError
from roadworthy.evaluate import test as evaluate
from tests.conftest import DATA, Trained


@pytest.fixture(scope="module")
def signed(bundles: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A signed bundle with every format."""
    folder = tmp_path_factory.mktemp("formats")
    private, public = folder / "release.key", folder / "release.pub"
    for file, content in zip((private, public), generate("ed25519"), strict=True):
        file.write_bytes(content)
    trained = bundles["binary"]
    report = evaluate(trained.model, trained.table.holdout)
    made = package(
        trained.model, report, formats=["onnx", *EXTRA], directory=folder, signing_key=str(private)
    )
    return Bundle(made.path, trusted_keys=[str(public)])


@pytest.mark.parametrize("name", list(EXTRA))
def test_a_format_predicts_raw_rows_as_the_bundle_does(signed: Bundle, name: str) -> None:
    estimator = signed.estimator(name, allow_pickle=True)
    raw = pd.read_csv(DATA / "adult.csv").head(300)
    wanted = signed.predict(raw)
    assert is_classifier(estimator)
    assert list(estimator.classes_) == list(signed.contract.target.classes)
    assert list(estimator.feature_names_in_) == list(signed.contract.names)
    names = [f"probability_{name}" for name in signed.contract.target.class_names]
    for rows in (raw, pl.from_pandas(raw), raw.to_dict("records")):
        found = estimator.predict_proba(rows)
        np.testing.assert_allclose(found, wanted.select(names).to_numpy(), atol=1e-12)
        assert estimator.predict(rows).tolist() == wanted["prediction"].to_list()
    assert estimator.score(raw, raw["income"]) == accuracy_score(
        raw["income"], wanted["prediction"].to_list()
    )
    with pytest.raises(RowsError, match="age"):
        estimator.predict(raw.drop(columns="age"))


def test_a_regressor_is_one(bundles: dict[str, Trained]) -> None:
    trained = bundles["regression"]
    estimator = packaged_estimator(trained.model)
    held = trained.table.holdout.frame.select(trained.bundle.contract.names).head(50)
    assert is_regressor(estimator)
    np.testing.assert_allclose(
        estimator.predict(held), trained.bundle.predict(held)["prediction"], rtol=1e-12
    )


def test_the_parity_of_each_format_is_proven_in_a_fresh_process(signed: Bundle) -> None:
    for name in EXTRA:
        way = signed.parity["ways"][f"{name}, opened in a fresh process"]
        assert way["rows"] == signed.parity["holdout_rows"] + signed.parity["generated_rows"]
        assert (way["different_labels"], way["largest_ulps"]) == (0, 0)


@pytest.mark.parametrize("name", ["joblib", "pickle"])
def test_a_pickle_is_opened_only_on_demand_and_from_a_signed_bundle(
    signed: Bundle, name: str
) -> None:
    with pytest.raises(InputError, match="runs the code"):
        signed.estimator(name)
    with pytest.raises(CheckFailed, match="trusted key has signed"):
        Bundle(signed.path).estimator(name, allow_pickle=True)


def test_a_format_that_is_not_there_is_said(bundles: dict[str, Trained]) -> None:
    for name in ("joblib", "pmml"):
        with pytest.raises(InputError, match="no format"):
            bundles["binary"].bundle.estimator(name)


def test_a_file_swapped_after_opening_is_not_run(signed: Bundle) -> None:
    file, mark = signed.path / "model.pkl", signed.path.parent / "ran"
    kept = file.read_bytes()

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(mark),)

    file.write_bytes(pickle.dumps(Evil()))
    try:
        with pytest.raises(CheckFailed, match=r"model\.pkl"):
            signed.estimator("pickle", allow_pickle=True)
    finally:
        file.write_bytes(kept)
    assert not mark.exists()


class Custom:
    """A type that nobody has trusted."""

    def __init__(self) -> None:
        self.ran = True


def test_skops_makes_a_type_only_when_the_project_names_it() -> None:
    skops, own = EXTRA["skops"], f"{Custom.__module__}.Custom"
    content = skops.write(Custom())
    with pytest.raises(CheckFailed, match=own) as caught:
        skops.read(content)
    assert caught.value.where == "[package] trusted_types"
    assert skops.read(content, [own]).ran


@pytest.mark.parametrize("name", list(EXTRA))
def test_a_damaged_file_is_an_error_that_says_so(name: str) -> None:
    content = EXTRA[name].write(np.arange(300.0))
    for bad in (b"", content[: len(content) // 2], b"\0" * 100):
        with pytest.raises(CheckFailed, match="cannot be opened"):
            EXTRA[name].read(bad)


def test_a_skops_file_says_nothing_of_addresses_and_times(bundles: dict[str, Trained]) -> None:
    for trained in bundles.values():
        estimator = packaged_estimator(trained.model)
        buffer = io.BytesIO()
        joblib.dump(estimator, buffer)
        copies = [joblib.load(io.BytesIO(buffer.getvalue())) for _ in range(2)]
        content, again = (EXTRA["skops"].write(copy) for copy in copies)
        assert content == again
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_a_format_that_answers_differently_refuses_the_package(
    bundles: dict[str, Trained], monkeypatch, tmp_path: Path
) -> None:
    from roadworthy.bundle import write

    trained, other = bundles["binary"], bundles["linear"]
    report = evaluate(trained.model, trained.table.holdout)
    monkeypatch.setattr(write, "packaged_estimator", lambda _: packaged_estimator(other.model))
    with pytest.raises(CheckFailed, match="pickle, opened in a fresh process") as caught:
        package(trained.model, report, formats=["pickle"], directory=tmp_path)
    assert "row" in str(caught.value.where)
    assert list(tmp_path.iterdir()) == []
