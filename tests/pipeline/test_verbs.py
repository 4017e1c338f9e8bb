"""The commands of the jobs are verbs that Roadworthy has, with options that they take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import typer.main

from roadworthy.cli import app
from roadworthy.pipeline import SYSTEMS
from roadworthy.pipeline.stages import jobs
from tests.pipeline.projects import full_project

COMING = {"image", "deploy", "monitor", "advise", "retrain"}  # checked as soon as they are there


def commands(system: str) -> Iterator[list[str]]:
    """Every call of `roadworthy` in the jobs, as words."""
    for job in jobs(full_project(lint=(), tests=(), fetch=()), system):
        for command in job.commands:
            for part in re.split(r"\|\||&&|[{};]|> ", command.line):
                words = shlex.split(part)
                if words[:1] == ["roadworthy"]:
                    yield words[1:]


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_job_calls_verbs_that_exist_with_options_that_they_take(system: str) -> None:
    called = list(commands(system))
    assert len(called) > 15
    for words in called:
        command, rest = typer.main.get_command(app), list(words)
        while (known := getattr(command, "commands", None)) is not None:
            if rest[0] not in known:
                assert words[0] in COMING, f"there is no verb {words}"
                break
            command = known[rest.pop(0)]
        else:
            command.make_context(words[0], rest)
