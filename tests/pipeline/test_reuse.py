"""A model is trained again when what it is made from changed, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from roadworthy.errors import OutsideError
from roadworthy.pipeline.reuse import find_trained, keep_trained, training_key
from roadworthy.project import Project
from tests.conftest import Trained


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "model.py").write_text("x = 1\n")
    return tmp_path


def key(project: Project | None = None) -> str:
    return training_key(Path("table.csv"), project or Project())


def test_the_key_follows_table_code_and_options(here: Path) -> None:
    first = key()
    assert key() == first
    assert key(Project().override("train", seed=1)) != first
    (here / "model.py").write_text("x = 2\n")
    second = key()
    (here / "src").mkdir()
    (here / "src/more.py").write_text("")
    third = key()
    (here / "table.csv").write_text("a,b\n1,3\n")
    assert len({first, second, third, key()}) == 4


def test_the_key_does_not_follow_what_training_never_reads(here: Path) -> None:
    first = key()
    (here / "notes.md").write_text("hello")
    assert key(Project().override("serve", port=99)) == first
    assert key(Project().override("gates", undecided="pass")) == first


def test_a_bundle_is_found_by_the_key_it_was_made_from_if_it_is_whole(
    here: Path, bundles: dict[str, Trained]
) -> None:
    project = Project().override("package", directory="kept")
    bundle = here / "kept" / "adult" / "version"
    shutil.copytree(bundles["linear"].bundle.path, bundle)
    assert find_trained("k", project) is None
    keep_trained("k", bundle, project)
    found = find_trained("k", project)
    assert found is not None
    assert found.resolve() == bundle
    assert find_trained("other", project) is None
    (bundle / "plan.json").write_bytes(b"{}")
    assert find_trained("k", project) is None


@pytest.mark.parametrize("content", ["", "[]", '{"key": "k", "bundle": "../../etc"}', "\x00"])
def test_a_record_that_is_damaged_or_leads_elsewhere_is_no_record(here: Path, content: str) -> None:
    (here / "bundles").mkdir()
    (here / "bundles/trained.json").write_text(content)
    assert find_trained("k", Project()) is None


def test_a_table_that_is_not_there_is_told(here: Path) -> None:
    with pytest.raises(OutsideError, match="cannot be read"):
        training_key(Path("absent.csv"), Project())
