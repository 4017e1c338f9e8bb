"""A deployment on Azure for Terraform: the parts of one of a name of its own."""

from __future__ import annotations

import base64
from typing import Any

from roadworthy.deploy.azure.fleet.releases import make
from roadworthy.deploy.azure.fleet.terraform import ARCHIVE, USER_DATA, stored
from roadworthy.deploy.azure.fleet.wanted import fleet_parts
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.azure.terraform import document
from roadworthy.deploy.azure.wanted import resources
from roadworthy.deploy.cloud.terraform import Beside, apart
from roadworthy.monitor.alarms.azure import SETS
from roadworthy.project import AzureSection, Project


def all_parts(naming: Naming, section: AzureSection, project: Project) -> dict[str, Resource]:
    """Everything but releases, by id, in the order in which it is made.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        project: For `[serve]` and `[monitor]`.
    """
    made = fleet_parts if section.fleet else resources
    return {part.id: part for part in made(naming, section, project)}


def export(
    naming: Naming, section: AzureSection, project: Project, beside: Beside | None
) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        naming: Names and tags of what `deploy apply` makes, beside which this is.
        section: `[deploy.NAME]`.
        project: The project.
        beside: A fleet's release; None: there is none yet.

    Raises:
        OutsideError: The wheels of a release cannot be had.
    """
    own = Naming(naming.subscription, apart(naming.deployment), naming.model)
    parts = all_parts(own, section, project)
    if not section.fleet or beside is None:
        return document(parts, own, {})
    release = make(own, section, project, beside.wanted, beside.cache, beside.folder)
    release.archive.replace(beside.folder / ARCHIVE)
    machines = next(part for part in release.parts if part.kind == SETS)
    login = machines.body["properties"]["virtualMachineProfile"]["osProfile"]
    (beside.folder / USER_DATA).write_bytes(base64.b64decode(login["customData"]))
    parts |= {part.id: part for part in release.parts}
    return document(parts, own, stored(release.key))
