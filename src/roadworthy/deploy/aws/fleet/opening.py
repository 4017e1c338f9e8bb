"""Open a fleet: work out its release, and see who signs in."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from roadworthy.deploy.aws.account import Account
from roadworthy.deploy.aws.fleet.releases import make
from roadworthy.deploy.aws.fleet.target import FleetTarget
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.provider import AwsProvider
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import AwsSection, Project
from roadworthy.registry.opening import user_folder


@contextlib.contextmanager
def open_fleet(project: Project, name: str, section: AwsSection, wanted: Wanted | None, cache: Path
               ) -> Iterator[FleetTarget]:  # fmt: skip
    """A fleet on AWS.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        cache: Where wheels are kept.
    """
    account = Account(section.region, section.profile)
    naming = Naming(name, wanted.release.model if wanted is not None else "")
    evidence = user_folder("XDG_DATA_HOME", ".local/share") / "deployments" / "evidence" / name
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        release = None
        if wanted is not None:
            release = make(naming, section, project, wanted, account.id, cache, Path(folder))
        provider = AwsProvider(naming, section, project, account)
        target = FleetTarget(provider, project, section, wanted, release, evidence)
        try:
            yield target
        finally:
            target.close()
