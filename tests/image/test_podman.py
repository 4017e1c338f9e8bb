"""Podman and Buildah build the same image, and Podman runs it as restricted as Docker does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.deploy.kubernetes import Settings, documents, to_yaml
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


@pytest.fixture
def pods(
    tmp_path: Path, storage: None, built: tuple[Project, dict[str, Image]]
) -> Iterator[list[str]]:
    """The generated Deployment, as Podman plays it: the names of its containers."""
    settings = Settings(name="adult", image=built[1]["podman"].reference, max_replicas=2)
    [deployment] = [each for each in documents(settings) if each["kind"] == "Deployment"]
    # Podman would open the port on this machine, where two pods cannot both have it
    del deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(to_yaml([deployment]))
    run("podman", "kube", "play", "--network", "none", str(manifest))
    try:
        names = run("podman", "ps", "--all", "--format", "{{.Names}}").split()
        yield [name for name in names if name.endswith("-server")]
    finally:
        run("podman", "kube", "down", str(manifest))


_ASK = """
import json, sys, time, urllib.request
rows, end = sys.stdin.buffer.read(), time.monotonic() + 120
while True:
    try:
        ready = urllib.request.urlopen("http://127.0.0.1:8080/readyz", timeout=10).status == 200
    except OSError:
        ready = False
    if ready:
        break
    assert time.monotonic() < end, "it did not become ready"
    time.sleep(0.2)
asked = urllib.request.Request(
    "http://127.0.0.1:8080/predict", rows, {"Content-Type": "application/json"}
)
print(urllib.request.urlopen(asked, timeout=60).read().decode())
"""


def check_golden_rows(bundle: Bundle, container: str) -> None:
    """Ask a pod from within, as its network is its own."""
    rows = json.dumps([golden.row for golden in bundle.golden])
    answered = subprocess.run(
        ["podman", "exec", "-i", container, "python", "-c", _ASK],
        input=rows, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert answered.returncode == 0, answered.stderr
    bundle.check_answers(json.loads(answered.stdout)["predictions"])


def test_podman_runs_the_deployment_as_restricted_as_it_says_and_restarts_a_killed_pod(
    bundle: Bundle, pods: list[str]
) -> None:
    assert len(pods) == 2  # replicas
    for name in pods:
        check_golden_rows(bundle, name)
        status = Path(f"/proc/{process(name)}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert said["Uid"].split() == ["10001"] * 4
        assert said["CapEff"] == said["CapBnd"] == "0000000000000000"
        assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
        (found,) = json.loads(run("podman", "container", "inspect", name))
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["Memory"] == 512 * 2**20
    killed = process(pods[0])
    os.kill(killed, signal.SIGKILL)
    end = time.monotonic() + 180
    while process(pods[0]) in (0, killed):
        assert time.monotonic() < end, run("podman", "logs", pods[0])
        time.sleep(0.2)
    for name in pods:
        check_golden_rows(bundle, name)


def process(container: str) -> int:
    """The process that a container's first is here; 0 when there is none."""
    return int(run("podman", "container", "inspect", container, "--format", "{{.State.Pid}}"))
