"""The parts of a deployment on Azure as resources of Terraform's provider `hashicorp/azurerm`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roadworthy.deploy.azure.ci import RIGHT
from roadworthy.deploy.azure.dashboard import CONTENT
from roadworthy.deploy.azure.fleet.terraform import FLEET_KINDS
from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.azure.terraform_registry import REGISTRY_KINDS, VARIABLES, registry_output
from roadworthy.deploy.azure.terraform_words import (
    GROUP,
    KNOWN,
    Places,
    label,
    last_word,
    named,
    places,
    reference,
    word,
)
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import Resources, escaped, gathered

_RIGHTS = "/providers/Microsoft.Authorization/roleAssignments/"
_CLIENT = "data-azurerm_client_config.current"


def document(parts: Mapping[str, Resource], naming: Naming, more: Resources) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id.
        naming: The subscription.
        more: Resources that no part is.
    """
    known = places(parts)
    found: Resources = dict(more)
    for part in parts.values():
        found |= _KINDS[last_word(part.kind)](part, known)
    if "data.azurerm_client_config." in repr(found):
        found[_CLIENT] = {}
    provider: dict[str, Any] = {"features": {}, "subscription_id": naming.subscription}
    outputs = {"address": {"value": "${azurerm_public_ip.address.ip_address}"}}
    # a credential names its identity, and a blob its container, by another argument before
    version = ">= 4.0"
    if "azurerm_user_assigned_identity.ci" in found:
        outputs["client"] = {"value": "${azurerm_user_assigned_identity.ci.client_id}"}
        version = ">= 5.0"
    if any(place.startswith("azurerm_storage_account.") for place in found):
        provider["storage_use_azuread"] = True  # its accounts have no keys
        version = ">= 5.0"
    written = gathered(found, "azurerm", "hashicorp/azurerm", version, {"azurerm": provider})
    if (registry := registry_output(parts)) is not None:
        outputs["registry"] = registry
        written["variable"] = VARIABLES
    return written | {"output": outputs}


def _group(part: Resource, known: Places) -> Resources:
    arguments = {"name": part.path.rpartition("/")[2], "location": part.body["location"]}
    return {"azurerm_resource_group.group": arguments}


def _network(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    found: Resources = {
        "azurerm_virtual_network.network": {
            **named(part),
            "address_space": properties["addressSpace"]["addressPrefixes"],
        }
    }
    for subnet in properties["subnets"]:
        name, inside = word(subnet["name"]), subnet["properties"]
        found[f"azurerm_subnet.{name}"] = {
            "name": subnet["name"],
            "resource_group_name": GROUP,
            "virtual_network_name": "${azurerm_virtual_network.network.name}",
            "address_prefixes": [inside["addressPrefix"]],
        }
        if "natGateway" in inside:
            found[f"azurerm_subnet_nat_gateway_association.{name}"] = {
                "subnet_id": f"${{azurerm_subnet.{name}.id}}",
                "nat_gateway_id": reference(inside["natGateway"]["id"], known),
            }
    return found


def _firewall(part: Resource, known: Places) -> Resources:
    found: Resources = {"azurerm_network_security_group.firewall": named(part)}
    for rule in part.body["properties"]["securityRules"]:
        found[f"azurerm_network_security_rule.{word(rule['name'])}"] = {
            "name": rule["name"],
            "resource_group_name": GROUP,
            "network_security_group_name": "${azurerm_network_security_group.firewall.name}",
            **{word(key): value for key, value in rule["properties"].items()},
        }
    return found


def _address(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    arguments = {
        **named(part),
        "sku": part.body["sku"]["name"],
        "allocation_method": properties["publicIPAllocationMethod"],
        "ip_version": properties["publicIPAddressVersion"],
    }
    if "zones" in part.body:
        arguments["zones"] = part.body["zones"]
    return {f"azurerm_public_ip.{label(part)}": arguments}


def _interface(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    (inside,) = properties["ipConfigurations"]
    wanted = inside["properties"]
    return {
        "azurerm_network_interface.interface": {
            **named(part),
            "ip_configuration": [
                {
                    "name": inside["name"],
                    "subnet_id": reference(wanted["subnet"]["id"], known),
                    "private_ip_address_allocation": "Dynamic",
                    "public_ip_address_id": reference(wanted["publicIPAddress"]["id"], known),
                }
            ],
        },
        "azurerm_network_interface_security_group_association.firewall": {
            "network_interface_id": "${azurerm_network_interface.interface.id}",
            "network_security_group_id": reference(properties["networkSecurityGroup"]["id"], known),
        },
    }


def _machine(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    disk, login = properties["storageProfile"]["osDisk"], properties["osProfile"]
    security = properties.get("securityProfile") or {}
    boot = security.get("uefiSettings") or {}
    keys = login["linuxConfiguration"]["ssh"]["publicKeys"]
    arguments = {
        **named(part),
        "size": properties["hardwareProfile"]["vmSize"],
        "computer_name": login["computerName"],
        "admin_username": login["adminUsername"],
        "disable_password_authentication": True,
        "admin_ssh_key": [
            {"username": login["adminUsername"], "public_key": each["keyData"]} for each in keys
        ],
        "network_interface_ids": [
            reference(each["id"], known)
            for each in properties["networkProfile"]["networkInterfaces"]
        ],
        "source_image_reference": properties["storageProfile"]["imageReference"],
        "os_disk": {
            "name": disk["name"],
            "caching": "ReadWrite",  # what Azure takes when nothing is said
            "disk_size_gb": disk["diskSizeGB"],
            "storage_account_type": disk["managedDisk"]["storageAccountType"],
        },
        "encryption_at_host_enabled": security.get("encryptionAtHost", False),
        # both together are what Azure calls a trusted launch
        "secure_boot_enabled": boot.get("secureBootEnabled", False),
        "vtpm_enabled": boot.get("vTpmEnabled", False),
        "boot_diagnostics": {},
    }
    return {"azurerm_linux_virtual_machine.machine": arguments}


def _notices(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    receivers = [
        {
            "name": each["name"],
            "email_address": escaped(each["emailAddress"]),
            "use_common_alert_schema": each["useCommonAlertSchema"],
        }
        for each in properties["emailReceivers"]
    ]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "resource_group_name": GROUP,
        "short_name": properties["groupShortName"],
        **({"email_receiver": receivers} if receivers else {}),
    }
    return {"azurerm_monitor_action_group.notices": arguments}


def _alarm(part: Resource, known: Places) -> Resources:
    properties = part.body["properties"]
    criteria = [
        {
            "metric_namespace": each["metricNamespace"],
            "metric_name": each["metricName"],
            "aggregation": each["timeAggregation"],
            "operator": each["operator"],
            "threshold": each["threshold"],
            "skip_metric_validation": each["skipMetricValidation"],
            "dimension": each["dimensions"],
        }
        for each in properties["criteria"]["allOf"]
    ]
    actions = [
        {"action_group_id": reference(each["actionGroupId"], known)}
        for each in properties["actions"]
    ]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "resource_group_name": GROUP,
        "scopes": [reference(each, known) for each in properties["scopes"]],
        "description": escaped(properties["description"]),
        "severity": properties["severity"],
        "enabled": properties["enabled"],
        "auto_mitigate": properties["autoMitigate"],
        "frequency": properties["evaluationFrequency"],
        "window_size": properties["windowSize"],
        "criteria": criteria,
        "action": actions,
    }
    name = label(part).removeprefix("alarm_")
    return {f"azurerm_monitor_metric_alert.{name}": arguments}


def _dashboard(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    content = escaped(told[CONTENT])
    for path in msgspec.json.decode(told[CONTENT])["fallbackResourceIds"]:
        content = content.replace(path, reference(path, known))
    arguments = {
        **named(part),
        "display_name": told["displayName"],
        "category": told["category"],
        "source_id": told["sourceId"],
        "data_json": content,
    }
    return {"azurerm_application_insights_workbook.dashboard": arguments}


def _identity(part: Resource, known: Places) -> Resources:
    return {f"azurerm_user_assigned_identity.{label(part)}": named(part)}


def _trust(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "user_assigned_identity_id": "${azurerm_user_assigned_identity.ci.id}",
        "issuer": told["issuer"],
        "subject": told["subject"],
        "audience": told["audiences"],
    }
    return {"azurerm_federated_identity_credential.ci": arguments}


def _right(part: Resource, known: Places) -> Resources:
    told, scope = part.body["properties"], part.path.partition(_RIGHTS)[0]
    arguments = {
        "scope": reference(scope, known),
        "role_definition_id": told["roleDefinitionId"],
        "principal_id": fill(told["principalId"], _principals(known)),
    }
    if not told["principalType"].startswith("${"):  # else it is looked up
        arguments["principal_type"] = told["principalType"]
    name = word(part.id.rpartition("-")[2]) if part.id.startswith(RIGHT) else label(part)
    return {f"azurerm_role_assignment.{name}": arguments}


def _principals(known: Places) -> dict[str, str]:
    """What `${…}` stands for where a right says whose it is."""
    identities = [each for each in known.values() if "_identity." in each]
    return KNOWN | {
        f"azure-{each.partition('.')[2].replace('_', '-')}.principal": f"${{{each}.principal_id}}"
        for each in identities
    }


_KINDS: dict[str, Callable[[Resource, Places], Resources]] = {
    "resourcegroups": _group,
    "virtualnetworks": _network,
    "networksecuritygroups": _firewall,
    "publicipaddresses": _address,
    "networkinterfaces": _interface,
    "virtualmachines": _machine,
    "actiongroups": _notices,
    "metricalerts": _alarm,
    "workbooks": _dashboard,
    "userassignedidentities": _identity,
    "federatedidentitycredentials": _trust,
    "roleassignments": _right,
    **FLEET_KINDS,
    **REGISTRY_KINDS,
}
