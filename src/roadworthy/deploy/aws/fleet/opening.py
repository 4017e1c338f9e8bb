"""Open a fleet: work out its release, and see who signs in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from roadworthy.deploy.aws.fleet.releases import make
from roadworthy.deploy.aws.fleet.target import FleetTarget
from roadworthy.deploy.aws.provider import open_aws
from roadworthy.deploy.cloud.fleet_base import opened
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import AwsSection, Project


def open_fleet(
    project: Project, name: str, section: AwsSection, wanted: Wanted | None, cache: Path
) -> AbstractContextManager[FleetTarget]:
    """A fleet on AWS.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        cache: Where wheels are kept.
    """
    model = wanted.release.model if wanted is not None else None
    provider = open_aws(project, name, section, model)
    naming, account = provider.naming, provider.account
    return opened(
        name, wanted,
        lambda asked, folder: make(naming, section, project, asked, account.id, cache, folder),
        lambda release, kept: FleetTarget(provider, project, section, wanted, release, kept),
    )  # fmt: skip
