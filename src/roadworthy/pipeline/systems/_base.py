"""What every CI system can do."""

from __future__ import annotations

import importlib.metadata
from typing import Protocol

from roadworthy.pipeline.parts import Plan
from roadworthy.pipeline.rules import Finding
from roadworthy.project import PipelineSection, Project


class System(Protocol):
    """A CI system whose files are written."""

    name: str
    title: str

    def plan(self, project: Project) -> tuple[Plan, ...]:
        """The files that the project's stages make."""
        ...

    def inspect(self, path: str, text: str, options: PipelineSection) -> list[Finding]:
        """What the rules have to say about one of the files, whoever wrote it."""
        ...


def about(system: str) -> str:
    """The line at the head of every file."""
    return (
        f"Written by `roadworthy pipeline {system}`. What stands between marks is written anew, "
        "unless you change it; the rest is yours."
    )


def installing(options: PipelineSection) -> tuple[str, ...]:
    """The commands that make `roadworthy` available."""
    if options.install:
        return options.install
    version = importlib.metadata.version("roadworthy")
    return (f'python -m pip install --quiet "roadworthy[pipeline,registry,train]=={version}"',)


def image_registry(options: PipelineSection) -> str | None:
    """The host that images go to; None: the CI system's own."""
    return None if options.image is None else options.image.partition("/")[0]


def service_variable(target: str, options: PipelineSection) -> str:
    """The variable that holds the address of a target's service."""
    if len(options.targets) == 1:
        return "SERVICE_URL"
    return f"SERVICE_URL_{target.upper().replace('-', '_').replace('.', '_')}"
