"""What a deployment keeps in the volume of its containers, and the archives that fill volumes."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.deploy.docker import inside
from roadworthy.deploy.docker.description import Names, release_archive
from tests.deploy.test_wanted import released

RELEASES = st.sampled_from(["aa-1", "bb-2", "cc-3", "dd-4"])


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use(tmp_path, monkeypatch)


def use(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.setattr(inside, "SHARED", str(folder))
    patch.setattr(inside, "STATE", folder / "state")
    (folder / "state").mkdir()
    return folder


def serving(shared: Path) -> str:
    return (shared / "state" / inside.CURRENT).readlink().stem


def before(shared: Path) -> list[str]:
    file = shared / "state" / inside.BEFORE
    return file.read_text().split() if file.exists() else []


@given(st.lists(st.tuples(RELEASES, st.booleans()), min_size=1, max_size=12))
def test_every_release_that_served_can_be_gone_back_to_once(
    switches: list[tuple[str, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        shared = use(Path(name), patch)
        for release, back in switches:
            inside.switch(release, "back" if back else "")
        assert serving(shared) == switches[-1][0]
        assert sorted([*before(shared), serving(shared)]) == sorted({each for each, _ in switches})


def test_a_second_rollback_goes_further_back(shared: Path) -> None:
    for release in ("one", "two", "three"):
        inside.switch(release)
    assert before(shared) == ["two", "one"]
    inside.switch("two", "back")
    assert before(shared) == ["one", "three"]


def test_a_switch_that_is_taken_back_leaves_what_callers_had(shared: Path) -> None:
    inside.switch("one")
    inside.switch("two")
    inside.unswitch("one")
    assert serving(shared) == "one"
    inside.unswitch()
    assert not (shared / "state" / inside.CURRENT).is_symlink()


def test_what_is_not_kept_is_forgotten(shared: Path) -> None:
    (shared / "state" / inside.ACCEPTED).mkdir()
    for release in ("one", "two", "three"):
        inside.switch(release)
        (shared / f"{release}.sock").touch()
        (shared / "state" / inside.ACCEPTED / release).touch()
    inside.keep("three", "two")
    assert before(shared) == ["two"]
    assert {file.name for file in shared.glob("*.sock")} == {"three.sock", "two.sock"}
    assert {f.name for f in (shared / "state" / inside.ACCEPTED).iterdir()} == {"three", "two"}


def test_an_archive_lays_secrets_where_only_the_server_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "very-secret-value")
    held = io.BytesIO()
    volumes = {"shared": "/run/roadworthy", "own": "/opt/roadworthy-release"}
    release_archive(released(tmp_path, secrets=("TOKEN",)), volumes, held)
    held.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(held))
    root = tmp_path / "root"
    root.mkdir()
    inside.receive(str(root))
    secrets = root / "opt/roadworthy-release/credentials/secrets"
    assert "very-secret-value" in secrets.read_text()
    assert secrets.stat().st_mode & 0o777 == 0o400
    if os.geteuid() == 0:
        assert secrets.stat().st_uid == 10001


def test_parts_of_deployments_whose_names_begin_alike_have_different_names() -> None:
    made = [
        place
        for name in ("a", "a-proxy", "a-log", "a-lock")
        for names in [Names(name)]
        for place in (names.shared, names.proxy, names.logs, names.lock, names.release("b-1"))
    ]
    assert len(set(made)) == len(made)
