"""What scanners print is read by its documented form; that none is here is said."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roadworthy.errors import OutsideError
from roadworthy.image.scanning import Vulnerability, scan

TRIVY = {
    "SchemaVersion": 2,
    "ArtifactName": "adult:1",
    "Results": [
        {"Target": "adult:1 (debian 12.5)", "Class": "os-pkgs", "Type": "debian"},
        {
            "Target": "Python",
            "Class": "lang-pkgs",
            "Type": "python-pkg",
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2024-0001", "PkgName": "one", "Severity": "LOW",
                 "InstalledVersion": "1.0", "FixedVersion": "1.1"},
                {"VulnerabilityID": "CVE-2024-0002", "PkgName": "two", "Severity": "HIGH",
                 "InstalledVersion": "2.0"},
                {"VulnerabilityID": "CVE-2024-0002", "PkgName": "two", "Severity": "HIGH",
                 "InstalledVersion": "2.0"},
            ],
        },
    ],
}  # fmt: skip
GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "GHSA-x", "severity": "Critical",
                              "fix": {"versions": ["3.1"], "state": "fixed"}},
            "artifact": {"name": "three", "version": "3.0", "type": "python"},
        },
        {
            "vulnerability": {"id": "CVE-1", "severity": "Negligible",
                              "fix": {"versions": [], "state": "wont-fix"}},
            "artifact": {"name": "libc6", "version": "2.36", "type": "deb"},
        },
    ],
}  # fmt: skip


def scanner(folder: Path, name: str, report: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that prints a report, and notes what it was asked."""
    (folder / "report").write_text(report if isinstance(report, str) else json.dumps(report))
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n/bin/cat {folder}/report\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return folder / "asked"


def test_trivys_report_is_read_the_worst_first(tmp_path: Path, monkeypatch) -> None:
    asked = scanner(tmp_path, "trivy", TRIVY, monkeypatch)
    found = scan("adult:1")
    assert [each.id for each in found.found] == ["CVE-2024-0002", "CVE-2024-0001"]
    assert found.found[1] == Vulnerability(
        id="CVE-2024-0001", package="one", version="1.0", fixed="1.1", severity="low"
    )
    assert [each.id for each in found.at_least("high")] == ["CVE-2024-0002"]
    assert asked.read_text().split()[-1] == "adult:1"
    scan("folder", layout=True)
    assert asked.read_text().split()[-2:] == ["--input", "folder"]


def test_grypes_report_is_read_too(tmp_path: Path, monkeypatch) -> None:
    scanner(tmp_path, "grype", GRYPE, monkeypatch)
    found = scan("adult:1")
    assert found.scanner == "grype"
    assert [(each.id, each.severity, each.fixed) for each in found.found] == [
        ("GHSA-x", "critical", "3.1"),
        ("CVE-1", "low", ""),
    ]


@pytest.mark.parametrize("report", ["", "{", "[]", '{"matches": [{}]}', "null"])
def test_what_is_no_report_is_said(report: str, tmp_path: Path, monkeypatch) -> None:
    scanner(tmp_path, "grype", report, monkeypatch)
    with pytest.raises(OutsideError, match="something else than its JSON report"):
        scan("adult:1")


def test_no_scanner_is_said_and_nothing_is_claimed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutsideError, match="nothing was scanned") as caught:
        scan("adult:1")
    assert caught.value.exit_code == 3


def test_the_verb_goes_on_without_a_scanner_only_when_told_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "roadworthy", "image", "scan", "adult:1"]
    alone = {**os.environ, "PATH": str(tmp_path)}
    refused = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert refused.returncode == 3
    command.append("--skip-without-scanner")
    skipped = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert skipped.returncode == 0
    assert "NOT SCANNED: nobody looked for known vulnerabilities of adult:1" in skipped.stderr
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, env=alone)
    assert json.loads(told.stdout)["scan"] is None


def test_a_scanner_that_fails_is_never_skipped(tmp_path: Path, monkeypatch) -> None:
    scanner(tmp_path, "trivy", "no report", monkeypatch)
    command = [sys.executable, "-m", "roadworthy", "image", "scan", "adult:1"]
    done = subprocess.run([*command, "--skip-without-scanner"], capture_output=True, text=True)
    assert done.returncode == 3


@pytest.mark.parametrize(("limit", "code"), [("critical", 0), ("high", 1), ("never", 0)])
def test_the_verb_fails_from_the_severity_that_the_project_says(
    limit: str, code: int, tmp_path: Path, monkeypatch
) -> None:
    scanner(tmp_path, "trivy", TRIVY, monkeypatch)
    command = [sys.executable, "-m", "roadworthy", "image", "scan", "adult:1", "--json"]
    done = subprocess.run([*command, "--fail-on", limit], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert len(json.loads(done.stdout)["scan"]["found"]) == 2
