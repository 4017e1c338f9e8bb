"""`[deploy.NAME] ci`: which jobs of a CI system a cloud lets deploy."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from roadworthy.project._range import Range

_PATH = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)+", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)
_EXACT = "named exactly: a pattern (* or ?) would let jobs of others in"


class Ci(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The jobs that may deploy: those whose token names this subject, and no others.

    Attributes:
        system: Whose jobs.
        repository: `OWNER/NAME`; a path of groups in GitLab; the address of the job in Jenkins.
        environment: In GitHub: the environment that the jobs run in.
        branch: In GitLab: the branch that they run on; in GitHub too, without an environment.
        issuer: The address of an own GitLab, or of Jenkins.
    """

    system: Literal["github", "gitlab", "jenkins"]
    repository: str
    environment: str | None = None
    branch: str | None = None
    issuer: str | None = None

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        given = ("repository", "environment", "branch", "issuer")
        exact = [
            Range(not re.search(r"[*?]", getattr(self, key) or ""), f"ci.{key}", _EXACT)
            for key in given
        ]
        branch = self.branch is None or bool(_BRANCH.fullmatch(self.branch))
        named = self.environment is None or bool(_ENVIRONMENT.fullmatch(self.environment))
        signed = self.issuer is None or _is_address(self.issuer)
        return [
            *exact,
            Range(branch, "ci.branch", "a branch's name"),
            Range(named, "ci.environment", "the name of an environment, like production"),
            Range(signed, "ci.issuer", "an address, https://HOST"),
            *self._of_system(),
        ]

    def _of_system(self) -> list[Range]:
        path, both = bool(_PATH.fullmatch(self.repository)), (self.environment, self.branch)
        if self.system == "github":
            path = path and self.repository.count("/") == 1
            return [
                Range(path, "ci.repository", "OWNER/NAME"),
                Range(both.count(None) == 1, "ci.environment", "given, or branch: one of them"),
                Range(self.issuer is None, "ci.issuer", "left out with GitHub"),
            ]
        if self.system == "gitlab":
            told = self.environment is None
            return [
                Range(path, "ci.repository", "GROUP/NAME"),
                Range(told, "ci.environment", "left out: GitLab's subject knows no environment"),
                Range(self.branch is not None, "ci.branch", "the branch of releases"),
            ]
        return [
            Range(_is_address(self.repository), "ci.repository", "https://HOST/job/NAME/"),
            Range(both == (None, None), "ci.branch", "left out: the subject is the job's address"),
            Range(self.issuer is not None, "ci.issuer", "the address of your Jenkins"),
        ]


def _is_address(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme == "https" and bool(parts.hostname) and not (parts.query or parts.username)
