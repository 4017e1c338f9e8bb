"""An image without a model fetches it from a real registry when it starts, and verifies it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.keys import generate, open_signer
from roadworthy.bundle.sign import sign_bundle
from roadworthy.image import Image, build
from roadworthy.image.engines.docker import Docker
from roadworthy.image.hardening import run_options
from roadworthy.image.testing import test_image as check_image
from roadworthy.project import Project
from roadworthy.registry import parse_reference
from roadworthy.registry.opening import open_registry
from roadworthy.registry.registering import register
from tests.conftest import Trained, free_port
from tests.image.conftest import readable_copy, run
from tests.registry.conftest import Postgres, aws, moto_server, postgres, postgres_server

__all__ = ["aws", "moto_server", "postgres", "postgres_server"]
OWNER = 10001


class Release:
    """A signed model, the key it was signed with, and an image that fetches."""

    def __init__(self, bundle: Bundle, project: Project, image: Image) -> None:
        self.bundle, self.project, self.image = bundle, project, image


@pytest.fixture(scope="module")
def release(
    bundle: Bundle,
    project: Project,
    engine_variables: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    private, public = generate("ed25519")
    (folder / "release.key").write_bytes(private)
    (folder / "release.pub").write_bytes(public)
    signed = readable_copy(bundle, folder)
    sign_bundle(signed, open_signer(str(folder / "release.key")))
    trusting = project.override("image", model="fetched").override(
        "registry", trusted_keys=(str(folder / "release.pub"),)
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_variables.items():
            patch.setenv(name, value)
        opened = Bundle(signed)
        yield Release(opened, trusting, build(opened, "adult:fetched", trusting, Docker()))
    shutil.rmtree(signed)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A folder that the container's user owns, as a volume's is."""
    folder = Path("/var/tmp") / f"roadworthy-volume-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


class Started:
    """A hardened container that reaches what listens on this machine."""

    def __init__(self, reference: str, variables: dict[str, str], volume: Path | None) -> None:
        self.port = free_port()
        chosen = {
            "ROADWORTHY_SERVE_HOST": "127.0.0.1",
            "ROADWORTHY_SERVE_PORT": str(self.port),
            **variables,
        }
        options = [f"--env={name}={text}" for name, text in chosen.items()]
        if volume is not None:
            options.append(f"--volume={volume}:/registry")
        command = ["docker", "run", "--detach", "--network=host", *run_options(512)]
        self.id = run(*command, *options, reference).strip()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        run("docker", "rm", "--force", "--volumes", self.id)

    def ask(self, path: str) -> dict[str, Any]:
        """The answer, once there is one."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
                    return json.loads(answer.read())
            except OSError:
                assert self.is_running(), self.said()
                time.sleep(0.2)
        raise AssertionError(self.said())

    def is_running(self) -> bool:
        return run("docker", "inspect", "--format", "{{.State.Running}}", self.id).strip() == "true"

    def end(self) -> int:
        """Its exit code, when it ended by itself."""
        done = subprocess.run(
            ["docker", "wait", self.id], capture_output=True, text=True, timeout=180, check=True
        )
        return int(done.stdout)

    def said(self) -> str:
        done = subprocess.run(["docker", "logs", self.id], capture_output=True, text=True)
        return " ".join((done.stdout + done.stderr).split())


def embedded(folder: Path, *bundles: Bundle) -> dict[str, str]:
    """Register models in a folder; returns what a container is told of it."""
    inside = {"url": "sqlite:////registry/catalogue.db", "store": "/registry/blobs"}
    project = Project().override(
        "registry", url=f"sqlite:///{folder}/catalogue.db", store=f"{folder}/blobs"
    )
    with open_registry(project) as registry:
        for bundle in bundles:
            register(registry, bundle.path)
            registry.promote(parse_reference(f"{bundle.manifest.name}:{bundle.version}"))
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, OWNER, OWNER)
    return {f"ROADWORTHY_REGISTRY_{key.upper()}": text for key, text in inside.items()}


def test_a_model_is_fetched_from_a_mounted_registry_by_its_alias(
    docker: Docker, release: Release, volume: Path
) -> None:
    told = embedded(volume, release.bundle)
    told["ROADWORTHY_MODEL"] = f"{release.bundle.manifest.name}@champion"
    with Started(release.image.reference, told, volume) as started:
        assert started.ask("/metadata")["version"] == release.bundle.version


def test_the_version_it_was_built_for_is_fetched_from_postgresql_and_s3_when_none_is_named(
    docker: Docker, release: Release, postgres: Postgres, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    place = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket="fetched", CreateBucketConfiguration=place)
    places = {"url": postgres.url, "store": "s3://fetched/models"}
    with open_registry(Project().override("registry", **places)) as registry:
        register(registry, release.bundle.path)
    told = {f"ROADWORTHY_REGISTRY_{key.upper()}": text for key, text in places.items()}
    told |= {key: text for key, text in os.environ.items() if key.startswith("AWS_")}
    with Started(release.image.reference, told, None) as started:
        assert started.ask("/metadata")["version"] == release.bundle.version


def test_a_model_of_the_registry_that_no_trusted_key_signed_is_not_served(
    docker: Docker, release: Release, bundles: dict[str, Trained], volume: Path
) -> None:
    other = bundles["linear"].bundle
    told = embedded(volume, other)
    told["ROADWORTHY_MODEL"] = other.manifest.name
    with Started(release.image.reference, told, volume) as started:
        assert started.end() == 1
        assert "not signed" in started.said()
        assert "Traceback" not in started.said()


@pytest.mark.parametrize(
    ("told", "code", "said"),
    [
        ({}, 2, "nothing is registered here yet"),
        ({"ROADWORTHY_REGISTRY_URL": "postgresql://127.0.0.1:9/models"}, 3, "cannot be used"),
        ({"ROADWORTHY_MODEL": "Not A Name"}, 2, "names no model"),
    ],
)
def test_a_registry_out_of_reach_is_a_clear_end(
    docker: Docker, release: Release, told: dict[str, str], code: int, said: str
) -> None:
    with Started(release.image.reference, told, None) as started:
        assert started.end() == code
        assert said in started.said()
        assert "Traceback" not in started.said()


def test_an_image_that_fetches_is_tested_with_the_model_mounted(
    docker: Docker, release: Release
) -> None:
    verdict = check_image(release.image.reference, release.bundle, release.project)
    assert [check for check in verdict.checks if check.outcome != "pass"] == []
    assert verdict.passed
