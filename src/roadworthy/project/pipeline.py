"""`[pipeline]`: which stages the files for CI hold, and what they run on."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from roadworthy.project._range import Range

StageName = Literal[
    "check", "train", "test", "package", "image", "staging", "production", "monitor", "rollback"
]
CloudName = Literal["aws", "azure", "gcp"]
_BEFORE: dict[str, tuple[str, ...]] = {
    "test": ("train",),
    "package": ("train", "test"),
    "image": ("package",),
    "staging": ("package",),
    "production": ("staging",),
}
_TARGETED = {"staging", "production", "rollback"}
_CRON = re.compile(r"([\d*/,-]+ ){4}[\d*/,-]+")
_IMAGE = re.compile(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class PipelineSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[pipeline]`: which stages the files for CI hold, and what they run on.

    Attributes:
        stages: The stages that are written.
        branch: The branch that releases come from.
        python: The version of Python that jobs run on.
        install: Commands that make `roadworthy` and the project's own packages available; without
            any, this version of Roadworthy is installed.
        fetch: Commands that bring the table, such as `dvc pull`.
        lint: The project's own commands that look at its code.
        tests: The project's own tests.
        code: Patterns of files that a trained model depends on, besides the table and the project
            file.
        nightly: When the branch is trained and tested anew: five fields of cron, in UTC.
        monitoring: When the service is looked at.
        targets: The `[deploy.NAME]` that releases go to.
        clouds: Where jobs that deploy sign in, with a token of the CI system and no stored key.
        sign: Whether a release is signed with the key in the secret ROADWORTHY_SIGNING_KEY.
        register: Whether a release is put into the registry as challenger.
        image: The image's name without a tag; None: the CI system's own registry.
        require_scan: Whether an image that no scanner looked at is not pushed.
        keep_days: How long artifacts are kept.
        github_runner: The label of machines that run GitHub's jobs.
        gitlab_image: The image that GitLab's jobs run in.
        jenkins_agent: The label of Jenkins' agents.
        own: Parts of the files that a person looks after; `--check` says nothing of them.
    """

    stages: tuple[StageName, ...] = ("check", "train", "test", "package")
    branch: str = "main"
    python: str = "3.12"
    install: tuple[str, ...] = ()
    fetch: tuple[str, ...] = ()
    lint: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    code: tuple[str, ...] = ("*.py", "src/**/*.py")
    nightly: str | None = "17 3 * * *"
    monitoring: str = "41 5 * * *"
    targets: tuple[str, ...] = ()
    clouds: tuple[CloudName, ...] = ()
    sign: bool = False
    register: bool = False
    image: str | None = None
    require_scan: bool = False
    keep_days: int = 30
    github_runner: str = "ubuntu-24.04"
    gitlab_image: str = "python:3.12-slim-bookworm"
    jenkins_agent: str = "linux"
    own: tuple[str, ...] = ()

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        return [
            Range(bool(self.stages), "stages", "one stage or more"),
            *(
                Range(stage in self.stages, "stages", f"with {stage!r} when {name!r} is among them")
                for name, before in _BEFORE.items()
                if name in self.stages
                for stage in before
            ),
            Range(
                bool(self.targets) or not _TARGETED & set(self.stages),
                "targets",
                "one or more when a stage deploys",
            ),
            Range(all(map(_WORD.fullmatch, self.targets)), "targets", "names of [deploy.NAME]"),
            Range(
                self.image is None or bool(_IMAGE.fullmatch(self.image)),
                "image",
                "a registry and a name in lower case, without a tag",
            ),
            Range(_is_branch(self.branch), "branch", "a branch's name"),
            Range(bool(re.fullmatch(r"3\.1[1-3]", self.python)), "python", "3.11, 3.12 or 3.13"),
            Range(
                self.nightly is None or bool(_CRON.fullmatch(self.nightly)),
                "nightly",
                "five fields of cron, like 17 3 * * *",
            ),
            Range(bool(_CRON.fullmatch(self.monitoring)), "monitoring", "five fields of cron"),
            Range(1 <= self.keep_days <= 90, "keep_days", "between 1 and 90"),
            *(
                Range(bool(value) and value.isprintable() and " " not in value, key, "one word")
                for key in ("github_runner", "gitlab_image", "jenkins_agent")
                for value in (getattr(self, key),)
            ),
            *(
                Range(all(map(_is_line, getattr(self, key))), key, "commands of one line each")
                for key in ("install", "fetch", "lint", "tests", "code")
            ),
        ]


def _is_branch(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", name)) and ".." not in name


def _is_line(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()
