"""The image stage really runs: an image is built, tested running, scanned, signed and pushed.

With a real engine and registry. The scanner is a double: it answers in Trivy's form that nothing is
known, for a real one would have to fetch its list of vulnerabilities.
"""

from __future__ import annotations

from pathlib import Path

from roadworthy.bundle.keys import generate
from roadworthy.image.registry_client import Registry, parse_place
from roadworthy.image.signing import verify_image
from tests.image.conftest import base, engine_variables, registry_host
from tests.image.test_pushing import fetch, tags
from tests.pipeline.test_runs import RUNNER, Act, job_results, small_repository
from tests.pipeline.tools import environment, gitlab_local, groovy, tools

__all__ = ["base", "engine_variables", "registry_host"]
SETTINGS = """
stages = ["check", "train", "test", "package", "image"]
image = "{image}"
sign = {sign}
[image]
base = "{base}"
engine = "docker"
latency_ms = {latency}
"""


def repository(
    folder: Path, system: str, image: str, base: str, *, sign: bool = False, latency: float = 5000
) -> Path:
    """The small project with an image stage."""
    more = SETTINGS.format(image=image, sign=str(sign).lower(), base=base, latency=latency)
    return small_repository(folder, system, more=more)


def scanner(folder: Path) -> Path:
    """A folder with a program `trivy`, which notes what it was asked."""
    folder.mkdir(parents=True)
    program = folder / "trivy"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/scanned\necho \'{{"Results": []}}\'\n')
    program.chmod(0o755)
    return folder


def pushed(image: str) -> str:
    """The digest of the one image that a run pushed, with its bill of materials beside it."""
    place = parse_place(image)
    [tag] = [tag for tag in tags(place.host, place.repository) if not tag.startswith("sha256-")]
    found = Registry(place).manifest(tag)
    assert found is not None
    digest = found[0]
    index = fetch(place.host, f"{place.repository}/manifests/{digest.replace(':', '-')}")
    assert [entry for entry in index["manifests"] if "cyclonedx" in entry["artifactType"]]
    return digest


def test_github_pushes_a_signed_image_that_passed(
    tmp_path: Path, engine_variables: dict[str, str], base: str, registry_host: str
) -> None:
    tools()
    image = f"{registry_host}/acme/github"
    private, public = generate("ecdsa-p256")
    (tmp_path / "release.pub").write_bytes(public)
    act = Act(repository(tmp_path / "code", "github", image, base, sign=True), tmp_path / "store")
    scanner(act.store / "bin")
    told = [word for pair in engine_variables.items() for word in ("--env", "=".join(pair))]
    secret = ("-s", f"ROADWORTHY_SIGNING_KEY={private.decode()}")
    done = act.run("push", *told, *secret)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert job_results(done.stdout)["Image"] == "success"
    digest = pushed(image)
    assert verify_image(parse_place(image), digest, [str(tmp_path / "release.pub")])
    assert (
        f"image --quiet --scanners vuln --format json {image}:"
        in (act.store / "bin/scanned").read_text()
    )
    assert "PRIVATE KEY" not in done.stdout


def test_gitlab_pushes_nothing_when_the_running_image_fails_a_gate(
    tmp_path: Path, engine_variables: dict[str, str], base: str, registry_host: str
) -> None:
    image = f"{registry_host}/acme/gitlab"
    folder = repository(tmp_path / "code", "gitlab", image, base, latency=0.000001)
    chosen = {**engine_variables, "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": "",
              "REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "a-word"}  # fmt: skip
    words = [word for pair in chosen.items() for word in ("--variable", "=".join(pair))]
    path = f"{scanner(tmp_path / 'bin')}:{environment()['PATH']}"
    shell = ("--force-shell-executor", "--shell-isolation")
    done = gitlab_local(folder, *shell, *words, PATH=path)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "PASS  roadworthy-package" in said, said[-6000:]
    assert "FAIL  roadworthy-image" in said
    assert "image.latency_p99_ms" in said, said[-6000:]
    assert not (tmp_path / "bin/scanned").exists()
    assert tags(registry_host, "acme/gitlab") == []


def test_jenkins_pushes_an_image_that_passed(
    tmp_path: Path, engine_variables: dict[str, str], base: str, registry_host: str
) -> None:
    image = f"{registry_host}/acme/jenkins"
    folder = repository(tmp_path / "code", "jenkins", image, base)
    path = f"{scanner(tmp_path / 'bin')}:{environment()['PATH']}"
    (tmp_path / "java").mkdir()
    java = f"-Djava.io.tmpdir={tmp_path / 'java'}"
    done = groovy(
        RUNNER, folder / "Jenkinsfile", folder, "branch=main", JAVA_OPTS=java, PATH=path,
        **engine_variables,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert "Finished: SUCCESS" in done.stdout
    assert pushed(image).startswith("sha256:")
    assert (tmp_path / "bin/scanned").exists()
