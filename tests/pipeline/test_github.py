"""The workflows of GitHub: what validators and our rules say of them, and of planted faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadworthy.pipeline import SYSTEMS, check
from tests.pipeline.faults import GITHUB
from tests.pipeline.projects import SHAPES, full_project, repository
from tests.pipeline.tools import safety_faults, schema_faults, workflow_faults

MAIN = ".github/workflows/roadworthy.yml"
SYSTEM = SYSTEMS["github"]


def workflows(folder: Path) -> list[Path]:
    return sorted((folder / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("shape", SHAPES)
def test_no_validator_finds_a_fault_in_what_is_written(tmp_path: Path, shape: str) -> None:
    folder = repository(tmp_path, SHAPES[shape], "github")
    files = workflows(folder)
    action = folder / ".github/actions/roadworthy/action.yml"
    assert schema_faults("vendor.github-workflows", files) == {}
    assert schema_faults("vendor.github-actions", [action]) == {}
    assert workflow_faults(folder, files) == {}
    assert safety_faults([*files, action]) == {}
    assert check(SHAPES[shape], SYSTEM, folder).passed


def test_every_planted_fault_is_found(tmp_path: Path) -> None:
    project = full_project()
    folder = repository(tmp_path, project, "github")
    good = (folder / MAIN).read_text()
    control = folder / ".github/workflows/no-fault.yml"
    control.write_text(good)
    planted = {}
    for number, fault in enumerate(GITHUB):
        file = folder / f".github/workflows/fault-{number:02}.yml"
        file.write_text(fault.plant(good))
        planted[file] = fault.name
    found = schema_faults("vendor.github-workflows", [control, *planted])
    found |= workflow_faults(folder, [control, *planted])
    for file in [control, *planted]:
        for finding in SYSTEM.inspect(file.name, file.read_text(), project.pipeline):
            found.setdefault(file.name, finding.what)
    missed = [file for file in planted if file.name not in found]
    found |= safety_faults([control, *missed])
    assert [name for file, name in planted.items() if file.name not in found] == []
    assert control.name not in found
    assert len(planted) >= 30
