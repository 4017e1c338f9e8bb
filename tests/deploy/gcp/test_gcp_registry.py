"""A registry beside a deployment on Google Cloud, against the strict server."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from googleapiclient.discovery import build

from roadworthy.deploy.cloud.provider import PART
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import GcpSection, Instances
from tests.deploy.gcp import test_gcp as machines
from tests.deploy.gcp.google_server import PROJECT, Fault, Google
from tests.deploy.gcp.test_gcp import apply, completed, destroy, google, identity, server

__all__ = ["google", "identity", "server"]  # fixtures
DATABASE = f"projects/{PROJECT}/instances/roadworthy-prod"
SECRET = f"projects/{PROJECT}/secrets/roadworthy-prod"
STORE = "buckets/rw-6754af96-models-proj-1"
PARTS = ["gcp-secret", "gcp-database", "gcp-store"]
READS = ("get", "list", "aggregatedList", "access", "getIamPolicy")


_CLIENTS: dict[str, Any] = {}


def _built(name: str, version: str, **given: Any) -> Any:
    """The client of an interface; the descriptions are large, so they are read once."""
    key = f"{name} {version} {given.get('client_options')}"
    if key not in _CLIENTS:
        _CLIENTS[key] = build(name, version, **given)
    return _CLIENTS[key]


@pytest.fixture(autouse=True)
def _anew(google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadworthy.deploy.gcp.account.build", _built)
    made = google.registering
    for each in (made.passwords, made.values, made.backups, made.used):
        each.clear()


def section(identity: str, **values: Any) -> GcpSection:
    given = {"database": "db-f1-micro", "database_from": ("192.0.2.0/24",), "alarms": False}
    return machines.section(identity, **{**given, **values})


def provider(google: Google, wanted: GcpSection, name: str = "prod") -> GcpProvider:
    return machines.provider(google, wanted, name)


def test_a_database_and_a_bucket_are_made_once_and_status_says_what_the_registry_is(
    google: Google, identity: str
) -> None:
    assert apply(provider(google, section(identity)))[-3:] == PARTS
    assert apply(provider(google, section(identity))) == []
    assert google.refused == []
    found = provider(google, section(identity)).observe()
    assert found.registry == {
        "url": "postgresql://postgres@203.0.113.99:5432/postgres?sslmode=require",
        "store": "gs://rw-6754af96-models-proj-1",
        "password": "projects/123456789/secrets/roadworthy-prod/versions/latest",
    }
    settings = google.things[DATABASE]["settings"]
    assert settings["ipConfiguration"]["sslMode"] == "ENCRYPTED_ONLY"
    assert settings["ipConfiguration"]["authorizedNetworks"] == [
        {"name": "network-1", "value": "192.0.2.0/24"}
    ]
    bucket = google.things[STORE]["iamConfiguration"]
    assert bucket["publicAccessPrevention"] == "enforced"
    assert google.registering.passwords == {"roadworthy-prod": google.registering.values[SECRET][0]}


def test_the_password_is_in_secret_manager_and_nowhere_else(
    google: Google, identity: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = provider(google, section(identity))
    apply(one)
    (password,) = google.registering.values[SECRET]
    assert len(password) >= 32
    told = json.dumps([[each.document, each.command, each.what] for each in one.steps()])
    found = one.observe()
    for each in (told, repr(found), json.dumps(google.things), caplog.text):
        assert password not in each
    assert "rootPassword" not in told
    assert "gcloud secrets versions access latest" in told


def test_a_fleet_gets_the_same_registry(google: Google, identity: str) -> None:
    wanted = section(identity, instances=Instances(), ssh_from=())
    assert apply(provider(google, wanted))[-3:] == PARTS
    assert apply(provider(google, wanted)) == []
    assert provider(google, wanted).observe().registry["store"].startswith("gs://")


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "throttled", "denied"])
def test_a_failure_at_every_call_leaves_one_password_that_is_the_databases(
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
    called = {method for method, _, _ in seen}
    assert {"sql.instances.insert", "storage.buckets.insert"} <= called
    assert {
        "secretmanager.projects.secrets.create",
        "secretmanager.projects.secrets.addVersion",
    } <= (called)
    assert google.registering.passwords == {
        "roadworthy-prod": google.registering.values[SECRET][-1]
    }
    seen.clear()
    google.fail = fail
    completed(lambda: destroy(provider(google, section(identity))))
    google.fail = lambda method, path, body: None
    completed(lambda: destroy(provider(google, section(identity))))
    assert google.things == {}
    assert google.registering.backups == {"roadworthy-prod": 365}


def test_destroy_stops_at_models_before_it_touches_the_database(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    model = f"{STORE}/objects/blobs/ab"
    google.things[model] = {"kind": "storage#object", "bucket": STORE.removeprefix("buckets/"),
                            "name": "blobs/ab"}  # fmt: skip
    with pytest.raises(OutsideError, match="not empty") as caught:
        destroy(provider(google, section(identity)))
    assert "models are yours" in str(caught.value.fix)
    assert sorted(google.things) == sorted([DATABASE, SECRET, STORE, model])
    del google.things[model]
    last = provider(google, section(identity)).removal()
    assert "enableFinalBackup=true" in last[-1].command
    destroy(provider(google, section(identity)))
    assert google.things == {}
    assert google.registering.backups == {"roadworthy-prod": 365}
    with pytest.raises(InputError, match="for a week"):
        apply(provider(google, section(identity)))


def test_what_was_changed_by_hand_is_seen_and_mended(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    settings = google.things[DATABASE]["settings"]
    settings["ipConfiguration"]["authorizedNetworks"].append({"name": "all", "value": "0.0.0.0/0"})
    settings["activationPolicy"] = "NEVER"
    settings["dataDiskSizeGb"] = "40"  # it has grown by itself
    google.things[STORE]["iamConfiguration"]["publicAccessPrevention"] = "inherited"
    google.registering.values[SECRET].clear()
    found = provider(google, section(identity)).observe()
    assert set(found.differences) == set(PARTS)
    assert "all: not wanted" in found.differences["gcp-database"]
    assert "NEVER" in found.differences["gcp-database"]
    assert found.differences["gcp-secret"] == "it holds nothing"
    assert set(apply(provider(google, section(identity)))) == set(PARTS)
    assert apply(provider(google, section(identity))) == []
    assert settings["dataDiskSizeGb"] == "40"


def test_another_class_and_other_networks_are_taken_by_the_same_database(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    other = section(identity, database="db-custom-2-7680", database_from=("198.51.100.0/24",))
    assert apply(provider(google, other)) == ["gcp-database"]
    settings = google.things[DATABASE]["settings"]
    assert settings["tier"] == "db-custom-2-7680"
    (network,) = settings["ipConfiguration"]["authorizedNetworks"]
    assert network["value"] == "198.51.100.0/24"
    assert len(google.registering.values[SECRET]) == 1


def test_a_database_that_is_still_being_made_is_waited_for(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    google.things[DATABASE]["state"] = "PENDING_CREATE"
    looked: list[str] = []

    def ready(method: str, path: str, body: Any) -> None:
        looked.append(method)
        if looked.count("sql.instances.get") == 3:
            google.things[DATABASE]["state"] = "RUNNABLE"

    google.fail = ready
    assert provider(google, section(identity)).observe().differences == {
        "gcp-database": "it is PENDING_CREATE"
    }
    assert apply(provider(google, section(identity))) == ["gcp-database"]
    assert apply(provider(google, section(identity))) == []
    google.fail = lambda method, path, body: None
    google.things[DATABASE]["state"] = "SUSPENDED"
    with pytest.raises(InputError, match="it is SUSPENDED"):
        apply(provider(google, section(identity)))


def test_a_registry_that_is_no_longer_asked_for_is_removed_and_orphans_are_seen(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    without = section(identity, database=None, database_from=())
    assert len(provider(google, without).observe().surplus) == 3
    assert len(apply(provider(google, without))) == 3
    assert not any(each.get("labels", {}).get(PART) in PARTS for each in google.things.values())
    assert DATABASE not in google.things


def test_who_may_not_look_at_databases_still_deploys_a_machine_without_one(
    google: Google, identity: str
) -> None:
    closed = ("sql.", "secretmanager.", "storage.")
    google.fail = lambda method, path, body: "disabled" if method.startswith(closed) else None
    without = section(identity, database=None, database_from=())
    assert "gcp-machine" in apply(provider(google, without))
    with pytest.raises(OutsideError, match="not enabled"):
        provider(google, section(identity)).observe()


def test_a_password_that_somebody_else_named_so_is_left_alone(
    google: Google, identity: str
) -> None:
    google.things[DATABASE] = {"name": "roadworthy-prod", "project": PROJECT, "settings": {},
                               "region": "europe-west1"}  # fmt: skip
    with pytest.raises(InputError, match="not made by Roadworthy"):
        apply(provider(google, section(identity)))
    assert google.things[DATABASE]["settings"] == {}
