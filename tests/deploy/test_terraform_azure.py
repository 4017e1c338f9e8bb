"""Terraform's JSON for a fleet and for databases on Azure and Google Cloud."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from roadworthy.deploy.azure.exporting import all_parts
from roadworthy.deploy.azure.resource import Naming
from roadworthy.deploy.deploying import export_terraform
from roadworthy.project import AzureSection, Instances, Project
from tests.conftest import Trained
from tests.deploy.terraform.checking import faults, schema
from tests.deploy.test_terraform_elsewhere import (
    CI,
    SUBSCRIPTION,
    _nobody_is_signed_in,
    _nothing,
    azure,
    gcp,
    identity,
    written,
)
from tests.registry.conftest import registry_project

__all__ = ["_nobody_is_signed_in", "identity"]  # fixtures
VAULT = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/keys/providers/Microsoft.KeyVault/vaults/ours"
)
SECRET = f"{VAULT}/secrets/api"
BESIDE = {"database": "Standard_D2ds_v5", "database_from": ("192.0.2.0/24", "198.51.100.7/32")}


def fleet(**values: Any) -> AzureSection:
    given: dict[str, Any] = {
        "region": "westeurope", "subscription": SUBSCRIPTION, "instances": Instances(),
        "notify": ("ops@example.org",), "ci": CI, **values,
    }  # fmt: skip
    return AzureSection(**given)


def names(document: dict[str, Any]) -> set[str]:
    """Every name that Terraform gives to something that has a path of its own at Azure."""
    apart = ("association", "_rule", "_subnet")
    return {
        each["name"].lower() for kind, resources in document["resource"].items()
        for each in resources.values()
        if "name" in each and not kind.endswith(apart)
    }  # fmt: skip


def names_of(wanted: AzureSection) -> set[str]:
    """Every name that apply gives to something of a deployment called as Terraform's."""
    naming = Naming(SUBSCRIPTION, "prod-terraform", "adult")
    return {
        part.path.rpartition("/")[2].lower()
        for part in all_parts(naming, wanted, Project()).values()
        if not part.kind.endswith(("roleAssignments", "firewallRules", "administrators"))
    }


@pytest.mark.parametrize("given", [{}, {"certificate": SECRET, "domain": "api.example.org"}])
def test_what_a_fleet_of_azure_stands_on_has_the_names_that_apply_gives(
    given: dict[str, Any], tmp_path: Path
) -> None:
    wanted = fleet(**BESIDE, **given)
    document = written(wanted, tmp_path)
    assert faults(document) == []
    assert names(document) == names_of(wanted)
    made = document["resource"]
    assert "azurerm_linux_virtual_machine_scale_set" not in made
    assert document["provider"]["azurerm"]["storage_use_azuread"]
    gateway = made["azurerm_application_gateway"]["gateway"]
    (listener,) = gateway["http_listener"]
    assert listener["protocol"] == ("Https" if given else "Http")
    assert gateway["frontend_port"][0]["port"] == (443 if given else 80)
    assert gateway["ssl_policy"]["policy_name"] == "AppGwSslPolicy20220101"
    assert gateway["zones"] == ["1", "2", "3"]
    rights = made["azurerm_role_assignment"]
    reader = rights["releases_read"]
    assert reader["scope"] == "${azurerm_storage_container.releases_container.id}"
    assert reader["principal_id"] == "${azurerm_user_assigned_identity.identity.principal_id}"
    assert rights["releases_write"]["principal_id"] == (
        "${data.azurerm_client_config.current.object_id}"
    )
    assert rights["releases_write_ci"]["principal_id"] == (
        "${azurerm_user_assigned_identity.ci.principal_id}"
    )
    assert rights["deploys"]["scope"] == "${azurerm_resource_group.group.id}"
    if given:
        assert rights["gateway_right"]["scope"] == SECRET
        assert gateway["identity"]["identity_ids"] == [
            "${azurerm_user_assigned_identity.gateway_identity.id}"
        ]
        assert gateway["ssl_certificate"][0]["key_vault_secret_id"] == (
            "https://ours.vault.azure.net/secrets/api"
        )
    subnets = made["azurerm_subnet_nat_gateway_association"]
    assert list(subnets) == ["machines"]  # the gateway's own subnet must have none
    (board,) = made["azurerm_application_insights_workbook"].values()
    shown = json.loads(board["data_json"])
    assert shown["fallbackResourceIds"] == ["${azurerm_application_gateway.gateway.id}"]
    assert SUBSCRIPTION not in board["data_json"]
    errors = made["azurerm_monitor_metric_alert"]["errors"]
    assert errors["scopes"] == ["${azurerm_application_gateway.gateway.id}"]
    assert "roadworthy-deployment" not in json.dumps(document)


def test_a_fleet_of_azure_comes_with_the_release_that_its_machines_serve(
    tmp_path: Path, versions: list[Trained], identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    project = registry_project(tmp_path / "registry")
    wanted = fleet(**BESIDE)
    project = msgspec.structs.replace(project, deploy={"prod": wanted})
    out = tmp_path / "out"
    file = export_terraform(project, "prod", str(versions[0].bundle.path), out)
    document = json.loads(file.read_text())
    assert faults(document) == []
    machine = written(azure(identity), tmp_path / "machine")
    secluded = azure(identity, database="Standard_B1ms", database_access="private")
    private = written(secluded, tmp_path / "private")
    assert faults(private) == []
    used = {kind for each in (document, machine, private) for kind in each["resource"]}
    assert used == set(schema("azurerm"))
    made = document["resource"]
    digest = hashlib.sha256((out / "release.tar").read_bytes()).hexdigest()
    stored = made["azurerm_storage_blob"]["release"]
    assert stored["name"].endswith(f"/{digest}.tar")
    data = (out / "user-data").read_text()
    assert len(data) <= 16_384
    assert digest in data
    account = made["azurerm_storage_account"]["releases"]["name"]
    assert f"https://{account}.blob.core.windows.net/releases/{stored['name']}" in data
    whom = made["azurerm_user_assigned_identity"]["identity"]["name"]
    group = made["azurerm_resource_group"]["group"]["name"]
    assert f"/resourceGroups/{group}/" in data
    assert f"/userAssignedIdentities/{whom}'" in data
    machines = made["azurerm_linux_virtual_machine_scale_set"]["machines"]
    assert machines["custom_data"] == '${filebase64("${path.module}/user-data")}'
    assert (machines["instances"], machines["sku"]) == (2, "Standard_B2s")
    assert machines["lifecycle"]["ignore_changes"] == ["instances"]
    (interface,) = machines["network_interface"]
    (inside,) = interface["ip_configuration"]
    (pool,) = made["azurerm_application_gateway"]["gateway"]["backend_address_pool"]
    assert inside["application_gateway_backend_address_pool_ids"] == [
        f"${{azurerm_application_gateway.gateway.id}}/backendAddressPools/{pool['name']}"
    ]
    alarms = made["azurerm_monitor_metric_alert"]
    assert alarms.keys() == {"down", "errors", "latency", "no_traffic", "cpu", "memory"}
    for name in ("cpu", "memory"):
        assert alarms[name]["scopes"] == [
            "${azurerm_linux_virtual_machine_scale_set.machines.id}"
        ]  # fmt: skip
        assert alarms[name]["action"] == [
            {"action_group_id": "${azurerm_monitor_action_group.notices.id}"}
        ]
    scaling = made["azurerm_monitor_autoscale_setting"]["scaling"]["profile"][0]["capacity"]
    assert (scaling["minimum"], scaling["maximum"]) == (2, 4)
    assert sorted(each.name for each in out.iterdir()) == [
        "main.tf.json", "release.tar", "user-data",
    ]  # fmt: skip


def test_terraform_goes_on_when_the_machines_are_ready_and_not_before(
    tmp_path: Path, versions: list[Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script is run as a machine runs it, against a server that becomes ready."""
    monkeypatch.setattr("roadworthy.deploy.cloud.fleet_base.gather", _nothing)
    answers: list[int] = []

    class Machine(BaseHTTPRequestHandler):
        """A server that is not ready when it is asked first."""

        def do_GET(self) -> None:
            assert self.path == "/readyz"
            answers.append(200 if answers else 503)
            self.send_response(answers[-1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    project = msgspec.structs.replace(
        registry_project(tmp_path / "registry"), deploy={"prod": fleet()}
    )
    file = export_terraform(project, "prod", str(versions[0].bundle.path), tmp_path / "out")
    made = json.loads(file.read_text())["resource"]
    machines = made["azurerm_linux_virtual_machine_scale_set"]["machines"]
    wait = machines["extension"][-1]
    assert (wait["publisher"], wait["type"]) == ("Microsoft.Azure.Extensions", "CustomScript")
    script = base64.b64decode(json.loads(wait["settings"])["script"]).decode()
    assert "127.0.0.1:80/readyz" in script
    with ThreadingHTTPServer(("127.0.0.1", 0), Machine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = script.replace("127.0.0.1:80", f"127.0.0.1:{server.server_port}")
        here = here.replace("sleep 5", "sleep 0").replace("sleep 30", "sleep 0")
        found = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a python3
        done = subprocess.run(
            ["sh", "-c", here], timeout=300, check=False, env={**os.environ, "PATH": found}
        )
        server.shutdown()
    assert done.returncode == 0
    assert answers[:2] == [503, 200]


def test_a_database_beside_a_machine_of_azure_has_no_password_and_is_kept(
    identity: str, tmp_path: Path
) -> None:
    wanted = azure(identity, **BESIDE)
    document = written(wanted, tmp_path)
    assert faults(document) == []
    assert names(document) == names_of(wanted)
    made = document["resource"]
    server = made["azurerm_postgresql_flexible_server"]["database"]
    assert (server["sku_name"], server["storage_mb"]) == ("GP_Standard_D2ds_v5", 32_768)
    assert server["authentication"]["password_auth_enabled"] is False
    assert not any("password" in key for key in server)
    assert server["lifecycle"]["prevent_destroy"]
    store = made["azurerm_storage_account"]["store"]
    assert (store["shared_access_key_enabled"], store["lifecycle"]) == (
        False, {"prevent_destroy": True}
    )  # fmt: skip
    rules = made["azurerm_postgresql_flexible_server_firewall_rule"].values()
    assert {(each["start_ip_address"], each["end_ip_address"]) for each in rules} == {
        ("192.0.2.0", "192.0.2.255"), ("198.51.100.7", "198.51.100.7")
    }  # fmt: skip
    (admin,) = made["azurerm_postgresql_flexible_server_active_directory_administrator"].values()
    assert admin["object_id"] == "${data.azurerm_client_config.current.object_id}"
    assert admin["principal_name"] == "${var.administrator}"
    assert "default" not in document["variable"]["administrator"]
    told = document["output"]["registry"]["value"]
    assert told["url"].startswith("postgresql://${urlencode(var.administrator)}@${azurerm_")
    assert (told["store"], told["account"]) == ("az://models", store["name"])


def test_a_database_with_a_private_address_has_an_endpoint_in_the_network(
    identity: str, tmp_path: Path
) -> None:
    wanted = azure(identity, database="Standard_B1ms", database_access="private")
    document = written(wanted, tmp_path)
    assert faults(document) == []
    made = document["resource"]
    server = made["azurerm_postgresql_flexible_server"]["database"]
    assert server["public_network_access_enabled"] is False
    assert "azurerm_postgresql_flexible_server_firewall_rule" not in made
    (endpoint,) = made["azurerm_private_endpoint"].values()
    assert endpoint["subnet_id"] == "${azurerm_subnet.machines.id}"
    assert endpoint["private_dns_zone_group"]["private_dns_zone_ids"] == [
        "${azurerm_private_dns_zone.database_zone.id}"
    ]
    (link,) = made["azurerm_private_dns_zone_virtual_network_link"].values()
    assert link["virtual_network_id"] == "${azurerm_virtual_network.network.id}"


@pytest.mark.parametrize("fleets", [False, True])
def test_the_password_of_googles_database_is_in_secret_manager_and_in_no_state(
    fleets: bool, identity: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"database": "db-custom-1-3840", "database_from": ("192.0.2.0/24",)}
    if fleets:
        given["instances"] = Instances()
    document = written(gcp(identity, **given), tmp_path)
    assert faults(document) == []
    made = document["resource"]
    server = made["google_sql_database_instance"]["database"]
    assert server["deletion_protection"]
    reached = server["settings"]["ip_configuration"]
    assert (reached["ssl_mode"], reached["authorized_networks"][0]["value"]) == (
        "ENCRYPTED_ONLY", "192.0.2.0/24"
    )  # fmt: skip
    # only arguments that Terraform writes and forgets
    version = made["google_secret_manager_secret_version"]["password"]
    assert version["secret_data_wo"] == "${ephemeral.random_password.password.result}"
    assert server["root_password_wo"] == (
        "${ephemeral.google_secret_manager_secret_version.password.secret_data}"
    )
    assert not {"root_password", "secret_data"} & (server.keys() | version.keys())
    assert document["terraform"]["required_version"] == ">= 1.11"
    assert set(document["terraform"]["required_providers"]) == {"google", "random"}
    assert made["google_storage_bucket"]["models"]["force_destroy"] is False
    told = document["output"]["registry"]["value"]
    assert told["store"] == "gs://${google_storage_bucket.models.name}"
    assert "roadworthy-deployment" not in json.dumps(document)
    plain = written(gcp(identity), tmp_path / "plain")
    assert plain["terraform"]["required_version"] == ">= 1.5"
    assert "ephemeral" not in plain


def test_a_database_of_google_with_a_private_address_has_an_endpoint_in_the_network(
    identity: str, tmp_path: Path
) -> None:
    wanted = gcp(identity, database="db-f1-micro", database_access="private")
    document = written(wanted, tmp_path)
    assert faults(document) == []
    made = document["resource"]
    server = made["google_sql_database_instance"]["database"]
    reached = server["settings"]["ip_configuration"]
    assert reached["ipv4_enabled"] is False
    assert reached["psc_config"] == [{"psc_enabled": True, "allowed_consumer_projects": ["proj-1"]}]
    addresses = made["google_compute_address"]
    assert set(addresses) == {"address", "database_address"}
    assert addresses["database_address"]["subnetwork"] == ("${google_compute_subnetwork.subnet.id}")
    (rule,) = made["google_compute_forwarding_rule"].values()
    assert rule["ip_address"] == "${google_compute_address.database_address.id}"
    told = document["output"]["registry"]["value"]["url"]
    assert "${google_compute_address.database_address.address}" in told


def test_the_checker_sees_variables_and_values_that_nobody_gives(
    identity: str, tmp_path: Path
) -> None:
    beside = azure(identity, **BESIDE)
    document = written(beside, tmp_path)
    del document["variable"], document["data"]["azurerm_client_config"]
    assert {each for each in faults(document) if "administrator is" in each}
    assert {each for each in faults(document) if "client_config.current" in each}
    google = written(
        gcp(identity, database="db-f1-micro", database_from=("192.0.2.0/24",)), tmp_path
    )
    del google["ephemeral"]["random_password"]
    assert faults(google) == ["ephemeral random_password.password is not there"]
