from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.deploy.runtime import Platform, gather, parse_platform
from roadworthy.errors import InputError, OutsideError
from tests.installing import CACHE

FACTS = {"machine": "x86_64", "python": "3.11", "glibc": "2.36", "system": "Debian"}


def test_a_common_host_is_understood() -> None:
    assert parse_platform(FACTS) == Platform("3.11", "x86_64", 36)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"machine": "riscv64"}, "riscv64"),
        ({"glibc": ""}, "glibc none"),
        ({"python": "3.9"}, "has Python 3.9"),
        ({"python": ""}, "has Python none"),
        ({"python": "3.14"}, "has Python 3.14"),
    ],
)
def test_a_host_that_no_wheels_are_made_for_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_platform({**FACTS, **change})
    assert caught.value.fix


@given(st.dictionaries(st.sampled_from(["machine", "python", "glibc", "system"]), st.text()))
def test_whatever_a_host_says_is_a_platform_or_an_error(facts: dict[str, str]) -> None:
    try:
        found = parse_platform(facts)
    except InputError:
        return
    assert found.python.startswith("3.1")


def test_every_wheel_of_the_runtime_is_pinned_by_its_digest_and_pip_takes_them(
    tmp_path: Path,
) -> None:
    runtime = gather(Platform("3.11", "x86_64", 36), CACHE / "deploy")
    for wheel in runtime.wheels:
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() in runtime.requirements
    assert len(runtime.requirements.splitlines()) == len(runtime.wheels)
    assert gather(Platform("3.11", "x86_64", 36), CACHE / "deploy").id == runtime.id
    names = {wheel.name.split("-")[0] for wheel in runtime.wheels}
    assert {"roadworthy", "numpy", "onnxruntime", "cryptography"} <= names
    assert not names & {"scikit_learn", "polars", "lightgbm", "sqlalchemy"}


def test_a_package_index_without_the_wheels_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(OutsideError, match="wheels of the runtime cannot be had"):
        gather(Platform("3.11", "x86_64", 36), tmp_path)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_what_runs_on_a_host_imports_the_serving_set_only() -> None:
    program = (
        "import sys; import roadworthy.deploy.host.service, roadworthy.deploy.host.probe, "
        "roadworthy.deploy.host.relay; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "roadworthy.serve.supervisor" in loaded
    assert not {"polars", "sklearn", "sqlalchemy", "roadworthy.acceptance"} & set(loaded)
