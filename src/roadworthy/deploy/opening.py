"""Which target carries out a `[deploy.NAME]`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Target
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.kubernetes.target import KubernetesTarget
from roadworthy.deploy.ssh.target import SshTarget
from roadworthy.deploy.wanted import Wanted, check_certificate, make_release
from roadworthy.project import Deployment, KubernetesSection, Project, SshSection
from roadworthy.registry import resolve as find
from roadworthy.registry.opening import user_folder


@contextlib.contextmanager
def open_target(
    project: Project, name: str, section: Deployment, bundle: Bundle | None
) -> Iterator[Target]:
    """The place that a section names.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        bundle: What is to be served; None where that is not asked, as in a rollback.

    Raises:
        InputError: A file or a secret that the section names is missing.
    """
    if isinstance(section, KubernetesSection):
        yield KubernetesTarget(name, section, project, bundle)
        return
    with open_host(project, name, section, bundle) as target:
        yield target


@contextlib.contextmanager
def open_host(
    project: Project, name: str, section: SshSection, bundle: Bundle | None
) -> Iterator[SshTarget]:
    """A host that SSH reaches; the arguments are those of `open_target`."""
    cache = (
        Path(project.registry.cache)
        if project.registry.cache
        else user_folder("XDG_CACHE_HOME", ".cache")
    )
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        wanted = None
        if bundle is not None:
            release = make_release(
                bundle, project, section, Path(folder), f"{Layout(name).state}/log",
                lambda reference: find(reference, project),
            )  # fmt: skip
            wanted = Wanted(release, bundle, check_certificate(section))
        target = SshTarget(name, section, project, cache, wanted)
        try:
            yield target
        finally:
            target.close()
