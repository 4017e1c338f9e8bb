"""What stands beside a fleet on Azure: a registry, and what a pipeline signs in by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadworthy.deploy import deploying
from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.resource import Naming
from roadworthy.errors import OutsideError
from roadworthy.project import AzureSection, Ci, Instances, Project
from tests.conftest import Trained
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.balancer import AzureBalancer
from tests.deploy.azure.registering import OWNER
from tests.deploy.azure.test_azure import GROUP, apply, arm, completed, destroy, server
from tests.deploy.azure.test_azure_fleet import (
    azure,
    balancer,
    front,
    path,
    project,
    servers,
    sizes,
)
from tests.deploy.azure.test_azure_registry import DATABASE, MODELS, PARTS, STORE, Person

__all__ = ["arm", "azure", "balancer", "front", "server", "servers"]  # fixtures
pytestmark = pytest.mark.timeout(600)
CI = Ci(system="github", repository="acme/churn", environment="production")
BESIDE = {"database": "Standard_B1ms", "database_from": ("192.0.2.0/24",)}
PIPELINE = "77777777-2222-3333-4444-555555555555"
_CI = ["azure-ci", "azure-ci-trust", "azure-ci-right-deploys", "azure-releases-write-ci"]


@pytest.fixture(autouse=True)
def _empty(arm: Arm) -> None:
    arm.blobs.clear()
    arm.stored.clear()


def fleet(arm: Arm, credential: Any = None, **values: Any) -> FleetProvider:
    given: dict[str, Any] = {"instances": Instances(), "alarms": False, **BESIDE, "ci": CI}
    wanted = AzureSection(region="westeurope", **{**given, **values})
    account = Account(SUBSCRIPTION, credential or Person(), wanted.place, arm.url, pause=0)
    return FleetProvider(Naming(SUBSCRIPTION, "prod", "adult"), wanted, Project(), account)


def test_registry_and_identity_stand_beside_a_fleet_and_are_made_once(arm: Arm) -> None:
    made = apply(fleet(arm))
    assert [each for each in made if each in PARTS] == PARTS
    assert [each for each in made if each in _CI] == _CI
    assert apply(fleet(arm)) == []
    assert arm.refused == []
    found = fleet(arm).observe()
    assert found.registry["account"] == "rw2ada163fa4745cba"
    identity = arm.things[
        f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/roadworthy-prod-ci".lower()
    ]["properties"]
    assert found.facts["AZURE_CLIENT_ID"] == identity["clientId"]
    # releases and models are in accounts of their own: who writes the ones need not see the others
    accounts = [each for each in arm.things.values() if each["type"].endswith("/storageAccounts")]
    assert len(accounts) == 2
    rights = [
        (each["id"], each["properties"]["principalId"]) for each in arm.things.values()
        if each["type"].endswith("/roleAssignments")
    ]  # fmt: skip
    mine = [at for at, who in rights if who == identity["principalId"]]
    assert len(mine) == 2
    assert not any(at.lower().startswith(STORE) for at in mine)
    assert {who for at, who in rights if at.lower().startswith(STORE)} == {OWNER}


@pytest.mark.parametrize("fault", ["cut before", "cut after", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    arm: Arm, fault: Fault
) -> None:
    seen: set[tuple[str, str]] = set()

    def fail(method: str, at: str) -> Fault | None:
        if method == "GET" or (method, at) in seen:
            return None
        seen.add((method, at))
        return fault

    arm.fail = fail
    completed(lambda: apply(fleet(arm)))
    arm.fail = lambda method, at: None
    assert apply(fleet(arm)) == []
    asked = {at.lower() for _, at in seen}
    assert {DATABASE, STORE, f"{DATABASE}/administrators/{OWNER}"} <= asked
    seen.clear()
    arm.fail = fail
    completed(lambda: destroy(fleet(arm)))
    assert arm.things == {}


def test_a_pipeline_finds_a_fleet_with_a_registry_as_it_should_be(arm: Arm) -> None:
    apply(fleet(arm))
    robot = Person(oid=PIPELINE, upn="", appid="robot")
    assert apply(fleet(arm, robot)) == []
    assert fleet(arm, robot).observe().registry["url"].startswith("postgresql://ann%40example.org@")


def test_destroy_stops_at_models_before_it_touches_the_fleet(arm: Arm) -> None:
    apply(fleet(arm))
    arm.blobs[MODELS] = ["blobs/ab"]
    with pytest.raises(OutsideError, match="still holds models"):
        destroy(fleet(arm))
    assert {DATABASE, STORE} <= set(arm.things)
    arm.blobs.clear()
    destroy(fleet(arm))
    assert arm.things == {}


def test_status_of_a_fleet_says_what_the_registry_is_and_what_a_pipeline_signs_in_by(
    azure: Arm, balancer: AzureBalancer, house: Path, versions: list[Trained]
) -> None:
    wanted = project(house, balancer, ci=CI, **BESIDE)
    done = deploying.apply(wanted, "prod", path(versions[0]))
    assert {*PARTS, *_CI} <= {each.id for each in done.changes}
    assert deploying.apply(wanted, "prod", path(versions[0])).changes == ()
    details = deploying.status(wanted, "prod").details
    assert details["registry"]["store"] == "az://models"
    assert details["AZURE_SUBSCRIPTION_ID"] == SUBSCRIPTION
    assert details["AZURE_CLIENT_ID"]
    assert "machine" not in details
    alone = project(house, balancer)
    planned = deploying.plan(alone, "prod", path(versions[0])).changes
    assert {each.change for each in planned} == {"delete"}
    deploying.apply(alone, "prod", path(versions[0]))
    assert not any(key.startswith((DATABASE, STORE)) for key in azure.things)
    details = deploying.status(alone, "prod").details
    assert details["registry"] == {}
    assert "AZURE_CLIENT_ID" not in details
    assert sizes(azure) == [2]
    deploying.destroy(alone, "prod")
    assert azure.things == {}
