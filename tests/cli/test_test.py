"""`roadworthy test` and the gates of `launch`, as a user and as CI see them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.cli.test_cli import run
from tests.conftest import DATA, Trained


def test_the_verb_prints_writes_and_ends_by_the_verdict(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    path = bundles["binary"].bundle.path
    (tmp_path / "roadworthy.toml").write_text("[gates]\naccuracy = '>= 0.75'\n")
    done = run("test", path, "--junit", "j.xml", "--markdown", "m.md", "--html", "r.html",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in ("passes", "golden", "accuracy", ">= 0.75", "tests hold"):
        assert text in done.stdout
    assert ET.parse(tmp_path / "j.xml").getroot().attrib["failures"] == "0"
    assert "Passes" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "m.md").read_text().startswith("### adult")
    (tmp_path / "roadworthy.toml").write_text("[gates]\naccuracy = '>= 0.99'\n")
    failed = run("test", path, "--json", cwd=tmp_path)
    assert failed.returncode == 1
    document = json.loads(failed.stdout)
    assert document["outcome"] == "fail"
    found = {check["name"]: check["outcome"] for check in document["checks"]}
    assert found == {"golden": "pass", "accuracy": "fail"}


def test_the_verb_says_what_is_wrong_with_what_it_was_given(
    bundles: dict[str, Trained], tmp_path: Path
) -> None:
    path = bundles["binary"].bundle.path
    for words, code, said in (
        (("nowhere",), 2, "nor is there a bundle at 'nowhere'"),
        ((path, "--data", "nothing.csv"), 2, "does not exist"),
        ((path, "--url", "http://127.0.0.1:1"), 3, "cannot be reached"),
        ((path, "--html", "no/such/folder.html"), 3, "cannot be written"),
        ((), 2, "there is no bundle"),
    ):
        done = run("test", *words, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_launch_stops_at_a_gate_with_the_list_and_the_evidence(tmp_path: Path) -> None:
    (tmp_path / "roadworthy.toml").write_text(
        "[gates]\naccuracy = '>= 0.99'\nroc_auc = '>= 0.5'\n[train]\ncandidates = ['linear']\n"
        "[data]\ndrop = ['boat', 'body']\n"
    )
    words = ("launch", DATA / "titanic.csv", "--target", "survived", "--budget", "6s", "--no-serve")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "accuracy >= 0.99" in done.stderr
    assert "roc_auc" not in done.stderr
    assert len(list((tmp_path / "bundles" / "rejected").glob("*/report.html"))) == 1
    assert not list((tmp_path / "bundles" / "titanic").iterdir())
    (tmp_path / "roadworthy.toml").write_text(
        "[gates]\nroc_auc = '>= 0.5'\n[data]\ndrop = ['boat', 'body']\n"
    )
    assert run(*words, cwd=tmp_path).returncode == 0
    newest = run("test", "--json", cwd=tmp_path)
    assert newest.returncode == 0
    assert json.loads(newest.stdout)["name"] == "titanic"
