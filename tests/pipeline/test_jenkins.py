"""The Jenkinsfiles: what Jenkins' own Groovy, a check of structure and our rules say of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from roadworthy.pipeline import SYSTEMS, check
from tests.pipeline.faults import JENKINS
from tests.pipeline.projects import SHAPES, full_project, repository
from tests.pipeline.tools import groovy

CHECKER = Path(__file__).parent / "jenkins" / "JenkinsfileCheck.groovy"
SYSTEM = SYSTEMS["jenkins"]


def refused(files: Iterable[Path]) -> dict[str, str]:
    """What the check of structure refuses, by file name."""
    done = groovy(CHECKER, *files)
    found, name = {}, ""
    for line in done.stdout.splitlines():
        if line.startswith(("ok ", "FAIL ")):
            name = Path(line[5:]).name if line.startswith("FAIL") else ""
        elif name:
            found.setdefault(name, line.strip())
    assert done.returncode == bool(found), done.stderr
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_no_validator_finds_a_fault_in_what_is_written(tmp_path: Path, shape: str) -> None:
    folder = repository(tmp_path, SHAPES[shape], "jenkins")
    assert refused(folder.glob("Jenkinsfile*")) == {}
    assert check(SHAPES[shape], SYSTEM, folder).passed


def test_every_planted_fault_is_found(tmp_path: Path) -> None:
    project = full_project()
    folder = repository(tmp_path / "repository", project, "jenkins")
    good = (folder / "Jenkinsfile").read_text()
    planted = {}
    for number, fault in enumerate(JENKINS):
        file = tmp_path / f"fault-{number:02}"
        file.write_text(fault.plant(good))
        planted[file] = fault.name
    found = refused(planted)
    for file in planted:
        for finding in SYSTEM.inspect(file.name, file.read_text(), project.pipeline):
            found.setdefault(file.name, finding.what)
    assert [name for file, name in planted.items() if file.name not in found] == []
    assert len(planted) >= 30
