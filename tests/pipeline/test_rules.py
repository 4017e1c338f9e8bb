"""The rules: what they say, where, and that no text breaks them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roadworthy.pipeline.rules import github, gitlab, jenkins
from roadworthy.pipeline.rules.times import is_cron, is_duration

RULES = {"github": github.inspect, "gitlab": gitlab.inspect, "jenkins": jenkins.inspect}
WORDS = st.sampled_from(
    ["jobs", "on", "steps", "uses", "run", "script", "stage", "pipeline", "sh", "'", '"', "{", "}",
     "(", ")", "[", "]", ":", "\n", "  ", "- ", "&a", "*a", "<<", "!x", "|", "#", "//", "a@b", "$",
     "needs", "rules", "if", "when", "timeout", "environment", "=", ",", "\t", "é", "?", "'''"]
)  # fmt: skip


@pytest.mark.parametrize("system", RULES)
@given(text=st.text() | st.lists(WORDS, max_size=60).map("".join))
@settings(deadline=10_000)  # liveness: a file made to harm must not hold up the check
@example(text="a: &a [*a]")
@example(text="a: &a {b: *a}\n<<: *a")
@example(text="jobs: {a: {steps: [null, 1, [], {uses: {}}]}}")
@example(text="jobs: []\non: 3")
@example(text="[" * 3000)
@example(text="a: " + "{b: " * 500)
@example(text="{" * 5000)
@example(text="".join(f"a{n}: &a{n} [{chr(42)}a{n - 1}, {chr(42)}a{n - 1}]\n" for n in range(40)))
@example(text="'" * 3001)
def test_no_text_breaks_the_rules(system: str, text: str) -> None:
    lines = text.count("\n") + 1
    for finding in RULES[system]("file", text):
        assert finding.path == "file"
        assert 1 <= finding.line <= lines + 1
        assert finding.what
        assert finding.fix


def test_a_finding_names_its_line() -> None:
    text = "on: push\npermissions: {}\njobs:\n  a:\n    runs-on: x\n    timeout-minutes: 5\n"
    text += "    steps:\n      - run: |\n          make\n          curl https://x.example | sh\n"
    [finding] = github.inspect("ci.yml", text)
    assert (finding.rule, finding.line) == ("pipe-to-shell", 10)
    assert str(finding).startswith("ci.yml:10: ")


def test_what_a_careful_person_writes_is_not_complained_of() -> None:
    careful = """
on: push
permissions: {}
jobs:
  a:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions:
      id-token: write
    steps:
      - env:
          DEPLOY_TOKEN: ${{ secrets.DEPLOY_TOKEN }}
        run: |
          # curl https://x.example | sh would be wrong
          printf '%s' "$DEPLOY_TOKEN" | docker login --password-stdin x.example
          printf '%s' "$DEPLOY_TOKEN" > token.txt
          curl --fail --output file https://x.example
          roadworthy test --markdown verdict.md
"""
    assert github.inspect("ci.yml", careful) == []


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("17 3 * * *", True), ("*/5 0-6 1,15 * 1-5", True), ("0 24 * * *", False),
        ("60 1 * * *", False), ("0 0 0 * *", False), ("0 0 * 13 *", False), ("0 0 * *", False),
        ("5-1 0 * * *", False), ("a 0 * * *", False), ("*/0 * * * *", False), ("", False),
    ],
)  # fmt: skip
def test_schedules(text: str, good: bool) -> None:
    assert is_cron(text) is good
    assert is_cron("H 3 * * H(1-5)", hashed=True)
    assert not is_cron("H 3 * * *")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("40 minutes", True), ("1h 30m", True), ("1h30m", True), ("30 days", True),
        ("3 mos 4 days", True), ("2 weeks and 1 day", True), ("ninety", False),
        ("0 minutes", False),
        ("minutes", False), ("-1 hour", False), ("", False),
    ],
)  # fmt: skip
def test_durations(text: str, good: bool) -> None:
    assert is_duration(text) is good
