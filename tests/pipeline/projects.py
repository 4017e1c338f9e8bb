"""Projects whose files are looked at, and the files themselves in a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roadworthy.pipeline import SYSTEMS, write
from roadworthy.project import Project
from tests.pipeline.tools import run

ALL = (
    "check", "train", "test", "package", "image", "staging", "production", "monitor", "rollback",
)  # fmt: skip


def make_project(**options: Any) -> Project:
    """A project with `[pipeline]` as given."""
    project = Project().override("data", path="data/churn.csv", target="churn")
    return project.override("project", name="churn").override("pipeline", **options)


def full_project(**options: Any) -> Project:
    """A project that uses everything a pipeline offers."""
    wanted = {
        "stages": ALL,
        "lint": ("ruff check .",),
        "tests": ("python -m pytest -q",),
        "fetch": ("dvc pull",),
        "targets": ("web",),
        "clouds": ("aws", "azure", "gcp"),
        "sign": True,
        "register": True,
        "image": "registry.example/team/churn",
    }
    project = make_project(**{**wanted, **options}).override("monitor", counts="counts")
    return project.override("serve", keys="keys.json", log_folder="log")


SHAPES = {
    "the default": make_project(),
    "everything": full_project(),
    "several targets": full_project(targets=("web", "edge-eu"), clouds=("aws",)),
    "no clouds and no nights": full_project(clouds=(), nightly=None, image="ghcr.io/acme/churn"),
    "only a check": make_project(stages=("check",), lint=("ruff check .",)),
    "a strange path": make_project(code=("src/it's",)).override("data", path="data dir/ch'urn.csv"),
    "strange words": make_project(lint=("grep -c \"it's $HOME\" 'a\\b'",), branch="trunk/1.x"),
}


def repository(folder: Path, project: Project, system: str) -> Path:
    """A Git repository with the system's files."""
    folder.mkdir(parents=True, exist_ok=True)
    write(project, SYSTEMS[system], folder)
    commit(folder, f"{system}.com")
    return folder


def commit(folder: Path, host: str) -> None:
    """Commit everything on `main`, with a remote called origin."""
    git = ("git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.invalid")
    if not (folder / ".git").exists():
        run(*git, "init", "--quiet", "--initial-branch", "main")
        run(*git, "remote", "add", "origin", f"https://{host}/acme/churn.git")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--allow-empty", "--message", "A commit")
    run(*git, "update-ref", "refs/remotes/origin/main", "HEAD")
    run(*git, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
