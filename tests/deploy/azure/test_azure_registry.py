"""A registry beside a machine on Azure, against the strict Resource Manager."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.provider import AzureProvider
from roadworthy.deploy.azure.resource import Naming
from roadworthy.errors import OutsideError
from roadworthy.project import AzureSection, Project
from tests.deploy.azure import test_azure as machines
from tests.deploy.azure.arm_server import SUBSCRIPTION, Arm, Fault
from tests.deploy.azure.registering import OWNER
from tests.deploy.azure.test_azure import GROUP, apply, arm, completed, destroy, identity, server

__all__ = ["arm", "identity", "server"]  # fixtures
TENANT = "99999999-8888-7777-6666-555555555555"
DATABASE = (
    f"{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers/rw-2ada163fa4745cba".lower()
)
STORE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/rw2ada163fa4745cba".lower()
MODELS = "/blobs/rw2ada163fa4745cba/models"
PARTS = ["azure-database", "azure-database-catalogue", "azure-database-admin",
         "azure-database-network-1", "azure-store", "azure-store-models",
         "azure-store-right"]  # fmt: skip


class Person:
    """A credential whose token says who signs in, as Entra's do."""

    def __init__(self, **claims: str) -> None:
        told = {"oid": OWNER, "tid": TENANT, "upn": "ann@example.org", **claims}
        payload = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
        self.token = f"e30.{payload}.signature"

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self.token, int(time.time()) + 3600)

    def get_token_info(self, *scopes: str, **_: Any) -> AccessTokenInfo:
        return AccessTokenInfo(self.token, int(time.time()) + 3600)


@pytest.fixture(autouse=True)
def _empty(arm: Arm) -> None:
    arm.blobs.clear()


def section(identity: str, **values: Any) -> AzureSection:
    given = {"database": "Standard_B1ms", "database_from": ("192.0.2.0/24",), "alarms": False}
    return machines.section(identity, **{**given, **values})


def provider(arm: Arm, wanted: AzureSection, credential: Any = None) -> AzureProvider:
    account = Account(SUBSCRIPTION, credential or Person(), wanted.place, arm.url, pause=0)
    return AzureProvider(Naming(SUBSCRIPTION, "prod", "adult"), wanted, Project(), account)


def test_a_database_and_a_store_are_made_once_and_status_says_what_the_registry_is(
    arm: Arm, identity: str
) -> None:
    made = apply(provider(arm, section(identity)))
    assert [each for each in made if each in PARTS] == PARTS
    assert apply(provider(arm, section(identity))) == []
    assert arm.refused == []
    assert provider(arm, section(identity)).observe().registry == {
        "url": "postgresql://ann%40example.org@rw-2ada163fa4745cba.postgres.database.azure.com"
        ":5432/roadworthy?sslmode=require",
        "store": "az://models",
        "account": "rw2ada163fa4745cba",
        "password": "az account get-access-token --resource-type oss-rdbms "
        "--query accessToken --output tsv",
    }
    rule = arm.things[f"{DATABASE}/firewallrules/network-1"]["properties"]
    assert (rule["startIpAddress"], rule["endIpAddress"]) == ("192.0.2.0", "192.0.2.255")


def test_there_is_no_password_and_no_key_at_all_and_no_token_is_shown(
    arm: Arm, identity: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    who = Person()
    one = provider(arm, section(identity), who)
    apply(one)
    told = arm.things[DATABASE]["properties"]
    assert told["authConfig"] == {
        "activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled", "tenantId": TENANT,
    }  # fmt: skip
    assert not any("Login" in key for key in told)
    store = arm.things[STORE]["properties"]
    assert (store["allowSharedKeyAccess"], store["allowBlobPublicAccess"]) == (False, False)
    shown = json.dumps([[each.document, each.command, each.what] for each in one.steps()])
    for each in (shown, repr(one.observe()), json.dumps(arm.things), caplog.text):
        assert who.token not in each
    assert OWNER not in shown  # the plan is a function of the section alone


def test_a_pipeline_finds_the_registry_of_whoever_made_it_as_it_should_be(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    pipeline = Person(oid="77777777-2222-3333-4444-555555555555", upn="", appid="robot")
    assert apply(provider(arm, section(identity), pipeline)) == []
    registry = provider(arm, section(identity), pipeline).observe().registry
    assert registry["url"].startswith("postgresql://ann%40example.org@")


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "throttled", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    arm: Arm, identity: str, fault: Fault
) -> None:
    seen: set[tuple[str, str]] = set()

    def fail(method: str, path: str) -> Fault | None:
        key = method, path
        if method == "GET" or key in seen:
            return None
        seen.add(key)
        return fault

    arm.fail = fail
    completed(lambda: apply(provider(arm, section(identity))))
    arm.fail = lambda method, path: None
    assert apply(provider(arm, section(identity))) == []
    asked = {path.lower() for _, path in seen}
    assert {DATABASE, STORE, f"{DATABASE}/administrators/{OWNER}"} <= asked
    seen.clear()
    arm.fail = fail
    completed(lambda: destroy(provider(arm, section(identity))))
    assert arm.things == {}


def test_destroy_stops_at_models_before_it_touches_the_database(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    arm.blobs[MODELS] = ["blobs/ab"]
    with pytest.raises(OutsideError, match="still holds models") as caught:
        destroy(provider(arm, section(identity)))
    assert "models are yours" in str(caught.value.fix)
    assert {DATABASE, STORE} <= set(arm.things)
    assert not any("virtualmachines" in key for key in arm.things)
    arm.blobs.clear()
    steps = destroy(provider(arm, section(identity)))
    assert any("keeps its backups for five days" in each.what for each in steps)
    assert arm.things == {}


def test_a_store_into_which_nobody_may_look_is_not_removed(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    arm.fail = lambda method, path: "denied" if path.startswith("/blobs/") else None
    with pytest.raises(OutsideError, match="see whether the store is empty") as caught:
        destroy(provider(arm, section(identity)))
    assert "Storage Blob Data Reader" in str(caught.value.fix)
    assert STORE in arm.things


def test_what_was_changed_by_hand_is_seen_and_mended(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    told = arm.things[DATABASE]["properties"]
    told["authConfig"]["passwordAuth"] = "Enabled"
    told["storage"]["storageSizeGB"] = 64  # it has grown by itself
    told["state"] = "Stopped"
    arm.things[STORE]["properties"]["allowSharedKeyAccess"] = True
    theirs = f"{DATABASE}/firewallrules/everybody"
    ends = {"startIpAddress": "0.0.0.0", "endIpAddress": "255.255.255.255"}
    kind = "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules"
    arm.things[theirs] = {"id": theirs, "name": "everybody", "properties": ends, "type": kind}
    found = provider(arm, section(identity)).observe()
    assert found.differences == {
        "azure-database": "properties.authConfig.passwordAuth: Enabled, it is Stopped",
        "azure-store": "properties.allowSharedKeyAccess: True",
    }
    assert [each.id for each in found.surplus] == ["azure-firewallRules-everybody"]
    apply(provider(arm, section(identity)))
    assert theirs not in arm.things
    assert apply(provider(arm, section(identity))) == []
    assert told["storage"]["storageSizeGB"] == 64


def test_another_class_and_other_networks_are_taken_by_the_same_database(
    arm: Arm, identity: str
) -> None:
    apply(provider(arm, section(identity)))
    other = section(identity, database="Standard_D2ds_v5", database_from=("198.51.100.7/32",))
    assert apply(provider(arm, other)) == ["azure-database", "azure-database-network-1"]
    assert arm.things[DATABASE]["sku"] == {"name": "Standard_D2ds_v5", "tier": "GeneralPurpose"}
    rule = arm.things[f"{DATABASE}/firewallrules/network-1"]["properties"]
    assert (rule["startIpAddress"], rule["endIpAddress"]) == ("198.51.100.7", "198.51.100.7")
    assert ("DELETE", f"{GROUP}/{DATABASE}") not in arm.calls
    assert apply(provider(arm, other)) == []


def test_a_registry_that_is_no_longer_asked_for_is_removed(arm: Arm, identity: str) -> None:
    apply(provider(arm, section(identity)))
    without = section(identity, database=None, database_from=())
    assert len(provider(arm, without).observe().surplus) == 2
    apply(provider(arm, without))
    assert not any(key.startswith((DATABASE, STORE)) for key in arm.things)
    assert apply(provider(arm, without)) == []


def test_a_token_that_does_not_say_who_signs_in_is_refused_with_what_to_do(
    arm: Arm, identity: str
) -> None:
    with pytest.raises(OutsideError, match="does not say who signs in") as caught:
        apply(provider(arm, section(identity), machines.Token()))
    assert "az login" in str(caught.value.fix)
    assert arm.things == {}
