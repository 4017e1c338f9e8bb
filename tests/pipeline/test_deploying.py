"""The pipelines deploy for real: from a table to containers of this machine's engine, and back."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.deploy import deploying
from roadworthy.pipeline import SYSTEMS, write
from roadworthy.project import load_project
from tests import containers
from tests.conftest import DATA, free_port
from tests.pipeline.projects import commit
from tests.pipeline.test_runs import RUNNER, Act, job_results
from tests.pipeline.tools import gitlab_local, groovy, tools

pytestmark = pytest.mark.timeout(900)
PROJECT = """
[project]
name = "churn"
[data]
path = "data/churn.csv"
target = "churn"
[train]
budget = "5s"
candidates = ["linear"]
folds = 2
[gates]
accuracy = ">= 0.6"
[registry]
url = "sqlite:///{home}/catalogue.db"
store = "{home}/blobs"
cache = "{home}/cache"
[image]
base = "{base}"
[pipeline]
install = ["roadworthy --version"]
stages = ["check", "train", "test", "package", "staging", "production", "rollback"]
targets = ["web"]
[deploy.web]
target = "docker"
proxy_image = "caddy:tests"
"""
OVERLAY = '[deploy.web]\nname = "{system}-{destination}"\nport = {port}\n'
DESTINATIONS = ("staging", "production")


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """An engine that every process of the tests finds."""
    with containers.engine() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        containers.import_base(variables)
        containers.caddy_image(variables)
        yield


class Shop:
    """A repository whose pipeline deploys to two places.

    Attributes:
        folder: The repository.
        ports: Destination -> public port.
    """

    def __init__(self, folder: Path, system: str) -> None:
        self.folder, self.system = folder / "repository", system
        self.ports = {each: free_port() for each in DESTINATIONS}
        (self.folder / "data").mkdir(parents=True)
        text = PROJECT.format(home=folder, base=containers.BASE)
        (self.folder / "roadworthy.toml").write_text(text)
        for destination, port in self.ports.items():
            overlay = OVERLAY.format(system=system, destination=destination, port=port)
            (self.folder / f"roadworthy.{destination}.toml").write_text(overlay)
        (self.folder / ".gitignore").write_text(".gitlab-ci-local/\n.venv/\n")
        write(load_project(self.folder / "roadworthy.toml"), SYSTEMS[system], self.folder)
        self.push(600)

    def push(self, rows: int) -> None:
        """Commit a table of so many rows: another table makes another version."""
        lines = (DATA / "churn.csv").read_text().splitlines(keepends=True)[: rows + 1]
        (self.folder / "data/churn.csv").write_text("".join(lines))
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def test_jenkins_deploys_what_was_approved_and_goes_back_when_the_service_is_wrong(
    home: Path, engine: None
) -> None:
    tools()
    shop = Shop(home, "jenkins")
    (home / "java").mkdir()

    def run(file: str, production: str, *words: str) -> str:
        done = groovy(
            RUNNER, shop.folder / file, shop.folder, "branch=main",
            f"env.SERVICE_URL_STAGING={shop.url('staging')}",
            f"env.SERVICE_URL_PRODUCTION={production}", *words,
            JAVA_OPTS=f"-Djava.io.tmpdir={home / 'java'}",
        )  # fmt: skip
        return done.stdout + done.stderr

    first = run("Jenkinsfile", shop.url("production"))
    assert "Finished: SUCCESS" in first, first[-4000:]
    assert "input approved" in first
    one = shop.version("production")
    assert shop.version("staging") == one
    shop.push(700)
    second = run("Jenkinsfile", "http://127.0.0.1:9")
    assert "Finished: FAILURE" in second
    assert "Deploy production:failed" in second, second[-4000:]
    assert shop.version("staging") != one
    assert shop.version("production") == one


def test_gitlab_deploys_and_is_rolled_back_by_hand(home: Path, engine: None) -> None:
    tools()
    shop = Shop(home, "gitlab")
    options = ("--force-shell-executor", "--shell-isolation")
    for destination in DESTINATIONS:
        url = ("--variable", f"SERVICE_URL={shop.url(destination)}")
        wanted = ("--needs", f"roadworthy-{destination}") if destination == "staging" else (
            "roadworthy-production",)  # fmt: skip
        done = gitlab_local(shop.folder, *options, *url, *wanted, **places())
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4000:]
    released = shop.serving("production")
    assert shop.version("production") == shop.version("staging")
    shop.release_again("production")
    assert shop.serving("production") != released
    by_hand = {
        "CI_PIPELINE_SOURCE": "web", "ROADWORTHY_TASK": "rollback", "DESTINATION": "production",
    }  # fmt: skip
    variables = [word for pair in by_hand.items() for word in ("--variable", "=".join(pair))]
    done = gitlab_local(shop.folder, *options, *variables, **places())
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert shop.serving("production") == released


def test_github_deploys_to_both_places(home: Path, engine: None) -> None:
    tools()
    shop = Shop(home, "github")
    act = Act(shop.folder, home / "store")
    variables = [word for name, value in places().items() for word in ("--env", f"{name}={value}")]
    # act knows one value of a variable, not one for each environment: so there is one place
    overlay = (shop.folder / "roadworthy.staging.toml").read_text()
    (shop.folder / "roadworthy.production.toml").write_text(overlay)
    commit(shop.folder, "github.com")
    done = act.run("push", "--var", f"SERVICE_URL={shop.url('staging')}", *variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    results = job_results(done.stdout)
    assert (results["Deploy staging"], results["Deploy production"]) == ("success", "success")
    released = shop.serving("staging")
    shop.release_again("staging")
    assert shop.serving("staging") != released


def places() -> dict[str, str]:
    """Where the engine is and where journals go, for runners that clean their environment."""
    names = ("DOCKER_HOST", "DOCKER_BUILDKIT", "DOCKER_CONFIG", "XDG_DATA_HOME")
    return {name: os.environ[name] for name in names}
