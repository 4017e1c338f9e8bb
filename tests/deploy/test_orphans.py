"""What was left behind is told from what is known: by the project, and by the registry."""

from __future__ import annotations

import msgspec
import pytest

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.host.tenants import parse_tenants
from roadworthy.deploy.orphans import as_tenant, find_orphans
from roadworthy.project import DockerSection, Project, SshSection

SSH = SshSection(host="root@one.example")


def tenants(*names: str) -> list[Tenant]:
    return [Tenant(deployment=name, model="adult", parts=("folder x",)) for name in names]


def names(found: tuple[Tenant, ...]) -> list[str]:
    return [each.deployment for each in found]


def test_deployments_of_the_project_at_that_place_are_known_and_others_are_not() -> None:
    project = Project(deploy={"prod": SSH, "trial": SshSection(host="root@two.example")})
    found = find_orphans(tenants("prod", "trial", "old"), project, SSH.place, [])
    assert names(found) == ["trial", "old"]


def test_what_the_registry_has_on_record_there_is_known_whoever_logs_in() -> None:
    project = Project(deploy={"prod": SSH})
    recorded = ["beta on admin@one.example", "gamma on root@two.example"]
    found = find_orphans(tenants("prod", "beta", "gamma"), project, SSH.place, recorded)
    assert names(found) == ["gamma"]


@pytest.mark.parametrize("engine", ["auto", "docker", "podman"])
def test_containers_are_known_by_the_name_they_are_called_by(engine: str) -> None:
    section = DockerSection(name="shown", engine=engine)  # type: ignore[arg-type]
    project = Project(deploy={"here": section})
    recorded = ["there on this machine, engine docker", "x on this machine, engine auto, as y"]
    there = tenants("here", "shown", "there", "x", "y")
    assert names(find_orphans(there, project, section.place, recorded)) == ["here", "x"]


def test_an_orphan_is_taken_away_at_the_place_where_it_is_and_by_its_own_name() -> None:
    section = DockerSection(name="shown", port=8123)
    project = Project(deploy={"here": section, "prod": SSH})
    (left,) = as_tenant(project, section, "old").deploy.items()
    assert left == ("old", msgspec.structs.replace(section, name="old"))
    assert as_tenant(project, SSH, "old").deploy == {"old": SSH}


def test_a_host_that_lists_a_broken_mark_is_still_understood() -> None:
    listed = (
        'prod folder /opt/roadworthy/prod {"deployment":"prod","model":"adult"}\n'
        "old unit /etc/systemd/system/roadworthy-old@.service \n"
        "old settings /etc/roadworthy/old {broken\n"
    )
    old, prod = parse_tenants(listed)
    assert (prod.model, prod.parts) == ("adult", ("folder /opt/roadworthy/prod",))
    assert (old.model, len(old.parts)) == ("", 2)
    assert parse_tenants("") == ()
