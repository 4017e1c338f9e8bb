"""Podman and Buildah build the same image, and Podman runs it as restricted as Docker does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError, OutsideError
from roadworthy.image import Image, build, find_engine
from roadworthy.image.engines.commands import run as run_engine
from roadworthy.image.testing import test_image as check_image
from roadworthy.project import Project
from tests import containers
from tests.image.conftest import run


@pytest.fixture(scope="module")
def podman_variables() -> Iterator[dict[str, str]]:
    with containers.podman() as variables:
        yield variables


@pytest.fixture(scope="module")
def built(bundle: Bundle, podman_variables: dict[str, str]) -> tuple[Project, dict[str, Image]]:
    """The image of each of the two, in their common storage."""
    base = containers.import_podman_base(podman_variables)
    project = Project().override("image", base=base, latency_ms=5000.0)
    with pytest.MonkeyPatch.context() as patch:
        use(podman_variables, patch)
        made = {
            name: build(bundle, f"localhost/adult:{name}", project, find_engine(name))
            for name in ("podman", "buildah")
        }
    return project, made


@pytest.fixture
def storage(podman_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    use(podman_variables, monkeypatch)


def use(variables: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    patch.delenv("DOCKER_CONFIG", raising=False)
    for name, value in variables.items():
        patch.setenv(name, value)


@pytest.mark.usefixtures("storage")
def test_podman_runs_what_podman_built(
    bundle: Bundle, built: tuple[Project, dict[str, Image]]
) -> None:
    project, made = built
    verdict = check_image(made["podman"].reference, bundle, project, engine="podman")
    assert [check for check in verdict.checks if check.outcome != "pass"] == []
    assert verdict.passed


@pytest.mark.usefixtures("storage")
def test_podman_runs_what_buildah_built(built: tuple[Project, dict[str, Image]]) -> None:
    _, made = built
    name = made["buildah"].reference
    assert run("podman", "run", "--rm", "--read-only", name, "--version").startswith("roadworthy ")
    (found,) = json.loads(run("podman", "image", "inspect", name))
    health = {key.lower(): value for key, value in found.items()}["healthcheck"]
    assert health["Test"][:2] == ["CMD", "python"]


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_the_same_input_is_the_same_image_and_a_foreign_tag_is_not_taken(
    name: str, bundle: Bundle, built: tuple[Project, dict[str, Image]]
) -> None:
    project, made = built
    engine = find_engine(name)
    again = build(bundle, f"localhost/again:{name}", project, engine)
    assert again.id == made[name].id
    run("podman", "tag", project.image.base, "localhost/taken:1")
    with pytest.raises(InputError, match="in use"):
        build(bundle, "localhost/taken:1", project, engine)


@pytest.mark.usefixtures("storage")
def test_an_image_that_podman_does_not_have_is_said_as_with_docker() -> None:
    with pytest.raises(OutsideError, match="the image is not known there"):
        run_engine(["podman", "image", "inspect", "roadworthy/nothing:1"], where="podman")
