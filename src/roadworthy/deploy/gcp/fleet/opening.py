"""Open a fleet: work out its release, and see who signs in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from roadworthy.deploy.cloud.fleet_base import opened
from roadworthy.deploy.gcp.fleet.releases import make
from roadworthy.deploy.gcp.fleet.target import FleetTarget
from roadworthy.deploy.gcp.provider import open_gcp
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import GcpSection, Project


def open_fleet(
    project: Project, name: str, section: GcpSection, wanted: Wanted | None, cache: Path
) -> AbstractContextManager[FleetTarget]:
    """A fleet on Google Cloud.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        cache: Where wheels are kept.
    """
    model = wanted.release.model if wanted is not None else None
    provider = open_gcp(project, name, section, model)
    return opened(
        name, wanted,
        lambda asked, folder: make(provider.naming, section, project, asked, cache, folder),
        lambda release, kept: FleetTarget(provider, project, section, wanted, release, kept),
    )  # fmt: skip
