"""Packages: proven equal, written whole or not at all, and refused when touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from roadworthy.bundle import Bundle, verify
from roadworthy.bundle.frames import json_rows
from roadworthy.bundle.write import package
from roadworthy.errors import CheckFailed, InputError, OutsideError, RowsError
from roadworthy.evaluate import test as evaluate
from roadworthy.prepare.plan import FeaturePlan
from tests.conftest import Trained


@pytest.fixture
def copy(bundles: dict[str, Trained], tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundles["binary"].bundle.path, tmp_path / "copy"))


def test_the_evidence_of_parity_travels_in_the_bundle(bundles: dict[str, Trained]) -> None:
    for name, trained in bundles.items():
        parity = trained.bundle.parity
        assert parity["holdout_rows"] == len(trained.table.holdout)
        assert parity["generated_rows"] > 100
        trees = "core, on the thresholds of its trees"
        assert set(parity["ways"]) - {"core, one row, by the runtime"} == {
            "plan, against scikit-learn's transformers",
            "plan and core, batch",
            "plan and core, one row of JSON",
            "portable.onnx",
            *(() if name == "linear" else (trees,)),
        }
        for way in parity["ways"].values():
            assert way["different_labels"] == 0
            assert way["largest_difference"] < 1e-12


@pytest.mark.parametrize("name", ["binary", "linear", "multiclass", "regression"])
def test_a_bundle_predicts_rows_frames_and_files_as_it_was_trained(
    bundles: dict[str, Trained], name: str, tmp_path: Path
) -> None:
    model, bundle = bundles[name].model, bundles[name].bundle
    held = bundles[name].table.holdout.frame.select(bundle.contract.names)
    wanted = model.scores(held)
    rows = json_rows(held, bundle.contract)
    answers = bundle.predict(rows)
    assert bundle.predict(rows[0])["prediction"] == answers[0]["prediction"]
    held.write_parquet(tmp_path / "rows.parquet")
    held.write_csv(tmp_path / "rows.csv", float_precision=None)
    frames = [held, held.to_pandas(), held.to_arrow(), str(tmp_path / "rows.parquet")]
    frames += [] if name == "regression" else [tmp_path / "rows.csv"]  # decimal commas there
    for frame in frames:
        found = bundle.predict(frame)
        assert found.height == len(rows)
        if wanted.ndim == 1:
            np.testing.assert_allclose(found["prediction"], wanted, rtol=1e-12)
            continue
        names = [f"probability_{c}" for c in bundle.contract.target.class_names]
        np.testing.assert_allclose(found.select(names).to_numpy(), wanted, atol=1e-12)
        assert found["prediction"].to_list() == [a["prediction"] for a in answers]


def test_rows_that_break_the_contract_are_named(bundles: dict[str, Trained]) -> None:
    bundle = bundles["binary"].bundle
    row = bundle.golden[0].row
    with pytest.raises(RowsError) as caught:
        bundle.predict([row, {**row, "age": "x"}, {k: v for k, v in row.items() if k != "sex"}])
    places = {(p.row, p.column) for p in caught.value.problems}
    assert places == {(1, "age"), (2, "sex")}


def test_golden_rows_are_answered_as_written(bundles: dict[str, Trained]) -> None:
    for trained in bundles.values():
        assert len(trained.bundle.golden) == 50
        trained.bundle.check_golden()


def test_the_same_training_gives_the_same_bytes(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["binary"]
    report = evaluate(trained.model, trained.table.holdout)
    again = package(trained.model, report, directory=tmp_path)
    assert again.version == trained.bundle.version
    for name in again.manifest.files:
        assert (again.path / name).read_bytes() == (trained.bundle.path / name).read_bytes()


def test_another_process_with_another_hash_seed_gives_the_same_version(tmp_path: Path) -> None:
    program = """
import sys, numpy as np, polars as pl, roadworthy as rw
from roadworthy.project import Project
random = np.random.default_rng(0)
x = random.normal(size=300)
goal = np.where(x + random.normal(size=300) > 0, "a", "b")
frame = pl.DataFrame({"x": x, "c": ["u", "v", "w"] * 100, "y": goal})
project = Project().override("train", candidates=("boosting", "linear", "catboost"), folds=2)
table = rw.read_table(frame, "y")
model = rw.train(table, "60s", project=project)
print(rw.package(model, rw.test(model, table.holdout), formats=["joblib", "pickle", "skops"],
                 directory=sys.argv[1]).version)
"""
    versions = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(versions) == 1


def test_text_parts_are_sorted_indented_and_end_with_a_newline(copy: Path) -> None:
    for name in ("manifest.json", "contract.json", "plan.json", "parity.json", "report.json"):
        text = (copy / name).read_text()
        assert text.endswith("}\n")
        assert text.startswith("{\n  ")
        assert list(json.loads(text)) == sorted(json.loads(text))


@pytest.mark.parametrize(
    "name",
    ["core.onnx", "plan.json", "contract.json", "golden.jsonl", "parity.json", "report.json"],
)
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(CheckFailed, match=name):
        Bundle(copy)


def test_a_missing_an_added_and_a_linked_file_are_refused(copy: Path) -> None:
    (copy / "extra.txt").write_text("x")
    with pytest.raises(CheckFailed, match=r"extra\.txt"):
        verify(copy)
    (copy / "extra.txt").unlink()
    (copy / "plan.json").rename(copy.parent / "plan.json")
    with pytest.raises(CheckFailed, match=r"plan\.json"):
        verify(copy)
    (copy / "plan.json").symlink_to(copy.parent / "plan.json")
    with pytest.raises(CheckFailed, match="not a plain file"):
        verify(copy)


def test_a_changed_manifest_is_refused(copy: Path) -> None:
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    for change in ({"name": "other"}, {"classes": ["a", "b"]}, {"files": {}}):
        file.write_text(json.dumps({**manifest, **change}))
        with pytest.raises(CheckFailed, match="version"):
            verify(copy)
    for text in ("", "{", "[]", "null", '{"format": "x"}', "[" * 100_000):
        file.write_text(text)
        with pytest.raises((CheckFailed, InputError)):
            verify(copy)
    file.write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        verify(copy)
    escape = {"../plan.json": next(iter(manifest["files"].values()))}
    file.write_text(json.dumps({**manifest, "files": escape}))
    with pytest.raises(CheckFailed):
        verify(copy)


def test_a_folder_that_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        Bundle(tmp_path)


def test_a_core_that_predicts_differently_is_not_packaged(
    bundles: dict[str, Trained], monkeypatch, tmp_path: Path
) -> None:
    from roadworthy.bundle import write
    from roadworthy.bundle.core import boosted, export_core

    trained = bundles["binary"]
    report = evaluate(trained.model, trained.table.holdout)

    def flip(threshold: float) -> float:
        return np.nextafter(threshold, -np.inf)  # x == threshold now goes the other way

    with monkeypatch.context() as patch:
        patch.setattr(boosted, "fold_zero", flip)
        core_differs = export_core(trained.model.estimator, trained.model.plan.width)
    monkeypatch.setattr(write, "export_core", lambda *_: core_differs)
    with pytest.raises(CheckFailed) as caught:
        package(trained.model, report, directory=tmp_path)
    assert type(trained.model.estimator).__name__ in caught.value.what
    assert "on the thresholds" in caught.value.what
    assert "row" in str(caught.value.where)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_prepared_differently_names_its_column(
    bundles: dict[str, Trained], monkeypatch, tmp_path: Path
) -> None:
    from roadworthy.bundle import parity

    trained = bundles["binary"]
    report = evaluate(trained.model, trained.table.holdout)
    right = parity.encode_columns

    def wrong(frame: pl.DataFrame, plan: FeaturePlan) -> np.ndarray:
        matrix = right(frame, plan)
        matrix[:, 4] += 1e-9
        return matrix

    monkeypatch.setattr(parity, "encode_columns", wrong)
    with pytest.raises(CheckFailed) as caught:
        package(trained.model, report, directory=tmp_path)
    assert "education-num" in str(caught.value.where)


def test_an_unknown_format_and_an_unwritable_folder_are_said(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    trained = bundles["linear"]
    report = evaluate(trained.model, trained.table.holdout)
    with pytest.raises(InputError, match="unknown format 'pmml'"):
        package(trained.model, report, formats=["pmml"], directory=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match="cannot be written"):
        package(trained.model, report, directory=tmp_path / "file")


def test_a_failed_write_leaves_nothing_behind(
    bundles: dict[str, Trained], monkeypatch, tmp_path: Path
) -> None:
    trained = bundles["linear"]
    report = evaluate(trained.model, trained.table.holdout)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutsideError, match="No space left"):
        package(trained.model, report, directory=tmp_path)
    assert list((tmp_path / trained.model.name).iterdir()) == []


def test_names_that_no_decoder_takes_work_all_the_same(tmp_path: Path) -> None:
    import roadworthy as rw

    x = np.random.default_rng(0).normal(size=200)
    frame = pd.DataFrame({"height 6'1\"": x, "back\\slash": x * 2, "ünï\ncode": ["a", "b"] * 100})
    frame["y"] = np.where(x > 0, "yes", "no")
    table = rw.read_table(frame, "y")
    model = rw.train(table, "30s")
    bundle = rw.package(model, rw.test(model, table.holdout), directory=tmp_path)
    answer = bundle.predict({"height 6'1\"": 2.0, "back\\slash": 4.0, "ünï\ncode": "a"})
    assert answer["prediction"] == "yes"


REFUSING = [
    {"k": {"unseen": "error"}},
    {"k": {"blank": "error"}},
    {"n": {"blank": "error"}},
    {"b": {"blank": "error"}},
    {"d": {"blank": "error"}},
]


@pytest.mark.parametrize("refusing", REFUSING, ids=str)
@pytest.mark.parametrize("levels", [10_000, 3])
def test_a_contract_that_refuses_cells_is_packaged_and_refuses_them(
    tmp_path: Path, refusing: dict, levels: int
) -> None:
    import roadworthy as rw
    from roadworthy.project import ColumnOptions, DataSection, PrepareSection, Project

    random = np.random.default_rng(0)
    n = random.normal(size=400)
    holes = random.random(400) < 0.1
    frame = pl.DataFrame(
        {
            "n": [None if hole else x for x, hole in zip(n, holes, strict=True)],
            "k": [None if h else "abcdef"[i % 6] for i, h in enumerate(holes)],
            "b": [None if h else i % 3 == 0 for i, h in enumerate(holes)],
            "d": pl.Series([None if h else i for i, h in enumerate(holes)]).cast(pl.Date),
            "y": np.where(n > 0, "hi", "lo"),
        }
    )
    columns = {name: ColumnOptions(**said) for name, said in refusing.items()}
    project = Project(
        data=DataSection(columns=columns), prepare=PrepareSection(max_levels=levels)
    ).override("train", candidates=("linear",), folds=2)
    table = rw.read_table(frame, "y", project=project)
    model = rw.train(table, "20s", project=project)
    bundle = rw.package(model, rw.test(model, table.holdout), directory=tmp_path)
    bundle.check_golden()
    row = bundle.golden[0].row
    (name, said), *_ = refusing.items()
    for level in "abcdef":  # levels that the contract lists, if too rare for the plan
        assert bundle.predict({**row, "k": level})
    bad = {**row, name: "never seen" if "unseen" in said else None}
    for rows in ([bad], pl.DataFrame([bad], schema_overrides={"d": pl.String})):
        with pytest.raises(RowsError) as caught:
            bundle.predict(rows)
        assert {p.column for p in caught.value.problems} == {name}


def test_rows_files_and_frames_agree_whatever_the_encoding(tmp_path: Path) -> None:
    import roadworthy as rw
    from roadworthy.project import Project

    x = np.random.default_rng(0).normal(size=300)
    colours = ["é", "ö", "ß", "ő"]
    lines = [
        f"{colours[i % 4]}:{v:.4f}:{'hi' if v > (i % 4) / 4 else 'lo'}" for i, v in enumerate(x)
    ]
    file = tmp_path / "t.csv"
    file.write_bytes(("c:x:y\n" + "\n".join(lines)).encode("cp1250"))
    project = Project().override("data", delimiter=":", encoding="cp1250")
    table = rw.read_table(file, "y", project=project)
    model = rw.train(table, "20s", project=project)
    bundle = rw.package(model, rw.test(model, table.holdout), directory=tmp_path)
    from_file = bundle.predict(file)["probability_hi"].to_numpy()
    rows = json_rows(table.frame, bundle.contract)
    from_rows = [answer["probabilities"]["hi"] for answer in bundle.predict(rows)]
    np.testing.assert_allclose(from_file, from_rows, atol=1e-12)


def test_no_rows_and_rows_that_are_none(bundles: dict[str, Trained]) -> None:
    bundle = bundles["binary"].bundle
    assert bundle.predict([]) == []
    with pytest.raises(RowsError, match="mapping"):
        bundle.predict([1, 2])


def test_a_damaged_bundle_in_the_way_is_said(bundles: dict[str, Trained], tmp_path: Path) -> None:
    trained = bundles["linear"]
    report = evaluate(trained.model, trained.table.holdout)
    made = package(trained.model, report, directory=tmp_path)
    assert package(trained.model, report, directory=tmp_path).path == made.path
    (made.path / "plan.json").write_text("{}")
    with pytest.raises(OutsideError, match="damaged bundle is in the way"):
        package(trained.model, report, directory=tmp_path)


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden", "x" * 65])
def test_a_name_that_is_no_folder_is_refused(
    bundles: dict[str, Trained], tmp_path: Path, name: str
) -> None:
    import dataclasses

    trained = bundles["linear"]
    report = evaluate(trained.model, trained.table.holdout)
    with pytest.raises(InputError, match="cannot name a model"):
        package(dataclasses.replace(trained.model, name=name), report, directory=tmp_path / "in")
    assert list(tmp_path.iterdir()) == []


def test_tiny_regressions_are_measured_on_their_own_scale() -> None:
    from roadworthy.bundle.bundle import same_answer

    assert not same_answer({"prediction": 5e-7}, {"prediction": -5e-7}, scale=1e-7)
    assert same_answer({"prediction": 1e-9}, {"prediction": 1.0000001e-9}, scale=1e-7)


def test_the_typical_row_is_typical_after_reading_a_bundle_back(
    bundles: dict[str, Trained],
) -> None:
    trained = bundles["binary"]
    example = Bundle(trained.bundle.path).contract.example()
    assert example == trained.table.contract.example()
    training = trained.table.training.frame
    for name in ("workclass", "race", "native-country"):
        counts = training[name].drop_nulls().value_counts(sort=True)
        assert example[name] == counts[name][0]
