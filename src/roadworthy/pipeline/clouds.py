"""Which clouds a pipeline signs in to: those whose deployments let its jobs in."""

from __future__ import annotations

import msgspec

from roadworthy.errors import ProjectError
from roadworthy.project import AwsSection, AzureSection, Ci, CloudName, CloudSection, Project

_STAGES = ("staging", "production")


def with_clouds(project: Project, system: str) -> Project:
    """The project, with `[pipeline] clouds` as `[deploy.NAME] ci` of its targets says besides.

    Args:
        project: The project.
        system: `github`, `gitlab` or `jenkins`.

    Raises:
        ProjectError: A target lets in jobs that the pipeline does not have.
    """
    clouds = list(project.pipeline.clouds)
    for name in project.pipeline.targets:
        section = project.deploy.get(name)
        if isinstance(section, CloudSection) and section.ci and section.ci.system == system:
            _check(project, name, section.ci)
            clouds.append(_cloud(section))
    found = tuple(dict.fromkeys(clouds))
    if found == project.pipeline.clouds:
        return project
    pipeline = msgspec.structs.replace(project.pipeline, clouds=found)
    return msgspec.structs.replace(project, pipeline=pipeline)


def _cloud(section: CloudSection) -> CloudName:
    if isinstance(section, AwsSection):
        return "aws"
    return "azure" if isinstance(section, AzureSection) else "gcp"


def _check(project: Project, name: str, ci: Ci) -> None:
    """Jobs that deploy run in the environment of their stage, on the branch of releases."""
    if ci.environment is not None and ci.environment not in _STAGES:
        raise ProjectError(
            f"no job that deploys runs in the environment {ci.environment}",
            where=f"deploy.{name}.ci.environment", fix=" or ".join(_STAGES),
        )  # fmt: skip
    if ci.branch is not None and ci.system == "github":
        raise ProjectError(
            "jobs that deploy run in an environment, so their tokens do not name the branch",
            where=f"deploy.{name}.ci.branch", fix=f"environment = {' or '.join(_STAGES)}",
        )  # fmt: skip
    if ci.branch is not None and ci.branch != project.pipeline.branch:
        raise ProjectError(
            f"jobs that deploy run on the branch {project.pipeline.branch}",
            where=f"deploy.{name}.ci.branch", fix="the same as [pipeline] branch",
        )  # fmt: skip
