"""What goes with a model: its card, its bill of materials, the environments to the letter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import roadworthy as rw
from roadworthy.bundle import keys
from roadworthy.bundle.card import model_card
from roadworthy.bundle.manifest import to_json
from roadworthy.bundle.requirements import SERVING, TRAINING, installed, requirements_text
from roadworthy.bundle.sbom import sbom
from roadworthy.contract import Contract
from roadworthy.errors import CheckFailed, InputError
from tests.registry.bundles import OLD_BUNDLE


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> rw.Bundle:
    """A real bundle, signed while it was packaged."""
    folder = tmp_path_factory.mktemp("packaged")
    private, public = keys.generate("ed25519")
    (folder / "k.key").write_bytes(private)
    (folder / "k.pub").write_bytes(public)
    x = np.random.default_rng(0).normal(size=200)
    frame = pl.DataFrame({"x": x, "c": ["u", "v|w"] * 100, "y": np.where(x > 0, "a", "b")})
    project = rw.Project().override("train", candidates=("linear",), folds=2)
    table = rw.read_table(frame, "y", project=project, name="signs")
    model = rw.train(table, "10s", project=project)
    report = rw.test(model, table.holdout)
    with pytest.raises(InputError, match="cannot be read"):
        rw.package(model, report, directory=folder, signing_key=str(folder / "none.key"))
    assert not (folder / "signs").exists()  # a wrong key is said before anything is written
    unsigned = rw.package(model, report, directory=folder)
    with pytest.raises(CheckFailed, match="not signed"):
        rw.Bundle(unsigned.path, trusted_keys=[str(folder / "k.pub")])
    return rw.package(model, report, directory=folder, signing_key=str(folder / "k.key"))


def test_packaging_signs_also_what_was_packaged_before(packaged: rw.Bundle) -> None:
    public = str(packaged.path.parents[1] / "k.pub")
    rw.load(packaged.path, trusted_keys=[public]).check_golden()


def test_every_bundle_has_its_papers(packaged: rw.Bundle) -> None:
    names = {"card.md", "sbom.cdx.json", "requirements.txt", "requirements-train.txt"}
    assert names <= set(packaged.manifest.files)
    assert re.fullmatch("[0-9a-f]{64}", packaged.manifest.lineage["data"])


def test_the_bill_of_materials_is_valid_cyclonedx(packaged: rw.Bundle) -> None:
    text = (packaged.path / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    parts = {each["name"]: each for each in document["components"]}
    assert parts["onnxruntime"]["scope"] == "required"
    assert parts["scikit-learn"]["scope"] == "optional"
    assert all("licenses" in each for each in parts.values() if each["type"] == "library")
    references = {each["bom-ref"] for each in document["components"]}
    references.add(document["metadata"]["component"]["bom-ref"])
    assert {each["ref"] for each in document["dependencies"]} <= references
    assert all(set(each.get("dependsOn", ())) <= references for each in document["dependencies"])
    files = {each["name"] for each in document["metadata"]["component"]["components"]}
    assert "core.onnx" in files


def test_the_same_environment_gives_the_same_bill(packaged: rw.Bundle) -> None:
    found = installed(SERVING), installed(TRAINING)
    documents = [to_json(sbom("m", {"a": "00" * 32}, *found, None)) for _ in range(2)]
    assert documents[0] == documents[1]
    other = to_json(sbom("m", {"a": "01" * 32}, *found, None))
    assert json.loads(other)["serialNumber"] != json.loads(documents[0])["serialNumber"]


def test_requirements_are_exact_and_pip_reads_them(packaged: rw.Bundle, tmp_path: Path) -> None:
    from packaging.requirements import Requirement

    for name, has, lacks in [
        ("requirements.txt", "onnxruntime", "scikit-learn"),
        ("requirements-train.txt", "scikit-learn", "pytest"),
    ]:
        text = (packaged.path / name).read_text()
        lines = [line for line in text.replace(" \\\n", " ").splitlines() if line[0] != "#"]
        pinned = {Requirement(line.split(" --hash")[0].split("    ")[0]).name for line in lines}
        assert has in pinned
        assert lacks not in pinned
        hashed = ["--hash=sha256:" in line for line in lines]
        assert all(hashed) or not any(hashed)  # pip takes all or none


def test_without_a_lock_file_it_says_that_there_are_no_hashes(tmp_path: Path) -> None:
    text = requirements_text(installed(SERVING, tmp_path / "uv.lock"), "What serves")
    assert "no uv.lock beside the environment knows them" in text
    assert "--hash" not in text
    assert re.search(r"^roadworthy==", text, re.M)
    (tmp_path / "uv.lock").write_text("not toml [")
    assert "--hash" not in requirements_text(installed(SERVING, tmp_path / "uv.lock"), "x")


def test_the_card_says_what_data_metrics_limits_parity_and_how(packaged: rw.Bundle) -> None:
    card = (packaged.path / "card.md").read_text()
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    values = {k: json.loads(v) for k, _, v in (line.partition(": ") for line in front.split("\n"))}
    assert values["model_name"] == "signs"
    assert values["pipeline_tag"] == "tabular-classification"
    for section in ("Use", "Data", "Metrics", "Limits", "Parity", "How to use", "Environment"):
        assert f"\n## {section}\n" in body
    assert "95 % interval" in body
    assert "scikit-learn" in body


def test_no_name_breaks_out_of_the_card() -> None:
    report = json.loads((OLD_BUNDLE / "report.json").read_text())
    parity = json.loads((OLD_BUNDLE / "parity.json").read_text())
    contract = msgspec.json.decode((OLD_BUNDLE / "contract.json").read_bytes(), type=Contract)
    evil = "a`b|c\n# <script>\n---\nx: y ```"
    columns = tuple(msgspec.structs.replace(each, name=evil) for each in contract.columns)
    contract = msgspec.structs.replace(contract, columns=columns)
    card = model_card(evil, evil, contract, {**report, "notes": [evil]}, parity, {evil: evil})
    lines = card.splitlines()
    assert lines.count("---") == 2
    outside = [line for line in lines if not line.startswith(("model_name: ", '    "', '  "'))]
    assert not any(line.startswith(("# <", "x: y")) for line in lines)
    assert not any("<script>" in line.replace("`", "") and "`" not in line for line in outside)
