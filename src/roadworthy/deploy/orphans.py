"""Orphans: what carries Roadworthy's mark at a place, and belongs to no deployment that is known.

Known are the deployments of the project's file, and those that the registry has on record: other
destinations' and, where a team shares a registry, other people's. Nothing is taken for an orphan in
silence: they are listed, and removed by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from roadworthy.deploy._base import Tenant
from roadworthy.project import Deployment, DockerSection, Project

REHEARSAL = "verify-"
"""What the names of throw-away deployments begin with; on record or not, nobody misses one."""
_ENGINE = re.compile(r"this machine, engine \w+(?:, as (?P<name>.+))?")


def find_orphans(
    tenants: Iterable[Tenant], project: Project, place: str, recorded: Iterable[str]
) -> tuple[Tenant, ...]:
    """Those of a place's tenants that nobody knows.

    Args:
        tenants: What is there.
        project: For its deployments.
        place: The place, as its section calls it.
        recorded: What the registry has on record: `DEPLOYMENT on PLACE`.
    """
    known = {_called(name, section.place) for name, section in project.deploy.items()}
    on_record = {_called(*_split(each)) for each in recorded}
    known |= {each for each in on_record if not each[0].startswith(REHEARSAL)}
    at = _called("", place)[1]
    return tuple(each for each in tenants if (each.deployment, at) not in known)


def as_tenant(project: Project, section: Deployment, tenant: str) -> Project:
    """The project with that tenant of a section's place for its only deployment."""
    if isinstance(section, DockerSection):
        section = msgspec.structs.replace(section, name=tenant)
    return msgspec.structs.replace(project, deploy={tenant: section})


def _split(recorded: str) -> tuple[str, str]:
    name, _, place = recorded.partition(" on ")
    return name, place


def _called(name: str, place: str) -> tuple[str, str]:
    """What a deployment is called by there, and where; engines are all this machine's."""
    if (match := _ENGINE.fullmatch(place)) is not None:
        return match["name"] or name, "this machine"
    return name, place.rpartition("@")[2]
