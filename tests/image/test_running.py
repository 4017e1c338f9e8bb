"""An image is tested while it runs, with the restrictions it is made for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.keys import generate
from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.image import Image, build
from roadworthy.image.container import Container
from roadworthy.image.engines.docker import Docker
from roadworthy.image.testing import test_image as check_image
from roadworthy.project import Project
from tests.conftest import Trained
from tests.image.conftest import readable_copy, run

CHECKS = {
    "image.ready", "image.user", "image.capabilities", "image.no_new_privileges",
    "image.read_only", "image.tools", "image.health", "image.latency_p99_ms", "image.memory_mb",
    "image.drain", "image.restart", "image.dialect.invocations", "image.dialect.inference",
    "image.dialect.kserve", "image.dialect.azure", "golden", "version",
}  # fmt: skip


def outcomes(verdict) -> dict[str, str]:
    return {check.name: check.outcome for check in verdict.checks}


def test_the_image_passes_with_every_restriction_in_place(
    docker: Docker, image: Image, bundle: Bundle, project: Project
) -> None:
    verdict = check_image(image.reference, bundle, project)
    found = outcomes(verdict)
    assert found.keys() >= CHECKS
    assert {name: o for name, o in found.items() if o != "pass"} == {}
    assert verdict.passed
    assert verdict.asked == image.reference
    assert run("docker", "ps", "--all", "--quiet") == ""


def changed(docker: Docker, image: Image, tag: str, lines: str, folder: Path) -> str:
    """The image with further lines in its Dockerfile."""
    (folder / "Dockerfile").write_text(f"FROM {image.reference}\n{lines}\n")
    run("docker", "build", "--quiet", "--tag", tag, str(folder))
    return tag


def test_an_image_that_was_made_soft_is_stopped_for_each_softness(
    docker: Docker, image: Image, bundle: Bundle, project: Project, tmp_path: Path
) -> None:
    lines = "USER 0\nRUN printf '#!/bin/sh\\n' > /usr/local/bin/pip && chmod +x /usr/local/bin/pip"
    tag = changed(docker, image, "adult:soft", lines, tmp_path)
    verdict = check_image(tag, bundle, project.override("image", memory_mb=512))
    found = outcomes(verdict)
    assert not verdict.passed
    assert found["image.user"] == "fail"
    assert found["image.tools"] == "fail"
    assert found["golden"] == "pass"


def test_an_image_of_another_model_is_stopped(
    docker: Docker, image: Image, bundles: dict[str, Trained], project: Project
) -> None:
    verdict = check_image(image.reference, bundles["linear"].bundle, project)
    assert outcomes(verdict)["version"] == "fail"
    assert not verdict.passed


def test_an_image_that_does_not_start_fails_with_its_last_words(
    docker: Docker, image: Image, bundle: Bundle, project: Project, tmp_path: Path
) -> None:
    tag = changed(docker, image, "adult:empty", "ENV ROADWORTHY_MODEL=/nowhere", tmp_path)
    verdict = check_image(tag, bundle, project)
    (check,) = verdict.checks
    assert (check.name, check.outcome) == ("image.ready", "fail")
    assert "no bundle is named" in check.reason


def test_an_unknown_image_is_a_clear_error(
    docker: Docker, bundle: Bundle, project: Project
) -> None:
    with pytest.raises(OutsideError, match=r"not known there|cannot be reached"):
        check_image("127.0.0.1:9/nobody/nothing:1", bundle, project)


@pytest.mark.parametrize("place", ["/opt/ml/model", "/mnt/models"])
def test_a_model_that_a_cloud_mounts_comes_before_the_one_inside(
    docker: Docker, image: Image, bundles: dict[str, Trained], place: str, tmp_path: Path
) -> None:
    """SageMaker starts with `serve` and its own folder; KServe mounts another."""
    other = bundles["linear"].bundle
    mounted = readable_copy(other, tmp_path)
    try:
        with Container(
            "docker", image.reference, 512, mounted, place=place, arguments=["serve"]
        ) as container:
            container.wait_ready()
            assert json.loads(container.ask("GET", "/metadata")[1])["version"] == other.version
            assert container.ask("GET", "/ping")[0] == 200
    finally:
        shutil.rmtree(mounted)


def test_vertex_chooses_its_own_addresses(docker: Docker, image: Image, bundle: Bundle) -> None:
    chosen = {"AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": "/well", "AIP_PREDICT_ROUTE": "/ask"}
    with Container("docker", image.reference, 512, environment=chosen) as container:
        container.wait_ready()
        assert container.ask("GET", "/well")[0] == 200
        row = {"instances": [bundle.contract.example()]}
        status, body = container.ask("POST", "/ask", row)
        assert status == 200
        assert len(json.loads(body)["predictions"]) == 1
        assert container.is_healthy()


def test_a_mounted_model_must_be_signed_by_a_key_that_the_image_trusts(
    docker: Docker, bundle: Bundle, project: Project, tmp_path: Path
) -> None:
    private, public = generate("ed25519")
    (tmp_path / "release.key").write_bytes(private)
    (tmp_path / "release.pub").write_bytes(public)
    strict = project.override("image", model="mounted").override(
        "registry", trusted_keys=(str(tmp_path / "release.pub"),)
    )
    built = build(bundle, "adult:strict", strict, docker)
    model = readable_copy(bundle, tmp_path)
    try:
        refused = pytest.raises(CheckFailed, match="not signed")
        with Container("docker", built.reference, 512, model) as container, refused:
            container.wait_ready()
        sign = [sys.executable, "-m", "roadworthy", "models", "sign", str(model)]
        run(*sign, "--key", str(tmp_path / "release.key"))
        with Container("docker", built.reference, 512, model) as container:
            container.wait_ready()
            status, _ = container.ask("POST", "/predict", bundle.contract.example())
            assert status == 200
    finally:
        shutil.rmtree(model)


def test_the_verbs_build_test_and_say_so_in_json(
    docker: Docker, image: Image, bundle: Bundle, base: str, tmp_path: Path
) -> None:
    def roadworthy(*arguments: str) -> tuple[int, dict]:
        command = [sys.executable, "-m", "roadworthy", "image", *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, json.loads(done.stdout)

    (tmp_path / "roadworthy.toml").write_text(
        f'[image]\nbase = "{base}"\nlatency_ms = 5000\n[gates]\naccuracy = ">= 0.999"\n'
    )
    code, made = roadworthy("build", str(bundle.path), "--tag", "adult:verbs")
    assert (code, made["engine"], made["id"]) == (0, "docker", image.id)
    code, verdict = roadworthy("test", str(bundle.path), "--tag", "adult:verbs")
    failed = {check["name"] for check in verdict["checks"] if check["outcome"] == "fail"}
    assert (code, failed) == (1, {"accuracy"})
    code, error = roadworthy("build", str(bundle.path), "--tag", "NOT A NAME")
    assert (code, error["exit_code"]) == (2, 2)


def test_an_engine_that_cannot_run_is_refused_with_those_that_can(
    bundle: Bundle, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "roadworthy", "image", "test", str(bundle.path)]
    done = subprocess.run(
        [*command, "--tag", "adult:1", "--engine", "none"], capture_output=True, text=True
    )
    assert done.returncode == InputError.exit_code
    assert "--engine docker" in done.stderr
