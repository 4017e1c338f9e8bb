"""A deployment on Google Cloud for Terraform: the parts of one of a name of its own."""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.cloud.terraform import Beside, apart
from roadworthy.deploy.gcp.comparing import told
from roadworthy.deploy.gcp.fleet.releases import make
from roadworthy.deploy.gcp.fleet.terraform import ARCHIVE, SCRIPT, stored
from roadworthy.deploy.gcp.fleet.wanted import fleet_parts
from roadworthy.deploy.gcp.registry import registry_parts
from roadworthy.deploy.gcp.resource import Naming, Resource
from roadworthy.deploy.gcp.terraform import document
from roadworthy.deploy.gcp.wanted import resources
from roadworthy.project import GcpSection, Project


def all_parts(naming: Naming, section: GcpSection, project: Project) -> dict[str, Resource]:
    """Everything but releases, by id, in the order in which it is made.

    Args:
        naming: Names and marks.
        section: `[deploy.NAME]`.
        project: For `[serve]` and `[monitor]`.
    """
    made = fleet_parts if section.fleet else resources
    wanted = (*made(naming, section, project), *registry_parts(naming, section))
    return {part.id: part for part in wanted}


def export(
    naming: Naming, section: GcpSection, project: Project, beside: Beside | None
) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        naming: Names and marks of what `deploy apply` makes, beside which this is.
        section: `[deploy.NAME]`.
        project: The project.
        beside: A fleet's release; None: there is none yet.

    Raises:
        OutsideError: The wheels of a release cannot be had.
    """
    own = Naming(naming.project, apart(naming.deployment), naming.model)
    parts = all_parts(own, section, project)
    if not section.fleet or beside is None:
        return document(parts, own, section, {})
    release = make(own, section, project, beside.wanted, beside.cache, beside.folder)
    release.archive.replace(beside.folder / ARCHIVE)
    template = next(part for part in release.parts if part.collection == "instanceTemplates")
    script = told(template.body["properties"]["metadata"]["items"])["startup-script"]
    (beside.folder / SCRIPT).write_text(script)
    parts |= {part.id: part for part in release.parts}
    return document(parts, own, section, stored(release.key))
