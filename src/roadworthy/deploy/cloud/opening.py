"""Which provider makes what a section of a cloud asks for, and how its machine is reached."""

from __future__ import annotations

import importlib
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from roadworthy.deploy._base import Target
from roadworthy.deploy.cloud.provider import Machine, Provider
from roadworthy.deploy.wanted import Wanted
from roadworthy.errors import OutsideError
from roadworthy.project import (
    AwsSection,
    AzureSection,
    CloudSection,
    DeploySection,
    GcpSection,
    Project,
    SshSection,
)


def open_provider(
    project: Project, name: str, section: CloudSection, model: str | None
) -> Provider:
    """The provider of a section; libraries of clouds are imported here and nowhere before.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        model: Name of the model; None where that is not asked, as in a rollback.
    """
    if isinstance(section, AwsSection):
        _require("boto3", "aws")
        from roadworthy.deploy.aws.provider import open_aws

        return open_aws(project, name, section, model)
    if isinstance(section, AzureSection):
        _require("azure.identity", "azure")
        from roadworthy.deploy.azure.fleet.provider import FleetProvider
        from roadworthy.deploy.azure.provider import open_as, open_azure

        if section.fleet:
            return open_as(FleetProvider, project, name, section, model)
        return open_azure(project, name, section, model)
    if isinstance(section, GcpSection):
        _require("googleapiclient.discovery", "gcp")
        from roadworthy.deploy.gcp.provider import open_gcp

        return open_gcp(project, name, section, model)
    raise NotImplementedError(type(section).__name__)


def open_fleet(
    project: Project, name: str, section: CloudSection, wanted: Wanted | None, cache: Path
) -> AbstractContextManager[Target]:
    """The target of a fleet: machines behind a balancer, which nobody logs in to.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        cache: Where wheels are kept.
    """
    if isinstance(section, AwsSection):
        _require("boto3", "aws")
        from roadworthy.deploy.aws.fleet.opening import open_fleet as open_aws_fleet

        return open_aws_fleet(project, name, section, wanted, cache)
    if isinstance(section, AzureSection):
        _require("azure.identity", "azure")
        from roadworthy.deploy.azure.fleet.opening import open_fleet as open_azure_fleet

        return open_azure_fleet(project, name, section, wanted, cache)
    if isinstance(section, GcpSection):
        _require("googleapiclient.discovery", "gcp")
        from roadworthy.deploy.gcp.fleet.opening import open_fleet as open_gcp_fleet

        return open_gcp_fleet(project, name, section, wanted, cache)
    raise NotImplementedError(type(section).__name__)


def _require(module: str, extra: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError:
        raise OutsideError(
            f"the libraries of {extra} are missing", fix=f"pip install 'roadworthy[{extra}]'"
        ) from None


def as_host(section: CloudSection, machine: Machine, folder: Path) -> SshSection:
    """The section of the machine as a host, whose only known key is what the cloud said.

    Args:
        section: The cloud's.
        machine: The machine.
        folder: Where the file of known host keys is written.
    """
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as known:
        known.writelines(f"{machine.address} {key}\n" for key in machine.host_keys)
    shared = {each: getattr(section, each) for each in _names(DeploySection)}
    return SshSection(
        **shared,
        host=f"{machine.user}@{machine.address or 'ADDRESS'}",
        identity=section.identity,
        known_hosts=known.name,
        proxy=machine.proxy or None,
        upgrades=section.upgrades,
    )


def _names(section: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(section)]
