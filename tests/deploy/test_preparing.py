"""How a host is made ready where its packages come by dnf, or by nothing that is known."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.preparing import base_steps
from roadworthy.project import SshSection


def prepared(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """What the step of packages does on a host that has these programs alone."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    section = SshSection(host="models.example.org")
    steps = base_steps(Layout("prod"), section, "adult", upgrades=True)
    (script,) = [each.script for each in steps if each.id == "packages"]
    return subprocess.run(
        ["/bin/sh", "-euc", script], env={"PATH": str(folder)}, capture_output=True, text=True
    )


def test_dnf_installs_what_the_family_of_red_hat_calls_these_packages(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    done = prepared(tmp_path, dnf=f'echo "$@" >> {asked}', systemctl=f'echo "$@" >> {asked}')
    assert done.returncode == 0, done.stderr
    assert asked.read_text().splitlines() == [
        "install -y -q python3.12 caddy nftables dnf-automatic",
        "disable --now caddy.service",  # the package's own service would take port 80
    ]


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({"dnf": "echo no match for caddy >&2; exit 1"}, "dnf install epel-release"),
        ({}, "neither apt-get nor dnf is here"),
    ],
)
def test_a_host_that_cannot_be_made_ready_is_told_why(
    tmp_path: Path, programs: dict[str, str], said: str
) -> None:
    done = prepared(tmp_path, **programs)
    assert done.returncode == 69
    assert said in done.stderr
