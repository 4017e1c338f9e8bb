"""A real engine, base image and registry, set up by the tests; one image that most of them ask."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.image import Image, build
from roadworthy.image.engines.docker import Docker
from roadworthy.image.engines.none import NoEngine
from roadworthy.project import Project
from tests import containers
from tests.conftest import train_example


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A linear model of the adults' table, where a container's user may read it."""
    folder = tmp_path_factory.mktemp("image-bundles")
    return train_example(folder, "adult.csv", "income", "linear", rows=1000).bundle


@pytest.fixture(scope="session")
def engine_variables() -> Iterator[dict[str, str]]:
    with containers.engine() as variables:
        yield variables


@pytest.fixture(scope="session")
def base(engine_variables: dict[str, str]) -> str:
    return containers.import_base(engine_variables)


@pytest.fixture(scope="session")
def registry_host() -> Iterator[str]:
    with containers.registry() as host:
        yield host


@pytest.fixture(scope="session")
def project(base: str) -> Project:
    return Project().override("image", base=base, engine="docker", latency_ms=5000.0)


@pytest.fixture(scope="session")
def image(bundle: Bundle, project: Project, engine_variables: dict[str, str]) -> Image:
    """The bundle's image, built by Docker."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_variables.items():
            patch.setenv(name, value)
        return build(bundle, "adult:1", project, Docker())


@pytest.fixture
def docker(engine_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Docker:
    """The engine, found by everything that runs in this test."""
    for name, value in engine_variables.items():
        monkeypatch.setenv(name, value)
    return Docker()


@pytest.fixture(scope="session")
def layouts(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same image twice, by no engine at all."""
    folder = tmp_path_factory.mktemp("layouts")
    project = Project().override("image", base=str(containers.base_tar()), engine="none")
    made = [folder / "first", folder / "second"]
    for place in made:
        build(bundle, "adult:1", project, NoEngine(place))
    return made


def readable_copy(bundle: Bundle, folder: Path) -> Path:
    """A bundle where every user may read it: pytest's folders are their owner's alone."""
    target = Path("/var/tmp") / f"roadworthy-{os.getpid()}-{folder.name}"
    shutil.copytree(bundle.path, target, dirs_exist_ok=True)
    target.chmod(0o755)
    return target


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
