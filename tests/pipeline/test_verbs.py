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
            assert rest[0] in known, f"there is no verb {words}"
            command = known[rest.pop(0)]
        command.make_context(words[0], rest)
