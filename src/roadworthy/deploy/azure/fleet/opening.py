"""Open a fleet: work out its release, and see who signs in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.fleet.releases import make
from roadworthy.deploy.azure.fleet.target import FleetTarget
from roadworthy.deploy.azure.provider import open_as
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import AzureSection, Project
from roadworthy.registry.opening import user_folder


@contextlib.contextmanager
def open_fleet(
    project: Project, name: str, section: AzureSection, wanted: Wanted | None, cache: Path
) -> Iterator[FleetTarget]:
    """A fleet on Azure.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        cache: Where wheels are kept.
    """
    model = wanted.release.model if wanted is not None else None
    provider = open_as(FleetProvider, project, name, section, model)
    evidence = user_folder("XDG_DATA_HOME", ".local/share") / "deployments" / "evidence" / name
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        release = None
        if wanted is not None:
            release = make(provider.naming, section, project, wanted, cache, Path(folder))
        target = FleetTarget(provider, project, section, wanted, release, Evidence(evidence))
        try:
            yield target
        finally:
            target.close()
