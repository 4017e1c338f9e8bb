"""Which target carries out a `[deploy.NAME]`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Target
from roadworthy.deploy.cloud.opening import as_host, open_fleet, open_provider
from roadworthy.deploy.cloud.provider import Machine
from roadworthy.deploy.cloud.target import CloudTarget
from roadworthy.deploy.docker.opening import open_docker
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.kubernetes.target import KubernetesTarget
from roadworthy.deploy.ssh.target import SshTarget
from roadworthy.deploy.wanted import Wanted, check_authority, check_certificate, make_release
from roadworthy.project import (
    CloudSection,
    Deployment,
    DeploySection,
    DockerSection,
    KubernetesSection,
    Project,
    SshSection,
)
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
        OutsideError: The library of a cloud is missing, or there are no credentials.
    """
    if isinstance(section, CloudSection) and section.fleet:
        with (
            wanted_of(project, name, section, bundle) as wanted,
            open_fleet(project, name, section, wanted, cache_of(project)) as fleet,
        ):
            yield fleet
    elif isinstance(section, CloudSection):
        with open_cloud(project, name, section, bundle) as cloud:
            yield cloud
    elif isinstance(section, DockerSection):
        with open_docker(project, name, section, bundle) as engine:
            yield engine
    elif isinstance(section, KubernetesSection):
        yield KubernetesTarget(name, section, project, bundle)
    else:
        with open_host(project, name, section, bundle) as host:
            yield host


@contextlib.contextmanager
def open_host(
    project: Project, name: str, section: SshSection, bundle: Bundle | None
) -> Iterator[SshTarget]:
    """A host that SSH reaches; the arguments are those of `open_target`."""
    with wanted_of(project, name, section, bundle) as wanted:
        target = SshTarget(name, section, project, cache_of(project), wanted)
        try:
            yield target
        finally:
            target.close()


@contextlib.contextmanager
def open_cloud(
    project: Project, name: str, section: CloudSection, bundle: Bundle | None
) -> Iterator[CloudTarget]:
    """A machine in a cloud; the arguments are those of `open_target`."""
    with (
        wanted_of(project, name, section, bundle) as wanted,
        tempfile.TemporaryDirectory(prefix="roadworthy-") as folder,
    ):
        model = wanted.release.model if wanted is not None else None

        def on(machine: Machine) -> SshTarget:
            host = as_host(section, machine, Path(folder))
            beside = provider.beside(Layout(name))
            return SshTarget(name, host, project, cache_of(project), wanted, beside)

        provider = open_provider(project, name, section, model)
        target = CloudTarget(name, provider, on, model)
        try:
            yield target
        finally:
            target.close()


@contextlib.contextmanager
def wanted_of(
    project: Project, name: str, section: DeploySection, bundle: Bundle | None
) -> Iterator[Wanted | None]:
    """What a bundle is with a section's settings; None for none; raises as `open_target`."""
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        if bundle is None:
            yield None
            return
        release = make_release(
            bundle, project, section, Path(folder), f"{Layout(name).state}/log",
            lambda reference: find(reference, project),
        )  # fmt: skip
        yield Wanted(release, bundle, check_certificate(section), check_authority(section))


def cache_of(project: Project) -> Path:
    """Where wheels are kept."""
    if project.registry.cache:
        return Path(project.registry.cache)
    return user_folder("XDG_CACHE_HOME", ".cache")
