"""Terraform's JSON for Azure and Google Cloud, checked as that for AWS is."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy.deploy.cloud.terraform import write_terraform
from roadworthy.deploy.deploying import export_terraform
from roadworthy.deploy.gcp.exporting import all_parts
from roadworthy.deploy.gcp.resource import Naming
from roadworthy.deploy.runtime import Platform, Runtime
from roadworthy.errors import OutsideError
from roadworthy.project import AzureSection, Ci, CloudSection, GcpSection, Instances, Project
from tests.conftest import Trained
from tests.deploy.terraform.checking import faults, schema
from tests.registry.conftest import registry_project

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
CI = Ci(system="github", repository="acme/churn", environment="production")
NETWORKS = ("192.0.2.0/24", "198.51.100.7/32")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("key") / "identity"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place)], check=True)
    return str(place)


@pytest.fixture(autouse=True)
def _nobody_is_signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)


def azure(identity: str, **values: Any) -> AzureSection:
    given = {"region": "westeurope", "subscription": SUBSCRIPTION, "ssh_from": NETWORKS, **values}
    return AzureSection(identity=identity, **given)


def gcp(identity: str, **values: Any) -> GcpSection:
    given = {"zone": "europe-west1-b", "project": "proj-1", "ssh_from": NETWORKS, **values}
    return GcpSection(identity=identity, **given)


def written(wanted: CloudSection, folder: Path, project: Project | None = None) -> dict[str, Any]:
    file = write_terraform(project or Project(), "prod", wanted, folder)
    return dict(json.loads(file.read_text()))


def test_a_machine_of_azure_is_written_for_terraform(identity: str, tmp_path: Path) -> None:
    document = written(azure(identity, notify=("ops@example.org",), ci=CI), tmp_path)
    assert faults(document) == []
    made = document["resource"]
    (trust,) = made["azurerm_federated_identity_credential"].values()
    assert trust["subject"] == "repo:acme/churn:environment:production"
    assert document["provider"]["azurerm"] == {"features": {}, "subscription_id": SUBSCRIPTION}
    rules = made["azurerm_network_security_rule"].values()
    assert {(each["destination_port_range"], each["source_address_prefix"]) for each in rules} == {
        ("22", "192.0.2.0/24"), ("22", "198.51.100.7/32"), ("80", "0.0.0.0/0")
    }  # fmt: skip
    machine = made["azurerm_linux_virtual_machine"]["machine"]
    assert machine["secure_boot_enabled"]
    assert machine["vtpm_enabled"]
    assert machine["disable_password_authentication"]
    assert machine["os_disk"]["disk_size_gb"] == 30
    (alarm, _) = made["azurerm_monitor_metric_alert"].values()
    assert alarm["scopes"] == ["${azurerm_linux_virtual_machine.machine.id}"]
    assert alarm["action"] == [{"action_group_id": "${azurerm_monitor_action_group.notices.id}"}]


def test_a_machine_of_google_is_written_for_terraform(identity: str, tmp_path: Path) -> None:
    wanted = gcp(identity, notify=("ops@example.org",), domain="api.example.org",
                 service_account="me@proj-1.iam.gserviceaccount.com")  # fmt: skip
    document = written(wanted, tmp_path)
    assert faults(document) == []
    made = document["resource"]
    assert "google_compute_instance" in made
    assert {name: each["allow"] for name, each in made["google_compute_firewall"].items()} == {
        "ssh": [{"protocol": "tcp", "ports": ["22"]}],
        "callers": [{"protocol": "tcp", "ports": ["80", "443"]}],
    }
    machine = made["google_compute_instance"]["machine"]
    assert machine["machine_type"] == "e2-small"
    assert machine["metadata"]["block-project-ssh-keys"] == "TRUE"
    assert machine["shielded_instance_config"]["enable_secure_boot"]
    assert machine["tags"] == made["google_compute_firewall"]["ssh"]["target_tags"]
    (policy,) = made["google_monitoring_alert_policy"].values()
    (condition,) = policy["conditions"]
    assert (
        "${google_compute_instance.machine.instance_id}"
        in (condition["condition_threshold"]["filter"])
    )
    assert policy["notification_channels"] == [
        "${google_monitoring_notification_channel.gcp_channel_1.id}"
    ]


def test_a_subnet_of_your_own_is_not_made_again(identity: str, tmp_path: Path) -> None:
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers"
    own = f"{group}/Microsoft.Network/virtualNetworks/v/subnets/s"
    document = written(azure(identity, subnet=own, alarms=False), tmp_path)
    assert faults(document) == []
    assert "azurerm_virtual_network" not in document["resource"]
    (inside,) = document["resource"]["azurerm_network_interface"]["interface"]["ip_configuration"]
    assert inside["subnet_id"] == own
    theirs = "projects/host/regions/europe-west1/subnetworks/mine"
    document = written(gcp(identity, subnet=theirs, alarms=False), tmp_path)
    assert faults(document) == []
    assert "google_compute_network" not in document["resource"]
    assert document["data"]["google_compute_subnetwork"]["own"] == {
        "name": "mine", "region": "europe-west1", "project": "host"
    }  # fmt: skip
    rule = document["resource"]["google_compute_firewall"]["callers"]
    assert rule["network"] == "${data.google_compute_subnetwork.own.network}"


@pytest.mark.parametrize("make", [azure, gcp])
def test_it_carries_no_mark_no_name_and_no_secret_of_what_apply_makes(
    make: Any, identity: str, tmp_path: Path
) -> None:
    document = written(make(identity), tmp_path)
    text = json.dumps(document)
    assert "roadworthy-deployment" not in text
    assert "PRIVATE KEY" not in text
    names = [
        each["name"]
        for kind in ("azurerm_resource_group", "google_compute_instance", "google_compute_address")
        for each in document["resource"].get(kind, {}).values()
    ]
    assert names
    assert all(name.startswith("roadworthy-prod-terraform") for name in names)


@pytest.mark.parametrize("make", [azure, gcp])
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tail=st.text(st.sampled_from("${}%abc/.\"'"), max_size=12))
def test_texts_of_yours_are_no_templates(
    make: Any, tail: str, identity: str, tmp_path: Path
) -> None:
    hostile = Project().override("monitor", runbook=f"https://example.org/{tail}${{path.module}}")
    document = written(make(identity), tmp_path, hostile)
    assert faults(document) == []
    said = json.dumps(document["resource"]).replace("$${", "").replace("%%{", "")
    assert "${path.module}" not in said
    assert "%{" not in said


def test_who_is_not_signed_in_is_told_so_by_the_first_call(
    identity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadworthy.deploy.cloud.opening import open_provider

    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    provider = open_provider(Project(), "prod", gcp(identity), None)
    with pytest.raises(OutsideError, match="no usable Google Cloud credentials"):
        provider.observe()


def names(document: dict[str, Any]) -> set[str]:
    """Every name that Terraform gives to something."""
    keys = ("name", "account_id", "workload_identity_pool_id")
    return {
        each[key] for kind, resources in document["resource"].items()
        for each in resources.values() for key in keys
        if key in each and not each[key].startswith("${") and "monitoring" not in kind
    }  # fmt: skip


def names_of(wanted: GcpSection) -> set[str]:
    """Every name that apply gives to something of a deployment called as Terraform's."""
    parts = all_parts(Naming("proj-1", "prod-terraform", "adult"), wanted, Project()).values()
    found = {
        part.body.get("accountId") or part.path.rpartition("/")[2] for part in parts
        if part.collection not in ("alertPolicies", "notificationChannels", "dashboards",
                                   "workloadIdentityPoolProviders")
    }  # fmt: skip
    return found - {"roadworthy-prod-terraform-trial"}  # by which apply asks before callers do


@pytest.mark.parametrize("certificate", [None, "projects/proj-1/global/sslCertificates/api"])
def test_what_a_fleet_of_google_stands_on_has_the_names_that_apply_gives(
    certificate: str | None, tmp_path: Path
) -> None:
    wanted = GcpSection(zone="europe-west1-b", project="proj-1", instances=Instances(), ci=CI,
                        certificate=certificate, notify=("ops@example.org",))  # fmt: skip
    document = written(wanted, tmp_path)
    assert faults(document) == []
    assert names(document) == names_of(wanted)
    made = document["resource"]
    assert "google_compute_region_instance_group_manager" not in made
    (reader,) = made["google_storage_bucket_iam_member"].values()
    assert reader["member"] == "serviceAccount:${google_service_account.machines.email}"
    assert reader["role"] == "roles/storage.objectViewer"
    (door,) = made["google_compute_global_forwarding_rule"].values()
    assert door["port_range"] == ("443-443" if certificate else "80-80")
    (trust,) = made["google_iam_workload_identity_pool_provider"].values()
    assert trust["attribute_condition"] == (
        "assertion.sub == 'repo:acme/churn:environment:production'"
    )
    (user,) = made["google_service_account_iam_member"].values()
    assert user["role"] == "roles/iam.workloadIdentityUser"
    assert user["member"].endswith("/subject/repo:acme/churn:environment:production")
    errors = made["google_monitoring_alert_policy"]["gcp_alarm_errors"]["conditions"][0]
    assert errors["condition_threshold"]["denominator_aggregations"]


def test_a_fleet_of_google_comes_with_the_release_that_its_machines_serve(
    tmp_path: Path, versions: list[Trained], identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    wanted = GcpSection(zone="europe-west1-b", project="proj-1", instances=Instances(), ci=CI,
                        certificate="projects/proj-1/global/sslCertificates/api")  # fmt: skip
    project = registry_project(tmp_path / "registry")
    project = msgspec.structs.replace(project, deploy={"prod": wanted})
    file = export_terraform(project, "prod", str(versions[0].bundle.path), tmp_path / "out")
    document = json.loads(file.read_text())
    assert faults(document) == []
    plain = written(msgspec.structs.replace(wanted, certificate=None), tmp_path / "plain")
    beside = gcp(identity, notify=("ops@example.org",), database="db-f1-micro",
                 database_access="private")  # fmt: skip
    machine = written(beside, tmp_path / "machine")
    used = {kind for each in (document, plain, machine) for kind in each["resource"]}
    assert used == set(schema("google"))
    made, out = document["resource"], tmp_path / "out"
    digest = hashlib.sha256((out / "release.tar").read_bytes()).hexdigest()
    stored = made["google_storage_bucket_object"]["release"]
    assert stored["name"].endswith(f"/{digest}.tar")
    script = (out / "startup-script").read_text()
    bucket = made["google_storage_bucket"]["releases"]["name"]
    assert f"gs://{bucket}/{stored['name']}" in script
    assert digest in script
    (service,) = made["google_compute_backend_service"].values()
    group = "${google_compute_region_instance_group_manager.group.instance_group}"
    assert service["backend"] == [{"group": group}]
    scaling = made["google_compute_region_autoscaler"]["scaling"]["autoscaling_policy"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (2, 4)
    assert sorted(each.name for each in out.iterdir()) == [
        "main.tf.json", "release.tar", "startup-script",
    ]  # fmt: skip


def _nothing(platform: Platform, folder: Path) -> Runtime:
    return Runtime(platform, "", ())


@pytest.mark.parametrize("make", [azure, gcp])
def test_the_checker_sees_what_is_wrong(make: Any, identity: str, tmp_path: Path) -> None:
    document = written(make(identity), tmp_path)
    resources = document["resource"]
    for kind, argument in {
        "azurerm_linux_virtual_machine": "size", "google_compute_instance": "machine_type"
    }.items():  # fmt: skip
        for each in resources.get(kind, {}).values():
            each["sise"] = each.pop(argument)
            each["tags"] = 5
    resources.pop("azurerm_subnet", None)
    resources.pop("google_compute_subnetwork", None)
    assert len(faults(document)) >= 3
