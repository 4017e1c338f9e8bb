"""The parts of a fleet as resources of Terraform's provider `hashicorp/azurerm`.

`deploy apply` gives each release a pool of the gateway, and moves callers from one to the next.
Terraform would take a pool away before the machines in it: so all are in one pool here, of which
the gateway chooses those that are ready, and the machines before go when the new ones are.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roadworthy.deploy.azure.resource import Resource
from roadworthy.deploy.azure.terraform_words import Places, named, reference, word
from roadworthy.deploy.cloud.fleet_base import PORT
from roadworthy.deploy.cloud.terraform import Resources

USER_DATA, ARCHIVE = "user-data", "release.tar"
"""The files beside the document: what machines begin with, and what they fetch."""
_POOL = "machines"
_SETTLING = 30
"""Seconds in which the gateway sees that a machine is ready."""
_WAIT = f"""\
#!/bin/sh
timeout 2700 sh -c 'until python3 -c "
from urllib.request import urlopen
urlopen(\\"http://127.0.0.1:{PORT}/readyz\\", timeout=5)
" 2>/dev/null; do sleep 5; done' && sleep {_SETTLING}
"""
_BEFORE = [
    "azurerm_storage_blob.release", "azurerm_role_assignment.releases_read",
    "azurerm_subnet_nat_gateway_association.machines",
    "azurerm_nat_gateway_public_ip_association.out",
]  # fmt: skip
"""What machines need from their first boot on, and do not name."""


def stored(key: str) -> Resources:
    """The archive that a release's machines fetch.

    Args:
        key: Its place in the container.
    """
    return {
        "azurerm_storage_blob.release": {
            "name": key,
            "storage_container_id": "${azurerm_storage_container.releases_container.id}",
            "type": "Block",
            "source": f"${{path.module}}/{ARCHIVE}",
            # machines of the release before may still fetch theirs
            "lifecycle": {"create_before_destroy": True},
            "depends_on": ["azurerm_role_assignment.releases_write"],
        }
    }


def _way_out(part: Resource, known: Places) -> Resources:
    (address,) = part.body["properties"]["publicIpAddresses"]
    return {
        "azurerm_nat_gateway.out": {**named(part), "sku_name": part.body["sku"]["name"]},
        "azurerm_nat_gateway_public_ip_association.out": {
            "nat_gateway_id": "${azurerm_nat_gateway.out.id}",
            "public_ip_address_id": reference(address["id"], known),
        },
    }


def _gateway(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    size = told["autoscaleConfiguration"]
    arguments = {
        **named(part),
        "sku": told["sku"],
        "autoscale_configuration": {
            "min_capacity": size["minCapacity"], "max_capacity": size["maxCapacity"],
        },
        "ssl_policy": {word(key): each for key, each in told["sslPolicy"].items()},
        "gateway_ip_configuration": [
            {"name": each["name"],
             "subnet_id": reference(each["properties"]["subnet"]["id"], known)}
            for each in told["gatewayIPConfigurations"]
        ],
        "frontend_ip_configuration": [
            {"name": each["name"], "public_ip_address_id":
             reference(each["properties"]["publicIPAddress"]["id"], known)}
            for each in told["frontendIPConfigurations"]
        ],
        "frontend_port": [
            {"name": each["name"], "port": each["properties"]["port"]}
            for each in told["frontendPorts"]
        ],
        "http_listener": [_listener(each) for each in told["httpListeners"]],
        "request_routing_rule": [_rule(each) for each in told["requestRoutingRules"]],
        "probe": [_probe(each) for each in told["probes"]],
        "backend_http_settings": [
            _settings(each) for each in told["backendHttpSettingsCollection"]
        ],
        "backend_address_pool": [{"name": _POOL}],
    }  # fmt: skip
    if "zones" in part.body:
        arguments["zones"] = part.body["zones"]
    if "sslCertificates" in told:
        arguments["ssl_certificate"] = [
            {"name": each["name"], "key_vault_secret_id": each["properties"]["keyVaultSecretId"]}
            for each in told["sslCertificates"]
        ]
        arguments["identity"] = _identities(part, known)
        arguments["depends_on"] = ["azurerm_role_assignment.gateway_right"]
    return {"azurerm_application_gateway.gateway": arguments}


def _identities(part: Resource, known: Places) -> dict[str, Any]:
    identity = part.body["identity"]
    listed = [reference(each, known) for each in identity["userAssignedIdentities"]]
    return {"type": identity["type"], "identity_ids": listed}


def _last(told: Mapping[str, Any], key: str) -> str:
    """The name of a part of the gateway that another part of it names."""
    return str(told[key]["id"]).rpartition("/")[2]


def _listener(each: Mapping[str, Any]) -> dict[str, Any]:
    told = each["properties"]
    found = {
        "name": each["name"],
        "frontend_ip_configuration_name": _last(told, "frontendIPConfiguration"),
        "frontend_port_name": _last(told, "frontendPort"),
        "protocol": told["protocol"],
    }
    if "sslCertificate" in told:
        found["ssl_certificate_name"] = _last(told, "sslCertificate")
    return found


def _rule(each: Mapping[str, Any]) -> dict[str, Any]:
    """Everything leads to the pool; a path map is what `deploy apply` tries releases by."""
    told = each["properties"]
    return {
        "name": each["name"],
        "rule_type": "Basic",
        "priority": told["priority"],
        "http_listener_name": _last(told, "httpListener"),
        "backend_address_pool_name": _POOL,
        "backend_http_settings_name": _POOL,
    }


def _probe(each: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(each["properties"])
    match = {"status_code": told.pop("match")["statusCodes"]}
    return {"name": each["name"], **{word(key): value for key, value in told.items()},
            "match": match}  # fmt: skip


def _settings(each: Mapping[str, Any]) -> dict[str, Any]:
    told = each["properties"]
    drain = told["connectionDraining"]
    return {
        "name": each["name"],
        "port": told["port"],
        "protocol": told["protocol"],
        "cookie_based_affinity": told["cookieBasedAffinity"],
        "request_timeout": told["requestTimeout"],
        "probe_name": _last(told, "probe"),
        "connection_draining": {
            "enabled": drain["enabled"], "drain_timeout_sec": drain["drainTimeoutInSec"],
        },
    }  # fmt: skip


def _machines(part: Resource, known: Places) -> Resources:
    told, sku = part.body["properties"], part.body["sku"]
    machine = told["virtualMachineProfile"]
    login, disk = machine["osProfile"], machine["storageProfile"]["osDisk"]
    security = machine.get("securityProfile") or {}
    boot = security.get("uefiSettings") or {}
    repairs = told["automaticRepairsPolicy"]
    network = machine["networkProfile"]["networkInterfaceConfigurations"]
    arguments = {
        **named(part),
        "sku": sku["name"],
        "instances": sku["capacity"],
        "identity": _identities(part, known),
        "upgrade_mode": told["upgradePolicy"]["mode"],
        "overprovision": told["overprovision"],
        "single_placement_group": told["singlePlacementGroup"],
        "automatic_instance_repair": {
            "enabled": repairs["enabled"], "grace_period": repairs["gracePeriod"],
        },
        "computer_name_prefix": login["computerNamePrefix"],
        "admin_username": login["adminUsername"],
        "disable_password_authentication": login["linuxConfiguration"][
            "disablePasswordAuthentication"
        ],
        "admin_ssh_key": [
            {"username": login["adminUsername"], "public_key": each["keyData"]}
            for each in login["linuxConfiguration"]["ssh"]["publicKeys"]
        ],
        "custom_data": f'${{filebase64("${{path.module}}/{USER_DATA}")}}',
        "source_image_reference": machine["storageProfile"]["imageReference"],
        "os_disk": {
            "caching": "ReadWrite",  # what Azure takes when nothing is said
            "disk_size_gb": disk["diskSizeGB"],
            "storage_account_type": disk["managedDisk"]["storageAccountType"],
        },
        "network_interface": [_interface(each, known) for each in network],
        "extension": [
            *(_extension(each) for each in machine["extensionProfile"]["extensions"]), _waiting(),
        ],
        "extensions_time_budget": "PT1H",
        "encryption_at_host_enabled": security.get("encryptionAtHost", False),
        "secure_boot_enabled": boot.get("secureBootEnabled", False),
        "vtpm_enabled": boot.get("vTpmEnabled", False),
        "boot_diagnostics": {},
        "depends_on": _BEFORE,
        # they are as many as the load asks for
        "lifecycle": {"create_before_destroy": True, "ignore_changes": ["instances"]},
    }  # fmt: skip
    if "zones" in part.body:
        arguments |= {"zones": part.body["zones"], "zone_balance": told["zoneBalance"]}
    return {"azurerm_linux_virtual_machine_scale_set.machines": arguments}


def _interface(each: Mapping[str, Any], known: Places) -> dict[str, Any]:
    told = each["properties"]
    pool = f"${{azurerm_application_gateway.gateway.id}}/backendAddressPools/{_POOL}"
    return {
        "name": each["name"],
        "primary": told["primary"],
        "network_security_group_id": reference(told["networkSecurityGroup"]["id"], known),
        "ip_configuration": [
            {
                "name": inside["name"],
                "primary": True,
                "subnet_id": reference(inside["properties"]["subnet"]["id"], known),
                "application_gateway_backend_address_pool_ids": [pool],
            }
            for inside in told["ipConfigurations"]
        ],
    }


def _extension(each: Mapping[str, Any]) -> dict[str, Any]:
    told = each["properties"]
    return {
        "name": each["name"],
        "publisher": told["publisher"],
        "type": told["type"],
        "type_handler_version": told["typeHandlerVersion"],
        "auto_upgrade_minor_version": told["autoUpgradeMinorVersion"],
        "settings": msgspec.json.encode(told["settings"]).decode(),
    }


def _waiting() -> dict[str, Any]:
    """What ends when a machine is ready: so Terraform goes on then, and not before."""
    script = base64.b64encode(_WAIT.encode()).decode()
    told = {
        "publisher": "Microsoft.Azure.Extensions", "type": "CustomScript",
        "typeHandlerVersion": "2.1", "autoUpgradeMinorVersion": True,
        "settings": {"script": script},
    }  # fmt: skip
    return _extension({"name": "wait", "properties": told})


def _scaling(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    target = "${azurerm_linux_virtual_machine_scale_set.machines.id}"
    arguments = {
        **named(part),
        "enabled": told["enabled"],
        "target_resource_id": target,
        "profile": [
            {
                "name": each["name"],
                "capacity": {key: int(number) for key, number in each["capacity"].items()},
                "rule": [_step(rule, target) for rule in each["rules"]],
            }
            for each in told["profiles"]
        ],
        "lifecycle": {"create_before_destroy": True},
    }
    return {"azurerm_monitor_autoscale_setting.scaling": arguments}


def _step(rule: Mapping[str, Any], target: str) -> dict[str, Any]:
    trigger, action = dict(rule["metricTrigger"]), rule["scaleAction"]
    del trigger["metricResourceUri"]
    return {
        "metric_trigger": {"metric_resource_id": target,
                           **{word(key): each for key, each in trigger.items()}},
        "scale_action": {**action, "value": int(action["value"])},
    }  # fmt: skip


FLEET_KINDS: dict[str, Callable[[Resource, Places], Resources]] = {
    "natgateways": _way_out,
    "applicationgateways": _gateway,
    "virtualmachinescalesets": _machines,
    "autoscalesettings": _scaling,
}
