"""The command lines of a plan, typed into the real `aws`, do what `deploy apply` does."""

from __future__ import annotations

import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from awscli.clidriver import create_clidriver

from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.plan import Step
from roadworthy.project import AwsSection, Ci
from tests.deploy.aws_server import Aws
from tests.deploy.test_aws import (
    REGION,
    apply,
    aws,
    current,
    destroy,
    identity,
    provider,
    server,
    tagged,
)

__all__ = ["aws", "identity", "server"]  # fixtures


@pytest.fixture
def section(identity: str) -> AwsSection:
    """Everything that a machine can have."""
    return AwsSection(
        region=REGION, identity=identity, access="ssm", database="db.t4g.micro",
        database_from=("192.0.2.0/24",), notify=("ops@example.org",),
        ci=Ci(system="github", repository="acme/churn", environment="production"),
    )  # fmt: skip


def lines(step: Step) -> list[list[str]]:
    """The words of a step's command lines, which stand one after the other."""
    words = shlex.split(step.command)
    found = [list(each) for ends, each in groupby(words, lambda word: word == "&&") if not ends]
    assert all(each[0] == "aws" for each in found)
    return found


def typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Carried out by the program itself, in this process, for it takes a second to start."""
    code = create_clidriver().main(words[1:])  # one of it takes one command
    assert code == 0, f"{words[1:3]}: {capsys.readouterr().err}"


def test_typed_in_by_hand_they_make_and_take_away_what_apply_does(
    aws: Aws, section: AwsSection, capsys: pytest.CaptureFixture[str]
) -> None:
    one = provider(section)
    for step in one.steps():
        one.observe()
        part = one.parts[step.id]
        known = one.known | one._looked_up(part)
        for words in lines(step):
            if f"${{{step.id}}}" in words[-1]:  # what was just made
                one.observe()
                known |= one.known
            typed([fill(each, known) for each in words], capsys)
    assert apply(provider(section)) == []  # all is as wanted
    assert one.observe().registry
    for step in one.removal():
        for words in lines(step):
            typed(words, capsys)
    assert tagged() == []
    found = provider(section).observe()
    assert (found.steps, found.surplus) == ({}, ())


def test_the_real_program_sees_what_apply_made_and_that_it_is_gone(
    aws: Aws, section: AwsSection
) -> None:
    def asked(*words: str) -> str:
        program = Path(sys.executable).with_name("aws")
        line = [str(program), *words, "--region", REGION, "--output", "text"]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    mine = f"Name=tag:roadworthy-deployment,Values={current.name}"
    machines = ("ec2", "describe-instances", "--filters", mine, "--query",
                "Reservations[].Instances[].[State.Name,MetadataOptions.HttpTokens]")  # fmt: skip
    name = f"roadworthy-{current.name}"
    databases = ("rds", "describe-db-instances", "--query",
                 f"DBInstances[?DBInstanceIdentifier=='{name}'].Engine")  # fmt: skip
    assert asked(*machines) == asked(*databases) == ""
    apply(provider(section))
    assert asked(*machines).split() == ["running", "required"]
    assert asked(*databases) == "postgres"
    destroy(provider(section))
    assert asked(*machines).split()[:1] in ([], ["terminated"])
    assert asked(*databases) == ""
