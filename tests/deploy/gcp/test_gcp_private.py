"""A database with a private address, beside a machine and beside a fleet on Google Cloud."""

from __future__ import annotations

from typing import Any

import pytest

from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.errors import InputError
from roadworthy.project import GcpSection, Instances
from tests.deploy.gcp import test_gcp_registry as registries
from tests.deploy.gcp.google_server import PROJECT, Fault, Google
from tests.deploy.gcp.test_gcp import apply, completed, destroy, google, identity, server
from tests.deploy.gcp.test_gcp_registry import DATABASE, READS, _anew, provider

__all__ = ["_anew", "google", "identity", "server"]  # fixtures
REGION = f"projects/{PROJECT}/regions/europe-west1"
RULE = f"{REGION}/forwardingRules/roadworthy-prod-database"
ADDRESS = f"{REGION}/addresses/roadworthy-prod-database"
PARTS = ["gcp-database", "gcp-database-address", "gcp-database-endpoint"]


def section(identity: str, **values: Any) -> GcpSection:
    given: dict[str, Any] = {"database_access": "private", "database_from": (), **values}
    return registries.section(identity, **given)


def fleet(google: Google, identity: str) -> GcpProvider:
    return provider(google, section(identity, instances=Instances(), ssh_from=()))


def test_it_has_no_public_address_and_is_reached_by_one_of_the_network(
    google: Google, identity: str
) -> None:
    made = apply(provider(google, section(identity)))
    assert [each for each in made if each in PARTS] == PARTS
    assert apply(provider(google, section(identity))) == []
    assert google.refused == []
    reached = google.things[DATABASE]["settings"]["ipConfiguration"]
    assert (reached["ipv4Enabled"], reached["authorizedNetworks"]) == (False, [])
    assert reached["pscConfig"] == {"pscEnabled": True, "allowedConsumerProjects": [PROJECT]}
    rule = google.things[RULE]
    assert rule["target"].endswith(f"/{google.things[DATABASE]['pscServiceAttachmentLink']}")
    assert rule["IPAddress"] == google.things[ADDRESS]["address"]
    assert google.things[ADDRESS]["subnetwork"].endswith("/subnetworks/roadworthy-prod")
    registry = provider(google, section(identity)).observe().registry
    assert registry["url"] == (
        f"postgresql://postgres@{rule['IPAddress']}:5432/postgres?sslmode=require"
    )
    destroy(provider(google, section(identity)))
    assert google.things == {}


def test_the_plan_says_who_cannot_reach_it(google: Google, identity: str) -> None:
    for one in (provider(google, section(identity)), fleet(google, identity)):
        (said,) = [each.what for each in one.steps() if each.id == "gcp-database"]
        assert "its network alone: not by a CI system, nor by people, outside of it" in said


def test_it_stands_beside_a_fleet_too(google: Google, identity: str) -> None:
    apply(fleet(google, identity))
    assert apply(fleet(google, identity)) == []
    assert google.refused == []
    assert {RULE, ADDRESS} <= google.things.keys()
    destroy(fleet(google, identity))
    assert google.things == {}


def test_a_public_database_is_not_made_private_and_what_to_do_is_said(
    google: Google, identity: str
) -> None:
    public = registries.section(identity)
    apply(provider(google, public))
    before = dict(google.things[DATABASE]["settings"])
    with pytest.raises(InputError, match="has a public address") as caught:
        apply(provider(google, section(identity)))
    assert "another name" in str(caught.value.fix)
    assert google.things[DATABASE]["settings"] == before
    assert apply(provider(google, public)) == []
    destroy(provider(google, public))
    google.registering.used.clear()
    apply(provider(google, section(identity)))
    with pytest.raises(InputError, match="has a private address"):
        apply(provider(google, public))


@pytest.mark.parametrize("fault", ["cut before", "cut after", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    google: Google, identity: str, fault: Fault
) -> None:
    seen: set[tuple[str, str, str]] = set()

    def fail(method: str, path: str, body: Any) -> Fault | None:
        key = method, path, str((body or {}).get("name", ""))
        if method.rpartition(".")[2] in READS or key in seen:
            return None
        seen.add(key)
        return fault

    google.fail = fail
    completed(lambda: apply(provider(google, section(identity))))
    google.fail = lambda method, path, body: None
    assert apply(provider(google, section(identity))) == []
    assert {"forwardingRules.insert", "addresses.insert"} <= {method for method, _, _ in seen}
    seen.clear()
    google.fail = fail
    completed(lambda: destroy(provider(google, section(identity))))
    assert google.things == {}
