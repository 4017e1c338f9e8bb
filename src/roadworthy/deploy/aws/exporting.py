"""A deployment on AWS for Terraform: the parts of one of a name of its own, and a release."""

from __future__ import annotations

import base64
from typing import Any

from roadworthy.deploy.aws.fleet.releases import make
from roadworthy.deploy.aws.fleet.terraform import ACCOUNT, ARCHIVE, USER_DATA, stored
from roadworthy.deploy.aws.part import Naming
from roadworthy.deploy.aws.parts import all_parts
from roadworthy.deploy.aws.terraform import document
from roadworthy.deploy.cloud.terraform import Beside, apart
from roadworthy.errors import InputError
from roadworthy.project import AwsSection, Project


def export(
    naming: Naming, section: AwsSection, project: Project, beside: Beside | None
) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        naming: Names and tags of what `deploy apply` makes, beside which this is.
        section: `[deploy.NAME]`.
        project: The project.
        beside: A fleet's release; None: there is none yet.

    Raises:
        InputError: Secrets would stand in Terraform's state.
        OutsideError: The wheels of a release cannot be had.
    """
    own = Naming(apart(naming.deployment), naming.model)
    parts = all_parts(own, section, project)
    if not section.fleet or beside is None:
        return document(parts, section.region, {})
    if section.secrets:
        raise InputError(
            "secrets of a fleet would stand in Terraform's state",
            where=f"deploy.{naming.deployment}.secrets",
            fix="leave them out, or deploy the fleet by deploy apply",
        )
    release = make(own, section, project, beside.wanted, ACCOUNT, beside.cache, beside.folder)
    assert release.archive.path is not None
    release.archive.path.replace(beside.folder / ARCHIVE)
    template = next(part for part in release.parts if part.kind == "template")
    data = template.make.parameters["LaunchTemplateData"]["UserData"]
    (beside.folder / USER_DATA).write_bytes(base64.b64decode(data))
    parts |= {part.id: part for part in release.parts}
    return document(parts, section.region, stored(release.key))
