"""The nightly pipeline: labels say that the world has turned; a challenger is offered to people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.incident_worlds import log_odds, make_bundle, people, truth
from benchmarks.incidents import incidents, play

from roadworthy.bundle import Bundle
from roadworthy.pipeline import SYSTEMS, write
from roadworthy.project import load_project
from roadworthy.registry.opening import open_registry
from roadworthy.registry.references import Reference
from roadworthy.registry.registering import register
from tests.monitor.production import leave
from tests.pipeline.projects import commit
from tests.pipeline.test_runs import Act, job_results
from tests.pipeline.tools import gitlab_local, run, tools

PROJECT = """
[project]
name = "loans"
[data]
path = "loans.csv"
target = "late"
[train]
budget = "20s"
candidates = ["boosting"]
folds = 2
[serve]
log_folder = "{home}/log"
[monitor]
labels = "sqlite:///{home}/labels.db"
label_delay_days = 0
[registry]
url = "sqlite:///{home}/catalogue.db"
store = "{home}/blobs"
cache = "{home}/cache"
[pipeline]
stages = ["monitor"]
install = ["roadworthy --version"]
"""


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("champion"))


def place(home: Path, system: str, champion: Bundle, incident: str) -> tuple[Path, dict[str, str]]:
    """A repository, its origin, and what production left; the variables that lead Git there."""
    [played] = [each for each in incidents() if each.name == incident]
    leave(home, champion, play(played, champion, champion)[0])
    repository, origin = home / "repository", home / "origin.git"
    repository.mkdir()
    random = np.random.default_rng(5)
    old = people(600, random)
    answers = np.where(truth(log_odds(old), random) == 1, "yes", "no")
    old.with_columns(pl.Series("late", answers)).write_csv(repository / "loans.csv")
    (repository / "roadworthy.toml").write_text(PROJECT.format(home=home))
    (repository / ".gitignore").write_text(".gitlab-ci-local/\nbundles/\n")
    project = load_project(repository / "roadworthy.toml")
    write(project, SYSTEMS[system], repository)
    commit(repository, f"{system}.com")
    run("git", "clone", "--quiet", "--bare", repository, origin)
    run("git", "-C", origin, "config", "receive.advertisePushOptions", "true")
    with open_registry(project) as registry:
        register(registry, champion.path)
        registry.promote(Reference("loans", champion.version))
    there = f"https://{system}.com/acme/churn.git"
    return repository, {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": there,
    }


def offered(home: Path) -> list[str]:
    """Files of the challenger's branch that the branch of releases has not."""
    spread = ("main...roadworthy/challenger",)
    done = run("git", "-C", home / "origin.git", "diff", "--name-only", *spread)
    return done.stdout.split()


def branches(home: Path) -> list[str]:
    return run(
        "git", "-C", home / "origin.git", "branch", "--format=%(refname:short)"
    ).stdout.split()


def test_github_offers_a_challenger_when_the_relation_has_turned(
    champion: Bundle, tmp_path: Path
) -> None:
    tools()
    repository, git = place(tmp_path, "github", champion, "debt helps now")
    act = Act(repository, tmp_path / "store")
    told = [word for pair in git.items() for word in ("--env", "=".join(pair))]
    done = act.run("schedule", *told, file="roadworthy-monitor.yml")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    assert job_results(done.stdout) == {"Monitor": "success", "Challenger": "success"}
    assert "--since 2026-02-" in (act.store / "artifacts/challenger/advice.txt").read_text()
    assert "gh pr create --base main --head roadworthy/challenger" in act.calls
    assert any(name.startswith("models/loans/") for name in offered(tmp_path)), offered(tmp_path)
    with open_registry(load_project(repository / "roadworthy.toml")) as registry:
        versions = {each.version: each for each in registry.versions("loans")}
        assert len(versions) == 2
        [(_, made)] = [each for each in versions.items() if each[0] != champion.version]
        assert made.tags["champion"] == champion.version[:12]
        assert "champion" not in made.aliases  # a person decides


def test_gitlab_offers_none_when_nothing_has_changed(champion: Bundle, tmp_path: Path) -> None:
    tools()
    repository, git = place(tmp_path, "gitlab", champion, "nothing, 0")
    told = {**git, "CI_PIPELINE_SOURCE": "schedule", "ROADWORTHY_TASK": "monitor"}
    variables = [word for pair in told.items() for word in ("--variable", "=".join(pair))]
    done = gitlab_local(repository, "--force-shell-executor", "--shell-isolation", *variables)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    assert "no challenger is advised; the first advice is: do nothing" in " ".join(said.split())
    assert branches(tmp_path) == ["main"]
