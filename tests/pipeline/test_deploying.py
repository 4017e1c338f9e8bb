"""The pipelines run whole: from a table to a pushed image and served containers, and back.

With a real engine and a real registry of images. The scanner is a double: it answers in Trivy's
form that nothing is known, for a real one would have to fetch its list of vulnerabilities.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle.keys import generate
from roadworthy.deploy import deploying
from roadworthy.image.registry_client import Registry, parse_place
from roadworthy.image.signing import verify_image
from roadworthy.pipeline.systems.gitlab import ENGINE
from roadworthy.project import load_project
from tests import containers
from tests.conftest import free_port
from tests.image.test_pushing import tags
from tests.pipeline.projects import commit
from tests.pipeline.test_runs import RUNNER, Act, job_results, small_repository
from tests.pipeline.tools import environment, gitlab_local, groovy, tools

pytestmark = pytest.mark.timeout(3600)  # liveness, on a slow and busy machine
SETTINGS = """
stages = ["check", "train", "test", "package", "image", "staging", "production", "rollback"]
targets = ["web"]
register = true
sign = {sign}
image = "{image}"
[registry]
url = "sqlite:///{home}/catalogue.db"
store = "{home}/blobs"
cache = "{home}/cache"
[image]
base = "{base}"
engine = "docker"
latency_ms = 5000
[deploy.web]
target = "docker"
proxy_image = "caddy:tests"
"""
OVERLAY = '[deploy.web]\ntarget = "docker"\nname = "{name}"\nport = {port}\n'
DESTINATIONS = ("staging", "production")


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    """An engine that every process of the tests finds, and the host of a registry of images."""
    with (
        containers.engine() as variables,
        containers.registry() as host,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        containers.import_base(variables)
        containers.caddy_image(variables)
        # GitLab's job asks for an engine beside it; on this machine it is given another's address
        subprocess.run(["docker", "tag", containers.BASE, ENGINE], check=True)
        yield host


class Shop:
    """A repository whose pipeline deploys to two places.

    Attributes:
        folder: The repository.
        image: The image's name, without a tag.
        ports: Destination -> public port.
    """

    def __init__(self, home: Path, system: str, images: str, *, sign: bool = False) -> None:
        self.system, self.image = system, f"{images}/acme/{system}"
        self.ports = {each: free_port() for each in DESTINATIONS}
        more = SETTINGS.format(
            home=home, base=containers.BASE, image=self.image, sign=str(sign).lower()
        )
        self.folder = small_repository(home / "repository", system, more=more)
        for destination in DESTINATIONS:
            self.place(destination, f"{system}-{destination}", self.ports[destination])
        self.commit()

    def place(self, destination: str, name: str, port: int) -> None:
        """Say where a destination is."""
        file = self.folder / f"roadworthy.{destination}.toml"
        file.write_text(OVERLAY.format(name=name, port=port))

    def commit(self) -> None:
        commit(self.folder, f"{self.system}.com")

    def url(self, destination: str) -> str:
        return f"http://127.0.0.1:{self.ports[destination]}"

    def version(self, destination: str) -> str:
        """The version that callers get there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[destination], timeout=60)
        connection.request("GET", "/metadata")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return str(found["version"])

    def release_again(self, destination: str) -> None:
        """Deploy by hand what is served there with other settings: a release to go back from."""
        project = load_project(self.folder / "roadworthy.toml", destination)
        changed = project.override("serve", max_rows=77)
        deploying.apply(changed, "web", f"churn:{self.version(destination)[:12]}")

    def serving(self, destination: str) -> str | None:
        project = load_project(self.folder / "roadworthy.toml", destination)
        return deploying.status(project, "web").serving

    def pushed(self) -> str:
        """The digest of the one image that was pushed under a commit."""
        place = parse_place(self.image)
        [tag] = [each for each in tags(place.host, place.repository) if "sha256-" not in each]
        found = Registry(place).manifest(tag)
        assert found is not None
        return found[0]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def scanner(folder: Path) -> Path:
    """A program `trivy` in a folder, which notes what it was asked."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trivy"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/scanned\necho \'{{"Results": []}}\'\n')
    program.chmod(0o755)
    return folder / "scanned"


def places() -> dict[str, str]:
    """Where the engine is and where journals go, for runners that clean their environment."""
    names = ("DOCKER_HOST", "DOCKER_BUILDKIT", "DOCKER_CONFIG", "XDG_DATA_HOME")
    return {name: os.environ[name] for name in names}


def test_github_signs_scans_pushes_and_deploys_and_is_rolled_back_by_hand(
    home: Path, images: str
) -> None:
    tools()
    private, public = generate("ecdsa-p256")
    (home / "release.pub").write_bytes(public)
    shop = Shop(home, "github", images, sign=True)
    # act knows one value of a variable, not one for each environment: so there is one place
    shop.place("production", "github-staging", shop.ports["staging"])
    shop.commit()
    act = Act(shop.folder, home / "store")
    scanned = scanner(act.store / "bin")
    told = [word for pair in places().items() for word in ("--env", "=".join(pair))]
    told += ["--var", f"SERVICE_URL={shop.url('staging')}"]
    told += ["-s", f"ROADWORTHY_SIGNING_KEY={private.decode()}"]
    done = act.run("push", *told)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert job_results(done.stdout) == dict.fromkeys(
        ["Check", "Train", "Test", "Package", "Image", "Deploy staging", "Deploy production"],
        "success",
    )
    assert verify_image(parse_place(shop.image), shop.pushed(), [str(home / "release.pub")])
    assert f"--format json {shop.image}:" in scanned.read_text()
    bill = json.loads((act.store / "artifacts/sbom/sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert "PRIVATE KEY" not in done.stdout
    released = shop.serving("staging")
    shop.release_again("staging")
    assert shop.serving("staging") != released
    words = ("--input", "destination=staging", *told)
    done = act.run("workflow_dispatch", *words, file="roadworthy-rollback.yml")
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert shop.serving("staging") == released


def test_gitlab_deploys_without_a_scanner_and_goes_back_when_the_service_is_wrong(
    home: Path, images: str
) -> None:
    tools()
    shop = Shop(home, "gitlab", images)
    settings = {**places(), "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": "",
                "REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "a-word"}  # fmt: skip

    def run(*words: str, **more: str) -> str:
        told = {**settings, **more}
        variables = [word for pair in told.items() for word in ("--variable", "=".join(pair))]
        shell = ("--force-shell-executor", "--shell-isolation")
        done = gitlab_local(shop.folder, *shell, *variables, *words)
        return f"{done.stdout}{done.stderr}\nexit code {done.returncode}"

    first = run(SERVICE_URL=shop.url("staging"))
    assert first.endswith("exit code 0"), first[-8000:]
    assert "NOT SCANNED: nobody looked for known vulnerabilities of" in first
    assert "PASS  roadworthy-production" not in first  # nobody approved it
    second = run("roadworthy-production", SERVICE_URL=shop.url("production"))
    assert second.endswith("exit code 0"), second[-8000:]
    assert shop.version("production") == shop.version("staging")
    released = shop.serving("production")
    shop.release_again("production")
    later = shop.serving("production")
    assert later != released
    # callers are not served where the job was told to ask: it puts back what was there
    third = run("roadworthy-production", SERVICE_URL="http://127.0.0.1:9")
    assert third.endswith("exit code 1"), third[-8000:]
    assert f"release {later} serves again" in " ".join(third.split())
    assert shop.serving("production") == later
    by_hand = {
        "CI_PIPELINE_SOURCE": "web", "ROADWORTHY_TASK": "rollback", "DESTINATION": "production",
    }  # fmt: skip
    back = run(**by_hand)
    assert back.endswith("exit code 0"), back[-8000:]
    assert shop.serving("production") == released


def test_jenkins_deploys_what_was_approved_and_is_rolled_back_by_hand(
    home: Path, images: str
) -> None:
    tools()
    shop = Shop(home, "jenkins", images)
    path = f"{scanner(home / 'bin').parent}:{environment()['PATH']}"
    (home / "java").mkdir()

    def run(file: str, *words: str) -> str:
        done = groovy(
            RUNNER, shop.folder / file, shop.folder, "branch=main", *words,
            JAVA_OPTS=f"-Djava.io.tmpdir={home / 'java'}", PATH=path,
        )  # fmt: skip
        return done.stdout + done.stderr

    addresses = [f"env.SERVICE_URL_{each.upper()}={shop.url(each)}" for each in DESTINATIONS]
    first = run("Jenkinsfile", *addresses)
    assert "Finished: SUCCESS" in first, first[-8000:]
    assert "input approved" in first
    assert (home / "bin/scanned").exists()
    assert shop.pushed().startswith("sha256:")
    assert shop.version("production") == shop.version("staging")
    released = shop.serving("production")
    shop.release_again("production")
    assert shop.serving("production") != released
    back = run("Jenkinsfile.rollback", "param.DESTINATION=production")
    assert "Finished: SUCCESS" in back, back[-8000:]
    assert shop.serving("production") == released
