"""The pipelines really run: a small table becomes a model, and a failed gate stops it.

From the image on, `test_deploying` runs GitHub's and Jenkins'.

GitHub's workflows run in `act` on this machine, with doubles of the actions of others; GitLab's
jobs in gitlab-ci-local's shells; the Jenkinsfile in a runner whose shell steps are real.
"""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.bundle.manifest import verify
from roadworthy.pipeline import SYSTEMS, write
from roadworthy.project import load_project
from tests.conftest import DATA
from tests.pipeline.projects import commit
from tests.pipeline.stubs import write_stubs
from tests.pipeline.tools import call, environment, gitlab_local, groovy, tools

RUNNER = Path(__file__).parent / "jenkins" / "JenkinsfileRun.groovy"
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
accuracy = ">= {least}"
[pipeline]
install = ["roadworthy --version"]
lint = ["grep -q churn roadworthy.toml"]
tests = ["test -s data/churn.csv"]
"""


def small_repository(folder: Path, system: str, least: float = 0.6, more: str = "") -> Path:
    """A repository with a real small table and the system's files; `more` ends its project file."""
    (folder / "data").mkdir(parents=True)
    lines = (DATA / "churn.csv").read_text().splitlines(keepends=True)[:700]
    (folder / "data/churn.csv").write_text("".join(lines))
    (folder / "roadworthy.toml").write_text(PROJECT.format(least=least) + more)
    write(load_project(folder / "roadworthy.toml"), SYSTEMS[system], folder)
    (folder / ".gitignore").write_text(".gitlab-ci-local/\n.venv/\n")
    commit(folder, f"{system}.com")
    return folder


def model_in(folder: Path) -> str:
    """The name of the one model that a run left in a folder, verified."""
    [file] = folder.rglob("model.rwb")
    return verify(file, keep=())[0].name


class Act:
    """GitHub's workflows, run by `act`."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, store
        self.stubs = write_stubs(store / "stubs")

    def run(
        self, event: str, *words: object, file: str = "roadworthy.yml"
    ) -> subprocess.CompletedProcess[str]:
        """Run an event; artifacts and caches are in the store."""
        (self.store / "bin").mkdir(exist_ok=True)
        gh = self.store / "bin/gh"
        gh.write_text(f'#!/bin/sh\necho "gh $*" >> {self.store}/calls\n')
        gh.chmod(0o755)
        variables = environment(XDG_CACHE_HOME=str(self.store / "cache"))
        variables["PATH"] = f"{self.store / 'bin'}:{variables['PATH']}"
        return call(
            "act", event, "-W", f".github/workflows/{file}",
            "-P", "ubuntu-24.04=-self-hosted", "--action-offline-mode", *self.stubs,
            "--env", f"STUB_STORE={self.store}", "-s", "GITHUB_TOKEN=a-token-of-a-test",
            "--defaultbranch", "main", *words,
            cwd=self.folder, env=variables,
        )  # fmt: skip

    @property
    def calls(self) -> str:
        """What the doubles were asked."""
        file = self.store / "calls"
        return file.read_text() if file.exists() else ""


def job_results(log: str) -> dict[str, str]:
    """How act's jobs ended, by their titles."""
    found = {}
    for line in log.splitlines():
        title = line.partition("/")[2].partition("]")[0].strip()
        if "Job succeeded" in line:
            found[title] = "success"
        elif "Job failed" in line:
            found[title] = "failure"
    return found


def test_github_runs_from_check_to_package_and_trains_once(tmp_path: Path) -> None:
    tools()
    act = Act(small_repository(tmp_path / "repository", "github"), tmp_path / "store")
    done = act.run("push")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    wanted = dict.fromkeys(["Check", "Train", "Test", "Package"], "success")
    assert job_results(done.stdout) == wanted
    assert model_in(act.store / "artifacts" / "model") == "churn"
    assert (act.store / "artifacts/verdict/gates.xml").exists()
    assert "gh pr comment" not in act.calls
    again = act.run("push", "-j", "train")
    assert again.returncode == 0, again.stdout[-4000:]
    assert "data and code are as they were" in again.stdout
    table = act.folder / "data/churn.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    commit(act.folder, "github.com")
    other = act.run("push", "-j", "train")
    assert other.returncode == 0, other.stdout[-4000:]
    assert "data and code are as they were" not in other.stdout
    found = re.findall(r"^cache (true|false) trained-", act.calls, re.MULTILINE)
    assert found == ["false", "true", "false"]


def test_github_stops_at_a_failed_gate_and_tells_the_pull_request(tmp_path: Path) -> None:
    tools()
    act = Act(small_repository(tmp_path / "repository", "github", 0.999), tmp_path / "store")
    event = tmp_path / "event.json"
    head = {"ref": "x", "repo": {"full_name": "acme/churn"}}
    event.write_text(json.dumps({"pull_request": {"number": 7, "head": head}}))
    done = act.run("pull_request", "-e", event)
    assert done.returncode != 0
    results = job_results(done.stdout)
    assert (results["Train"], results["Test"]) == ("success", "failure")
    assert results.get("Package") != "success"
    assert not (act.store / "artifacts/model").exists()
    assert "gh pr comment 7 " in act.calls
    verdict = (act.store / "artifacts/verdict/verdict.md").read_text()
    assert "accuracy" in verdict


def test_a_pull_request_from_a_fork_is_tested_and_not_spoken_to(tmp_path: Path) -> None:
    tools()
    act = Act(small_repository(tmp_path / "repository", "github"), tmp_path / "store")
    event = tmp_path / "event.json"
    head = {"ref": "x", "repo": {"full_name": "stranger/churn"}}
    event.write_text(json.dumps({"pull_request": {"number": 8, "head": head}}))
    done = act.run("pull_request", "-e", event)
    assert done.returncode == 0, done.stdout[-4000:]
    assert set(job_results(done.stdout)) == {"Check", "Train", "Test"}
    assert "gh pr comment" not in act.calls


def test_gitlab_runs_to_the_package(tmp_path: Path) -> None:
    folder = small_repository(tmp_path / "repository", "gitlab")
    done = gitlab_local(folder, "--force-shell-executor", "--shell-isolation")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert model_in(folder / ".gitlab-ci-local" / "artifacts") == "churn"


class Notes(http.server.BaseHTTPRequestHandler):
    """GitLab's interface to the notes of a merge request, as far as a note is written."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (note,) = urllib.parse.parse_qs(body.decode())["body"]
        allowed = self.headers["PRIVATE-TOKEN"] == "a-token-of-a-test"
        self.server.notes.append((self.path, note))  # type: ignore[attr-defined]
        self.send_response(201 if allowed else 401)
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.fixture
def notes() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    server.notes = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_gitlab_stops_at_a_failed_gate_and_says_so_on_the_merge_request(
    tmp_path: Path, notes: http.server.ThreadingHTTPServer
) -> None:
    folder = small_repository(tmp_path / "repository", "gitlab", 0.999)
    told = {
        "CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7",
        "CI_PROJECT_ID": "42", "ROADWORTHY_COMMENT_TOKEN": "a-token-of-a-test",
        "CI_API_V4_URL": f"http://127.0.0.1:{notes.server_address[1]}/api/v4",
    }  # fmt: skip
    variables = [word for pair in told.items() for word in ("--variable", "=".join(pair))]
    done = gitlab_local(folder, "--force-shell-executor", "--shell-isolation", *variables)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "FAIL  roadworthy-test" in said
    assert "PASS  roadworthy-train" in said
    assert not list(folder.rglob("model.rwb"))
    [(path, note)] = notes.notes  # type: ignore[attr-defined]
    assert path == "/api/v4/projects/42/merge_requests/7/notes"
    assert "accuracy" in note


def test_jenkins_stops_at_a_failed_gate(tmp_path: Path) -> None:
    folder = small_repository(tmp_path / "repository", "jenkins", 0.999)
    (tmp_path / "java").mkdir()
    java = f"-Djava.io.tmpdir={tmp_path / 'java'}"
    done = groovy(RUNNER, folder / "Jenkinsfile", folder, "branch=main", JAVA_OPTS=java)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said[-4000:]
    assert "Test:failed" in said
    assert "Package:ok" not in said
    assert not list((tmp_path / "java").rglob("model.rwb"))
