"""How Terraform names what parts of a deployment on Azure are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from roadworthy.deploy.azure.fleet.releases import release_of
from roadworthy.deploy.azure.resource import Resource
from roadworthy.deploy.cloud.terraform import escaped

GROUP = "${azurerm_resource_group.group.name}"
ADMINISTRATOR, ADMINISTRATOR_TYPE = "administrator", "administrator_type"
"""Variables of the document: who looks after a database, by name and by type."""
KNOWN = {
    "signed-in.id": "${data.azurerm_client_config.current.object_id}",
    "signed-in.tenant": "${data.azurerm_client_config.current.tenant_id}",
    "signed-in.name": f"${{var.{ADMINISTRATOR}}}",
    "signed-in.type": f"${{var.{ADMINISTRATOR_TYPE}}}",
}
"""What `${…}` stands for in bodies of parts, in Terraform's words."""
_TYPES = {
    "resourcegroups": "resource_group",
    "virtualnetworks": "virtual_network",
    "networksecuritygroups": "network_security_group",
    "publicipaddresses": "public_ip",
    "natgateways": "nat_gateway",
    "networkinterfaces": "network_interface",
    "privatednszones": "private_dns_zone",
    "applicationgateways": "application_gateway",
    "virtualmachines": "linux_virtual_machine",
    "virtualmachinescalesets": "linux_virtual_machine_scale_set",
    "actiongroups": "monitor_action_group",
    "userassignedidentities": "user_assigned_identity",
    "storageaccounts": "storage_account",
    "containers": "storage_container",
}
"""Last word of a kind, in lower case -> the type of its resource."""
Places = Mapping[str, str]
"""Path of a part, in lower case -> type and name of its resource, with a dot between."""


def places(parts: Mapping[str, Resource]) -> Places:
    """Where Terraform has the parts to which others refer.

    Args:
        parts: The parts, by id.
    """
    found = {}
    for part in parts.values():
        kind = last_word(part.kind)
        if kind in _TYPES:
            found[part.path.lower()] = f"azurerm_{_TYPES[kind]}.{label(part)}"
    return found


def last_word(kind: str) -> str:
    """The last word of a kind, in lower case."""
    return kind.rpartition("/")[2].lower()


def label(part: Resource) -> str:
    """The name that Terraform knows a part by; parts of a release are called alike in all."""
    release = release_of(part.id)
    return word(part.id.removesuffix(f"-{release}").removeprefix("azure-"))


def own(part: Resource, attribute: str = "id") -> str:
    """A reference to a part's resource."""
    return f"${{azurerm_{_TYPES[last_word(part.kind)]}.{label(part)}.{attribute}}}"


def reference(path: str, known: Places) -> str:
    """The id of one of the parts, of a subnet of one of them, or of what is yours."""
    network, _, subnet = path.rpartition("/subnets/")
    if network.lower() in known:
        return f"${{azurerm_subnet.{word(subnet)}.id}}"
    place = known.get(path.lower())
    return f"${{{place}.id}}" if place else escaped(path)


def named(part: Resource) -> dict[str, Any]:
    """Arguments that most resources have."""
    return {
        "name": part.path.rpartition("/")[2],
        "location": part.body["location"],
        "resource_group_name": GROUP,
    }


def word(name: str) -> str:
    """A name of Azure as Terraform writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
