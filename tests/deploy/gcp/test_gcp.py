"""The provider for Google Cloud, against a server that is as strict as Google's descriptions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from google.auth.credentials import AnonymousCredentials

from roadworthy.deploy.cloud.provider import DEPLOYMENT
from roadworthy.deploy.deploying import plan_destroy, status
from roadworthy.deploy.gcp.account import Account
from roadworthy.deploy.gcp.explaining import Refusal, explain
from roadworthy.deploy.gcp.provider import GcpProvider, open_gcp
from roadworthy.deploy.gcp.resource import Naming
from roadworthy.deploy.gcp.wanted import machine_of
from roadworthy.deploy.plan import redone
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import GcpSection, Project
from tests.deploy.gcp.google_server import PROJECT, Fault, Google, google_server

MACHINE = f"projects/{PROJECT}/zones/europe-west1-b/instances/roadworthy-prod"
FIREWALL = f"projects/{PROJECT}/global/firewalls/roadworthy-prod-ssh"
PARTS = ["gcp-network", "gcp-subnet", "gcp-firewall-ssh", "gcp-firewall", "gcp-address",
         "gcp-machine", "gcp-alarm-cpu", "gcp-dashboard"]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Google]:
    with google_server() as running:
        yield running


@pytest.fixture
def google(server: Google, monkeypatch: pytest.MonkeyPatch) -> Google:
    server.things.clear()
    server.calls.clear()
    server.refused.clear()
    server.host_keys = {}
    server.fail = lambda method, path, body: None
    # nobody waits before a call is sent again
    monkeypatch.setattr("googleapiclient.http.random", SimpleNamespace(random=lambda: 0.0))
    return server


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


def section(identity: str, **values: Any) -> GcpSection:
    given = {"zone": "europe-west1-b", "ssh_from": ("192.0.2.0/24",), **values}
    return GcpSection(identity=identity, **given)


def provider(google: Google, wanted: GcpSection, name: str = "prod") -> GcpProvider:
    account = Account(PROJECT, AnonymousCredentials(), wanted.place, google.url, pause=0)
    return GcpProvider(Naming(PROJECT, name, "Adult.v1"), wanted, Project(), account)


def apply(one: GcpProvider) -> list[str]:
    """What `deploy apply` does with the infrastructure."""
    with one.lock():
        found = one.observe()
        steps = redone(one.steps(), found.steps)
        todo = [step for step in steps if step.change == "create"] + list(found.surplus)
        for step in todo:
            one.perform(step)
    return [step.id for step in todo]


def destroy(one: GcpProvider) -> list[str]:
    with one.lock():
        todo = list(one.removal())
        for step in todo:
            one.perform(step)
    return [step.id for step in todo]


def completed(run: Any) -> int:
    """Run until it completes; how often that was."""
    for number in range(1, 60):
        try:
            run()
        except RoadworthyError as error:
            assert error.fix  # noqa: PT017
        else:
            return number
    raise AssertionError("it never completed")


def test_a_machine_with_all_it_needs_is_made_once(google: Google, identity: str) -> None:
    one = provider(google, section(identity))
    assert one.observe().machine is None
    assert apply(one) == PARTS
    assert apply(provider(google, section(identity))) == []
    assert google.refused == []
    found = one.observe()
    assert found.machine is not None
    assert found.model == "Adult.v1"
    made = google.things[MACHINE]
    assert made["networkInterfaces"][0]["accessConfigs"][0]["natIP"] == found.machine.address
    assert made["shieldedInstanceConfig"]["enableSecureBoot"]
    assert "serviceAccounts" not in made  # it may do nothing in the cloud
    told = {each["key"]: each["value"] for each in made["metadata"]["items"]}
    assert told["ssh-keys"].startswith("roadworthy:ssh-ed25519 ")
    assert told["block-project-ssh-keys"] == "TRUE"
    (policy,) = [each for path, each in google.things.items() if "/alertPolicies/" in path]
    assert made["id"] in policy["conditions"][0]["conditionThreshold"]["filter"]
    assert len(google.things) == len(PARTS)


@pytest.mark.parametrize("fault", ["cut before", "cut after", "fault", "throttled", "denied"])
def test_a_failure_at_every_call_leaves_nothing_double_and_a_rerun_completes(
    google: Google, identity: str, fault: Fault
) -> None:
    seen: set[tuple[str, str, str]] = set()

    def fail(method: str, path: str, body: Any) -> Fault | None:
        key = method, path, str((body or {}).get("name", ""))
        if method.rpartition(".")[2] in ("get", "list", "aggregatedList") or key in seen:
            return None
        seen.add(key)
        return fault

    wanted = section(identity, notify=("ops@example.org",))
    google.fail = fail
    completed(lambda: apply(provider(google, wanted)))
    made = sorted(google.things)
    google.fail = lambda method, path, body: None
    assert apply(provider(google, wanted)) == []
    assert sorted(google.things) == made
    assert len(made) == len(PARTS) + 1  # the channel
    assert {"instances.insert", "networks.insert"} <= {method for method, _, _ in seen}
    seen.clear()
    google.fail = fail
    completed(lambda: destroy(provider(google, wanted)))
    google.fail = lambda method, path, body: None
    completed(lambda: destroy(provider(google, wanted)))
    assert google.things == {}


def test_destroy_takes_only_what_carries_the_mark(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    apply(provider(google, section(identity), "prod-2"))
    mine = f"projects/{PROJECT}/global/networks/mine"
    google.things[mine] = {"name": "mine", "description": f"{DEPLOYMENT}=other",
                           "selfLink": f"https://www.googleapis.com/compute/v1/{mine}"}  # fmt: skip
    others = [path for path, each in google.things.items() if "prod-2" in str(each)]
    assert len(destroy(provider(google, section(identity)))) == len(PARTS)
    assert sorted(google.things) == sorted([*others, mine])
    assert len(others) == len(PARTS)
    assert destroy(provider(google, section(identity))) == []


def test_what_was_changed_by_hand_is_seen_and_mended(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    google.things[FIREWALL]["sourceRanges"] = ["0.0.0.0/0"]
    machine = google.things[MACHINE]
    machine["status"] = "TERMINATED"
    machine["metadata"]["items"][1]["value"] = "TRUE"
    machine["tags"]["items"] = []
    machine["networkInterfaces"][0]["accessConfigs"][0]["natIP"] = "198.51.100.1"
    found = provider(google, section(identity)).observe()
    assert found.differences["gcp-firewall-ssh"] == ("sourceRanges 1: 0.0.0.0/0")
    for said in ("metadata enable-oslogin: TRUE", "tags.items: 0", "address: 198.51.100.1",
                 "it is TERMINATED"):  # fmt: skip
        assert said in found.differences["gcp-machine"]
    assert apply(provider(google, section(identity))) == ["gcp-firewall-ssh", "gcp-machine"]
    assert apply(provider(google, section(identity))) == []
    assert google.things[MACHINE]["status"] == "RUNNING"


def test_another_type_is_taken_by_the_same_machine(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    number = google.things[MACHINE]["id"]
    larger = provider(google, section(identity, machine_type="e2-medium"))
    assert apply(larger) == ["gcp-machine"]
    assert google.things[MACHINE]["machineType"].endswith("/e2-medium")
    assert (google.things[MACHINE]["id"], google.things[MACHINE]["status"]) == (number, "RUNNING")


def test_a_dashboard_shows_what_alarms_look_at_and_is_compared_changed_and_removed(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    (path,) = [each for each in google.things if "/dashboards/" in each]
    tiles = google.things[path]["mosaicLayout"]["tiles"]
    places = [(each.get("xPos", 0), each.get("yPos", 0)) for each in tiles]
    assert len(set(places)) == len(tiles) == 13
    assert google.things[MACHINE]["id"] in str(tiles)  # the machine's own measures
    queries = [each["widget"]["xyChart"]["dataSets"][0]["timeSeriesQuery"] for each in tiles]
    assert all(len(each) == 1 for each in queries)
    tiles.pop()
    found = provider(google, section(identity)).observe()
    assert found.differences == {"gcp-dashboard": "mosaicLayout.tiles: 12 in place of 13"}
    assert apply(provider(google, section(identity))) == ["gcp-dashboard"]
    assert apply(provider(google, section(identity))) == []
    assert len(google.things[path]["mosaicLayout"]["tiles"]) == 13
    quiet = provider(google, section(identity, alarms=False))
    assert f"gcp-{path}" in {each.id for each in quiet.observe().surplus}
    apply(quiet)
    assert path not in google.things


def test_what_cannot_be_changed_in_place_is_said(google: Google, identity: str) -> None:
    apply(provider(google, section(identity)))
    google.things[MACHINE]["shieldedInstanceConfig"]["enableVtpm"] = False
    with pytest.raises(InputError, match="enableVtpm: False") as caught:
        apply(provider(google, section(identity)))
    assert "make it anew" in str(caught.value.fix)


def test_a_machine_in_another_zone_and_alarms_that_are_no_longer_asked_for_are_removed(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity, notify=("ops@example.org",))))
    moved = provider(google, section(identity, zone="europe-west1-c", alarms=False))
    surplus = {step.document["collection"] for step in moved.observe().surplus}
    assert surplus == {"instances", "alertPolicies", "dashboards", "notificationChannels"}


def test_every_deployment_of_the_project_is_listed_with_its_parts(
    google: Google, identity: str
) -> None:
    apply(provider(google, section(identity)))
    apply(provider(google, section(identity), "forgotten"))
    apply(provider(google, section(identity, zone="europe-west1-c"), "elsewhere"))
    found = {each.deployment: each for each in provider(google, section(identity)).tenants()}
    assert set(found) == {"prod", "forgotten"}
    assert found["prod"].model == "Adult.v1"
    assert MACHINE in found["prod"].parts
    assert len(found["forgotten"].parts) == len(PARTS)


def test_a_name_that_is_taken_is_refused(google: Google, identity: str) -> None:
    path = f"projects/{PROJECT}/global/networks/roadworthy-prod"
    google.things[path] = {"name": "roadworthy-prod",
                           "selfLink": f"https://www.googleapis.com/compute/v1/{path}"}  # fmt: skip
    with pytest.raises(InputError, match="was not made by Roadworthy"):
        apply(provider(google, section(identity)))
    destroy(provider(google, section(identity)))
    assert list(google.things) == [path]


def test_a_subnet_of_your_own_is_used_and_never_removed(google: Google, identity: str) -> None:
    network, subnet = (f"projects/{PROJECT}/{place}" for place in (
        "global/networks/mine", "regions/europe-west1/subnetworks/mine"))  # fmt: skip
    base = "https://www.googleapis.com/compute/v1/"
    google.things[network] = {"name": "mine", "selfLink": base + network}
    google.things[subnet] = {"name": "mine", "selfLink": base + subnet, "network": base + network}
    wanted = section(identity, subnet=subnet)
    assert apply(provider(google, wanted))[0] == "gcp-firewall-ssh"
    assert google.things[FIREWALL]["network"] == base + network
    assert apply(provider(google, wanted)) == []
    destroy(provider(google, wanted))
    assert sorted(google.things) == sorted([network, subnet])


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        ("denied", "does not permit compute.networks.insert", "role with"),
        ("quota", "quota of Google Cloud is used up", "Quotas"),
        ("disabled", "compute.googleapis.com is not enabled", "gcloud services enable"),
    ],
)
def test_a_refusal_names_the_permission_the_quota_or_the_interface(
    google: Google, identity: str, fault: Fault, said: str, fix: str
) -> None:
    google.fail = lambda method, path, body: fault if method == "networks.insert" else None
    with pytest.raises(OutsideError, match=said) as caught:
        apply(provider(google, section(identity)))
    assert fix in str(caught.value.fix)


@pytest.mark.parametrize(
    ("status", "reason", "message", "said", "fix"),
    [
        (403, "forbidden", "me@x.org does not have storage.buckets.create access to the project.",
         "does not permit storage.buckets.create", "role with storage.buckets.create"),
        (403, "IAM_PERMISSION_DENIED", "Permission 'iam.serviceAccounts.create' denied on it",
         "does not permit iam.serviceAccounts.create", "role with"),
        (404, "notFound", "The resource 'projects/p/zones/europe-west9-z' was not found",
         "no such place", "gcloud compute zones list"),
        (400, "invalid", "Unknown region: europe-west99", "no such place",
         "gcloud compute regions list"),
        (403, "SERVICE_DISABLED", "storage.googleapis.com has not been used in project 1 before",
         "storage.googleapis.com is not enabled", "gcloud services enable storage.googleapis.com"),
    ],
)  # fmt: skip
def test_what_google_says_is_explained(
    status: int, reason: str, message: str, said: str, fix: str
) -> None:
    error = explain(Refusal(status, reason, message), "buckets insert", "gcp europe-west1")
    assert said in error.what
    assert fix in str(error.fix)


def test_missing_credentials_and_a_missing_project_are_said(
    google: Google, identity: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(OutsideError, match="no usable Google Cloud credentials") as caught:
        open_gcp(Project(), "prod", section(identity), "adult")
    assert "application-default login" in str(caught.value.fix)
    monkeypatch.setattr("google.auth.default", lambda scopes: (AnonymousCredentials(), None))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(InputError, match="no project of Google Cloud is named"):
        open_gcp(Project(), "prod", section(identity), "adult")


def test_two_deployments_of_a_name_are_kept_apart(google: Google, identity: str) -> None:
    lock = f"projects/{PROJECT}/global/healthChecks/roadworthy-prod-lock"
    with provider(google, section(identity)).lock():
        assert lock in google.things
        with (
            pytest.raises(OutsideError, match="another deployment is at work"),
            provider(google, section(identity)).lock(),
        ):
            pass
    assert google.things == {}
    google.things[lock] = {"name": "roadworthy-prod-lock", "description": "elsewhere/77/1/abc"}
    with (
        pytest.raises(OutsideError, match="elsewhere, process 77") as caught,
        provider(google, section(identity)).lock(),
    ):
        pass
    assert "health-checks delete roadworthy-prod-lock" in str(caught.value.fix)


def test_host_keys_come_from_the_machines_agent_and_are_kept_in_its_metadata(
    google: Google, identity: str
) -> None:
    one = provider(google, section(identity))
    apply(one)
    assert one.observe().machine.host_keys == ()  # type: ignore[union-attr]
    google.host_keys = {"ssh-rsa": "AAAArsa", "ecdsa-sha2-nistp256": "AAAAec",
                        "ssh-ed25519": "AAAAed"}  # fmt: skip
    machine = one.observe().machine
    assert machine is not None
    assert not machine.pinned
    assert machine.host_keys == ("ecdsa-sha2-nistp256 AAAAec", "ssh-ed25519 AAAAed")
    one.pin(machine.host_keys)
    google.host_keys = {}
    again = provider(google, section(identity)).observe()
    assert again.machine is not None
    assert again.machine.pinned
    assert again.machine.host_keys == ("ssh-ed25519 AAAAed",)
    assert all(again.steps.values())  # more metadata is no difference
    google.things[MACHINE]["metadata"]["items"][1]["value"] = "TRUE"
    apply(one)
    kept = one.observe().machine
    assert kept is not None
    assert kept.pinned


def test_a_type_of_arm_processors_gets_its_image(google: Google, identity: str) -> None:
    one = provider(google, section(identity, machine_type="t2a-standard-1"))
    disk = one.parts["gcp-machine"].body["disks"][0]["initializeParams"]
    assert disk["sourceImage"].endswith("/debian-12-arm64")
    kinds = {"t2a-standard-1": "aarch64", "c4a-standard-4": "aarch64", "e2-small": "x86_64",
             "n2-standard-2": "x86_64", "n4-standard-2": "x86_64"}  # fmt: skip
    assert {each: machine_of(each) for each in kinds} == kinds


def test_the_server_refuses_what_google_would(google: Google, identity: str) -> None:
    one = provider(google, section(identity))
    apply(one)
    named = {"project": PROJECT, "zone": "europe-west1-b"}
    body = {**google.things[MACHINE], "name": "second"}
    for said, change in {
        "Must match": {"name": "VM_Bad"},
        "Cannot find field": {"machinetype": "e2-small"},
        "malformed": {"machineType": "e2-small"},
        "256 KB": {"metadata": {"items": [{"key": "user-data", "value": "x" * 300_000}]}},
        "Invalid label": {"labels": {"Model": "Adult"}},
        "was not found": {"networkInterfaces": [
            {"subnetwork": f"projects/{PROJECT}/regions/europe-west1/subnetworks/none"}]},
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            one.account.change("instances", "insert", body={**body, **change}, **named)
    with pytest.raises(OutsideError, match="already being used") as caught:
        one.account.change("networks", "delete", project=PROJECT, network="roadworthy-prod")
    assert "did not make" in str(caught.value.fix)


def test_steps_are_plain_data_with_a_command_line_and_a_price(
    google: Google, identity: str
) -> None:
    steps = provider(google, section(identity)).steps()
    assert google.calls == []  # pure
    assert [step.id for step in steps] == PARTS
    assert "PRIVATE" not in msgspec.json.encode(steps).decode()
    machine = next(step for step in steps if step.id == "gcp-machine")
    assert machine.price is not None
    assert machine.command.startswith("gcloud compute instances create roadworthy-prod ")
    assert "--no-service-account" in machine.command


def test_the_verbs_find_the_provider_by_the_section(
    google: Google, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(provider(google, section(identity)))
    monkeypatch.setattr("google.auth.default", lambda scopes: (AnonymousCredentials(), PROJECT))
    monkeypatch.setattr(
        "roadworthy.deploy.gcp.provider.Account",
        lambda *given: Account(*given, endpoint=google.url, pause=0),
    )
    project = Project(deploy={"prod": section(identity)})
    said = status(project, "prod")
    assert (said.ready, said.place) == (False, "gcp europe-west1-b")
    assert said.details["machine"] == "RUNNING"
    planned = plan_destroy(project, "prod")
    assert len(planned.steps) == len(PARTS)
    assert planned.steps[-1].document["collection"] == "networks"
    assert planned.model == "Adult.v1"
