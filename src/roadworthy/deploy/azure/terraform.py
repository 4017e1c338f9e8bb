"""The parts of a deployment on Azure as resources of Terraform's provider `hashicorp/azurerm`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.deploy.cloud.terraform import Resources, escaped, gathered

_GROUP = "${azurerm_resource_group.group.name}"
_PLACES = {
    "virtualnetworks": "azurerm_virtual_network.network",
    "networksecuritygroups": "azurerm_network_security_group.firewall",
    "publicipaddresses": "azurerm_public_ip.address",
    "networkinterfaces": "azurerm_network_interface.interface",
    "virtualmachines": "azurerm_linux_virtual_machine.machine",
    "actiongroups": "azurerm_monitor_action_group.notices",
    "userassignedidentities": "azurerm_user_assigned_identity.ci",
}
"""Last word of a kind -> the resource."""


def document(parts: Mapping[str, Resource], naming: Naming) -> dict[str, Any]:
    """What Terraform reads.

    Args:
        parts: The parts, by id.
        naming: The subscription, and the group that ids of parts begin with.
    """
    found: Resources = {}
    for part in parts.values():
        found |= _KINDS[part.kind.rpartition("/")[2].lower()](part, naming)
    provider = {"azurerm": {"features": {}, "subscription_id": naming.subscription}}
    outputs = {"address": {"value": "${azurerm_public_ip.address.ip_address}"}}
    # a credential names its identity by another argument before
    version = ">= 4.0"
    if "azurerm_user_assigned_identity.ci" in found:
        outputs["client"] = {"value": "${azurerm_user_assigned_identity.ci.client_id}"}
        version = ">= 5.0"
    document = gathered(found, "azurerm", "hashicorp/azurerm", version, provider)
    return document | {"output": outputs}


def _reference(path: str, naming: Naming) -> str:
    """The id of one of the parts, or of what is yours."""
    if not path.startswith(f"{naming.group}/"):
        return escaped(path)
    kind = path.removeprefix(f"{naming.group}/providers/").split("/")[1]
    if "/subnets/" in path:
        return "${azurerm_subnet.machines.id}"
    return f"${{{_PLACES[kind.lower()]}.id}}"


def _named(part: Resource) -> dict[str, Any]:
    return {
        "name": part.path.rpartition("/")[2],
        "location": part.body["location"],
        "resource_group_name": _GROUP,
    }


def _group(part: Resource, naming: Naming) -> Resources:
    # beside the group that `deploy apply` makes
    name = f"{naming.name}-terraform"
    return {"azurerm_resource_group.group": {"name": name, "location": part.body["location"]}}


def _network(part: Resource, naming: Naming) -> Resources:
    properties = part.body["properties"]
    (subnet,) = properties["subnets"]
    return {
        "azurerm_virtual_network.network": {
            **_named(part),
            "address_space": properties["addressSpace"]["addressPrefixes"],
        },
        "azurerm_subnet.machines": {
            "name": subnet["name"],
            "resource_group_name": _GROUP,
            "virtual_network_name": "${azurerm_virtual_network.network.name}",
            "address_prefixes": [subnet["properties"]["addressPrefix"]],
        },
    }


def _firewall(part: Resource, naming: Naming) -> Resources:
    found: Resources = {"azurerm_network_security_group.firewall": _named(part)}
    for rule in part.body["properties"]["securityRules"]:
        found[f"azurerm_network_security_rule.{_word(rule['name'])}"] = {
            "name": rule["name"],
            "resource_group_name": _GROUP,
            "network_security_group_name": "${azurerm_network_security_group.firewall.name}",
            **{_word(key): value for key, value in rule["properties"].items()},
        }
    return found


def _address(part: Resource, naming: Naming) -> Resources:
    properties = part.body["properties"]
    arguments = {
        **_named(part),
        "sku": part.body["sku"]["name"],
        "allocation_method": properties["publicIPAllocationMethod"],
        "ip_version": properties["publicIPAddressVersion"],
    }
    return {"azurerm_public_ip.address": arguments}


def _interface(part: Resource, naming: Naming) -> Resources:
    properties = part.body["properties"]
    (inside,) = properties["ipConfigurations"]
    wanted = inside["properties"]
    return {
        "azurerm_network_interface.interface": {
            **_named(part),
            "ip_configuration": [
                {
                    "name": inside["name"],
                    "subnet_id": _reference(wanted["subnet"]["id"], naming),
                    "private_ip_address_allocation": "Dynamic",
                    "public_ip_address_id": _reference(wanted["publicIPAddress"]["id"], naming),
                }
            ],
        },
        "azurerm_network_interface_security_group_association.firewall": {
            "network_interface_id": "${azurerm_network_interface.interface.id}",
            "network_security_group_id": _reference(
                properties["networkSecurityGroup"]["id"], naming
            ),
        },
    }


def _machine(part: Resource, naming: Naming) -> Resources:
    properties = part.body["properties"]
    disk, login = properties["storageProfile"]["osDisk"], properties["osProfile"]
    security = properties.get("securityProfile") or {}
    boot = security.get("uefiSettings") or {}
    keys = login["linuxConfiguration"]["ssh"]["publicKeys"]
    arguments = {
        **_named(part),
        "size": properties["hardwareProfile"]["vmSize"],
        "computer_name": login["computerName"],
        "admin_username": login["adminUsername"],
        "disable_password_authentication": True,
        "admin_ssh_key": [
            {"username": login["adminUsername"], "public_key": each["keyData"]} for each in keys
        ],
        "network_interface_ids": [
            _reference(each["id"], naming)
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


def _notices(part: Resource, naming: Naming) -> Resources:
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
        "resource_group_name": _GROUP,
        "short_name": properties["groupShortName"],
        "email_receiver": receivers,
    }
    return {"azurerm_monitor_action_group.notices": arguments}


def _alarm(part: Resource, naming: Naming) -> Resources:
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
        {"action_group_id": _reference(each["actionGroupId"], naming)}
        for each in properties["actions"]
    ]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "resource_group_name": _GROUP,
        "scopes": [_reference(each, naming) for each in properties["scopes"]],
        "description": escaped(properties["description"]),
        "severity": properties["severity"],
        "enabled": properties["enabled"],
        "auto_mitigate": properties["autoMitigate"],
        "frequency": properties["evaluationFrequency"],
        "window_size": properties["windowSize"],
        "criteria": criteria,
        "action": actions,
    }
    name = _word(part.id.removeprefix("azure-alarm-"))
    return {f"azurerm_monitor_metric_alert.{name}": arguments}


def _identity(part: Resource, naming: Naming) -> Resources:
    return {"azurerm_user_assigned_identity.ci": _named(part)}


def _trust(part: Resource, naming: Naming) -> Resources:
    told = part.body["properties"]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "user_assigned_identity_id": "${azurerm_user_assigned_identity.ci.id}",
        "issuer": told["issuer"],
        "subject": told["subject"],
        "audience": told["audiences"],
    }
    return {"azurerm_federated_identity_credential.ci": arguments}


def _right(part: Resource, naming: Naming) -> Resources:
    told = part.body["properties"]
    arguments = {
        "scope": "${azurerm_resource_group.group.id}",
        "role_definition_id": told["roleDefinitionId"],
        "principal_id": "${azurerm_user_assigned_identity.ci.principal_id}",
        "principal_type": told["principalType"],
    }
    return {f"azurerm_role_assignment.{_word(part.id.rpartition('-')[2])}": arguments}


def _word(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()


_KINDS: dict[str, Callable[[Resource, Naming], Resources]] = {
    "resourcegroups": _group,
    "virtualnetworks": _network,
    "networksecuritygroups": _firewall,
    "publicipaddresses": _address,
    "networkinterfaces": _interface,
    "virtualmachines": _machine,
    "actiongroups": _notices,
    "metricalerts": _alarm,
    "userassignedidentities": _identity,
    "federatedidentitycredentials": _trust,
    "roleassignments": _right,
}
