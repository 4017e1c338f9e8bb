"""Everything that a section asks of AWS but releases."""

from __future__ import annotations

from roadworthy.deploy.aws.ci import ci_parts
from roadworthy.deploy.aws.fleet.wanted import fleet_parts
from roadworthy.deploy.aws.part import Naming, Part
from roadworthy.deploy.aws.registry import registry_parts
from roadworthy.deploy.aws.wanted import machine_parts
from roadworthy.deploy.aws.watching import watching_parts
from roadworthy.project import AwsSection, Project


def all_parts(naming: Naming, section: AwsSection, project: Project) -> dict[str, Part]:
    """The parts by id, in the order in which they are made.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        project: For `[monitor]`.
    """
    wanted = fleet_parts(naming, section) if section.fleet else machine_parts(naming, section)
    wanted += registry_parts(naming, section)
    wanted += watching_parts(naming, section, project) + ci_parts(naming, section)
    return {part.id: part for part in wanted}
