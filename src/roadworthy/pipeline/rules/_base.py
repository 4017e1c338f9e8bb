"""What a rule says."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A rule that a file breaks.

    Attributes:
        rule: The rule's name.
        path: The file.
        line: The line, counted from 1.
        what: What is wrong there.
        fix: What to do.
    """

    rule: str
    path: str
    line: int
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what} [{self.rule}]"


class Findings:
    """Gathers what the rules say of one file.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.all: list[Finding] = []

    def add(self, rule: str, line: int, what: str, fix: str) -> None:
        """Take down a finding, once."""
        finding = Finding(rule, self.path, line, what, fix)
        if finding not in self.all:
            self.all.append(finding)

    def sorted(self) -> list[Finding]:
        """The findings in the order of the file's lines."""
        return sorted(self.all, key=lambda finding: (finding.line, finding.rule))
