"""A database with a private address, beside a machine and beside a fleet on Azure."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.provider import AzureProvider
from tests.deploy.azure import test_azure_fleet_beside as fleets
from tests.deploy.azure import test_azure_registry as machines
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.test_azure import (
    GROUP,
    MACHINE,
    apply,
    arm,
    completed,
    destroy,
    identity,
    server,
)
from tests.deploy.azure.test_azure_registry import DATABASE, Person

__all__ = ["arm", "identity", "server"]  # fixtures
NETWORKS = f"{GROUP}/providers/Microsoft.Network"
ENDPOINT = f"{NETWORKS}/privateEndpoints/roadworthy-prod-database".lower()
ZONE = f"{NETWORKS}/privateDnsZones/privatelink.postgres.database.azure.com".lower()
LINK = f"{ZONE}/virtualnetworklinks/roadworthy-prod"
PARTS = ["azure-database-zone", "azure-database-zone-link", "azure-database-endpoint",
         "azure-database-endpoint-name"]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty(arm: Arm) -> None:
    arm.blobs.clear()
    arm.stored.clear()


def machine(arm: Arm, identity: str, **values: Any) -> AzureProvider:
    given: dict[str, Any] = {"database_access": "private", "database_from": (), **values}
    return machines.provider(arm, machines.section(identity, **given))


def fleet(arm: Arm) -> FleetProvider:
    return fleets.fleet(arm, database_access="private", database_from=())


def told(arm: Arm, path: str) -> dict[str, Any]:
    return dict(arm.things[path]["properties"])


def test_it_has_no_public_address_and_is_found_by_its_name_in_the_network(
    arm: Arm, identity: str
) -> None:
    made = apply(machine(arm, identity))
    assert [each for each in made if each in PARTS] == PARTS
    assert apply(machine(arm, identity)) == []
    assert arm.refused == []
    assert told(arm, DATABASE)["network"] == {"publicNetworkAccess": "Disabled"}
    assert not any("/firewallrules/" in key for key in arm.things)
    network = f"{NETWORKS}/virtualNetworks/roadworthy-prod"
    assert told(arm, ENDPOINT)["subnet"]["id"] == f"{network}/subnets/machines"
    assert told(arm, LINK)["virtualNetwork"]["id"] == network
    assert told(arm, LINK)["registrationEnabled"] is False
    (config,) = told(arm, f"{ENDPOINT}/privatednszonegroups/default")["privateDnsZoneConfigs"]
    assert config["properties"]["privateDnsZoneId"].lower() == ZONE
    # who is inside asks for it by the same name
    registry = machine(arm, identity).observe().registry
    assert ".postgres.database.azure.com:5432/" in registry["url"]
    destroy(machine(arm, identity))
    assert arm.things == {}


def test_the_plan_says_who_cannot_reach_it(arm: Arm, identity: str) -> None:
    for one in (machine(arm, identity), fleet(arm)):
        (said,) = [each.what for each in one.steps() if each.id == "azure-database"]
        assert "its network alone: not by a CI system, nor by people, outside of it" in said


def test_it_stands_beside_a_fleet_too(arm: Arm) -> None:
    apply(fleet(arm))
    assert apply(fleet(arm)) == []
    assert arm.refused == []
    assert ENDPOINT in arm.things
    destroy(fleet(arm))
    assert arm.things == {}


def test_a_network_of_your_own_gets_the_endpoint_and_stays(arm: Arm, identity: str) -> None:
    theirs = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net"
    network = f"{theirs}/providers/Microsoft.Network/virtualNetworks/v"
    arm.things[network.lower()] = {
        "id": network, "type": "Microsoft.Network/virtualNetworks", "name": "v",
        "properties": {"subnets": [{"name": "s"}]},
    }  # fmt: skip
    apply(machine(arm, identity, subnet=f"{network}/subnets/s"))
    assert told(arm, LINK)["virtualNetwork"]["id"] == network
    assert told(arm, ENDPOINT)["subnet"]["id"] == f"{network}/subnets/s"
    destroy(machine(arm, identity, subnet=f"{network}/subnets/s"))
    assert list(arm.things) == [network.lower()]


def test_the_same_database_goes_from_public_to_private_and_back(arm: Arm, identity: str) -> None:
    public = machines.section(identity)
    apply(machines.provider(arm, public))
    arm.things[DATABASE]["properties"]["kept"] = "the same"
    done = apply(machine(arm, identity))
    assert done[: len(PARTS) + 1] == ["azure-database", *PARTS]
    assert not any("/firewallrules/" in key for key in arm.things)
    assert apply(machine(arm, identity)) == []
    back = apply(machines.provider(arm, public))
    assert {"azure-database", "azure-database-network-1"} <= set(back)
    assert not {ENDPOINT, ZONE, LINK} & arm.things.keys()
    assert apply(machines.provider(arm, public)) == []
    assert told(arm, DATABASE)["kept"] == "the same"
    assert MACHINE.lower() in arm.things


@pytest.mark.parametrize("fault", ["cut before", "cut after", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    arm: Arm, identity: str, fault: Fault
) -> None:
    apply(machines.provider(arm, machines.section(identity)))
    seen: set[tuple[str, str]] = set()

    def fail(method: str, path: str) -> Fault | None:
        if method == "GET" or (method, path) in seen:
            return None
        seen.add((method, path))
        return fault

    arm.fail = fail
    completed(lambda: apply(machine(arm, identity)))
    arm.fail = lambda method, path: None
    assert apply(machine(arm, identity)) == []
    assert {ENDPOINT, ZONE, LINK} <= {path.lower() for _, path in seen}
    seen.clear()
    arm.fail = fail
    completed(lambda: destroy(machine(arm, identity)))
    assert arm.things == {}


def test_a_pipeline_finds_it_as_it_should_be(arm: Arm, identity: str) -> None:
    wanted = machines.section(identity, database_access="private", database_from=())
    apply(machines.provider(arm, wanted))
    robot = Person(oid=fleets.PIPELINE, upn="", appid="robot")
    assert apply(machines.provider(arm, wanted, robot)) == []
