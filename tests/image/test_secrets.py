"""A sealed and signed model behind a lock: its secrets are mounted, none is in the image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.keys import generate
from roadworthy.bundle.sealing import seal
from roadworthy.errors import CheckFailed, InputError
from roadworthy.image import Image, build
from roadworthy.image.container import Container
from roadworthy.image.engines.docker import Docker
from roadworthy.image.secrets import test_secrets as make_secrets
from roadworthy.image.testing import test_image as check_image
from roadworthy.project import Project, ServeSection
from tests.image.conftest import readable_copy, run

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who signs, who may open, and somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    for name, kind in (("release", "ed25519"), ("ops", "x25519"), ("other", "x25519")):
        private, public = generate(kind)  # type: ignore[arg-type]
        (folder / f"{name}.key").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
        (folder / f"{name}.key").chmod(0o444)
    (folder / "passphrase").write_text(PASSPHRASE)
    return folder


@pytest.fixture(scope="module")
def locked(project: Project, keys: Path) -> Project:
    return project.override("registry", trusted_keys=(str(keys / "release.pub"),)).override(
        "serve", keys=str(keys / "keys.json")
    )


@pytest.fixture(scope="module")
def sealed(
    bundle: Bundle, locked: Project, keys: Path, engine_variables: dict[str, str]
) -> tuple[Bundle, Image]:
    """The adults' model signed, sealed for a key and a passphrase, and its image."""
    signed = readable_copy(bundle, keys)
    sign = [sys.executable, "-m", "roadworthy", "models", "sign", str(signed)]
    run(*sign, "--key", str(keys / "release.key"))
    packed, closed = keys / "adult.rwb", keys / "adult.rwb.sealed"
    run(sys.executable, "-m", "roadworthy", "models", "export", str(signed), "--to", str(packed))
    shutil.rmtree(signed)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_variables.items():
            patch.setenv(name, value)
        patch.setenv("ROADWORTHY_SEAL_PASSPHRASE", PASSPHRASE)
        with packed.open("rb") as source, closed.open("wb") as target:
            seal(source, target, (str(keys / "ops.pub"), "passphrase"))
        opened = Bundle(closed, trusted_keys=locked.registry.trusted_keys)
        image = build(opened, "adult:sealed", locked, Docker())
    return opened, image


def test_a_sealed_model_behind_a_lock_passes_with_its_key_mounted(
    docker: Docker,
    sealed: tuple[Bundle, Image],
    locked: Project,
    keys: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, image = sealed
    monkeypatch.setenv("ROADWORTHY_IDENTITY", str(keys / "ops.key"))
    verdict = check_image(image.reference, bundle, locked)
    assert [check for check in verdict.checks if check.outcome != "pass"] == []
    assert verdict.passed


def test_nothing_that_opens_or_signs_is_in_the_image(
    docker: Docker, sealed: tuple[Bundle, Image]
) -> None:
    listing = "import os; print([f for _, _, fs in os.walk('/opt/roadworthy') for f in fs])"
    command = ["docker", "run", "--rm", "--entrypoint", "python", sealed[1].reference, "-c"]
    found = run(*command, listing)
    assert "adult.rwb.sealed" in found
    assert "golden.jsonl" not in found
    assert "release.pub" in found
    assert not {"ops.key", "release.key", "keys.json", "passphrase"} & set(found.split("'"))


def test_a_passphrase_opens_it_too_and_who_brings_no_key_may_not_ask(
    docker: Docker, sealed: tuple[Bundle, Image], keys: Path
) -> None:
    bundle, image = sealed
    with make_secrets(ServeSection(keys="keys.json")) as secrets:
        files = secrets.files | {"words": keys / "passphrase"}
        chosen = {"ROADWORTHY_SEAL_PASSPHRASE_FILE": "/run/secrets/words"}
        with Container(
            "docker", image.reference, 512, environment=chosen, secrets=files, token=secrets.token
        ) as container:
            container.wait_ready()
            assert json.loads(container.ask("GET", "/metadata")[1])["version"] == bundle.version
            row = bundle.contract.example()
            assert container.ask("POST", "/predict", row)[0] == 200
            container._headers = {}
            assert container.ask("POST", "/predict", row)[0] == 401


@pytest.mark.parametrize(
    ("secret", "variable", "said"),
    [
        (None, "", "no key at hand opens the sealed bundle"),
        ("other.key", "ROADWORTHY_IDENTITY", "no key at hand opens the sealed bundle"),
        ("release.key", "ROADWORTHY_IDENTITY", "a signing key opens no sealed bundle"),
        ("ops.pub", "ROADWORTHY_SEAL_PASSPHRASE_FILE", "the key or passphrase is wrong"),
    ],
)
def test_another_key_is_a_clear_end(
    docker: Docker,
    sealed: tuple[Bundle, Image],
    keys: Path,
    secret: str | None,
    variable: str,
    said: str,
) -> None:
    files = {"mine": keys / secret} if secret else {}
    chosen = {variable: "/run/secrets/mine"} if secret else {}
    with Container(
        "docker", sealed[1].reference, 512, environment=chosen, secrets=files
    ) as container:
        with pytest.raises(CheckFailed) as caught:
            container.wait_ready()
        shown = subprocess.run(
            ["docker", "logs", container.id], capture_output=True, text=True
        ).stderr
    assert said in " ".join(caught.value.what.split())
    assert "Traceback" not in shown
    assert PASSPHRASE not in shown


def test_the_key_that_a_test_is_given_is_gone_after_it(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    options = ServeSection(keys="keys.json", jwks=str(tmp_path / "jwks.json"))
    with make_secrets(options) as secrets:
        assert secrets.files.keys() == {"keys", "jwks"}
        assert secrets.token not in secrets.files["keys"].read_text()
        assert secrets.files["keys"].parent.stat().st_mode & 0o077 == 0
    assert not secrets.files["keys"].exists()
    with make_secrets(ServeSection()) as none:
        assert none == ({}, {}, None)


def test_a_server_that_speaks_tls_itself_is_not_tested_in_silence_without() -> None:
    options = ServeSection(tls_certificate="a.pem", tls_key="a.key")
    with pytest.raises(InputError, match="plain HTTP"), make_secrets(options):
        pass
