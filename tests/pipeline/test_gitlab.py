"""The files of GitLab: what validators and our rules say of them, and of planted faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.pipeline import SYSTEMS, check
from tests.pipeline.faults import GITLAB
from tests.pipeline.projects import SHAPES, full_project, repository
from tests.pipeline.tools import gitlab_local, gitlab_verify, schema_faults

JOBS = ".gitlab/roadworthy.yml"
SYSTEM = SYSTEMS["gitlab"]


def refused(folder: Path) -> str:
    """What GitLab's local readers refuse in a repository, if anything."""
    for words in (["--list-all"], ["--validate-dependency-chain"]):
        done = gitlab_local(folder, *words)
        if done.returncode:
            return done.stdout + done.stderr
    done = gitlab_verify(folder)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("shape", SHAPES)
def test_no_validator_finds_a_fault_in_what_is_written(tmp_path: Path, shape: str) -> None:
    folder = repository(tmp_path, SHAPES[shape], "gitlab")
    files = [folder / ".gitlab-ci.yml", folder / JOBS]
    assert schema_faults("vendor.gitlab-ci", files) == {}
    assert refused(folder) == ""
    assert check(SHAPES[shape], SYSTEM, folder).passed


def test_every_planted_fault_is_found(tmp_path: Path) -> None:
    project = full_project()
    folder = repository(tmp_path / "repository", project, "gitlab")
    good = (folder / JOBS).read_text()
    planted = {}
    for number, fault in enumerate(GITLAB):
        file = tmp_path / f"fault-{number:02}.yml"
        file.write_text(fault.plant(good))
        planted[file] = fault.name
    found = schema_faults("vendor.gitlab-ci", planted)
    for file in planted:
        for finding in SYSTEM.inspect(file.name, file.read_text(), project.pipeline):
            found.setdefault(file.name, finding.what)
    for file in planted:
        if file.name not in found:
            (folder / JOBS).write_text(file.read_text())
            if message := refused(folder):
                found[file.name] = message
    assert [name for file, name in planted.items() if file.name not in found] == []
    assert len(planted) >= 30
