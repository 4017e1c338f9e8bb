"""Storage and databases of a deployment on Azure as resources of `hashicorp/azurerm`.

Whoever applies the document looks after the database. Azure does not tell who that is by name, so
the document asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from roadworthy.deploy.azure.registry import DATABASE, MODELS, NAME, STORE
from roadworthy.deploy.azure.resource import Resource
from roadworthy.deploy.azure.terraform_words import (
    ADMINISTRATOR,
    ADMINISTRATOR_TYPE,
    GROUP,
    KNOWN,
    Places,
    label,
    named,
    reference,
)
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.terraform import Resources

VARIABLES = {
    ADMINISTRATOR: {
        "type": "string",
        "description": "Name in Entra ID of whoever applies this, who looks after the database",
    },
    ADMINISTRATOR_TYPE: {
        "type": "string", "default": "User",
        "description": "User, Group or ServicePrincipal",
    },
}  # fmt: skip
_TIERS = {"Burstable": "B", "GeneralPurpose": "GP", "MemoryOptimized": "MO"}
_ZONE = "${azurerm_private_dns_zone.database_zone.id}"
_SERVER = "${azurerm_postgresql_flexible_server.database.id}"


def registry_output(parts: Mapping[str, Resource]) -> dict[str, Any] | None:
    """What `[registry]` is to say; None: there is no database.

    Args:
        parts: The parts, by id.
    """
    if DATABASE not in parts:
        return None
    host = "${azurerm_postgresql_flexible_server.database.fqdn}"
    who = f"${{urlencode(var.{ADMINISTRATOR})}}"
    store = parts[STORE]
    return {
        "value": {
            "url": f"postgresql://{who}@{host}:5432/{NAME}?sslmode=require",
            "store": f"az://{parts[MODELS].path.rpartition('/')[2]}",
            "account": store.path.rpartition("/")[2],
        }
    }


def _account(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    tier, _, copies = part.body["sku"]["name"].partition("_")
    arguments = {
        **named(part),
        "account_kind": part.body["kind"],
        "account_tier": tier,
        "account_replication_type": copies,
        "allow_nested_items_to_be_public": told["allowBlobPublicAccess"],
        "shared_access_key_enabled": told["allowSharedKeyAccess"],
        "min_tls_version": told["minimumTlsVersion"],
        "https_traffic_only_enabled": told["supportsHttpsTrafficOnly"],
    }
    return {f"azurerm_storage_account.{label(part)}": arguments | _kept(part, STORE)}


def _container(part: Resource, known: Places) -> Resources:
    account = known[part.path.partition("/blobServices/")[0].lower()]
    access = part.body["properties"]["publicAccess"]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "storage_account_id": f"${{{account}.id}}",
        "container_access_type": "private" if access == "None" else access.lower(),
    }
    return {f"azurerm_storage_container.{label(part)}": arguments | _kept(part, MODELS)}


def _kept(part: Resource, *whose: str) -> dict[str, Any]:
    """Releases can be made again; models, and what is in the database, cannot."""
    return {"lifecycle": {"prevent_destroy": True}} if part.id in whose else {}


def _database(part: Resource, known: Places) -> Resources:
    told, sku = part.body["properties"], part.body["sku"]
    arguments = {
        **named(part),
        "version": told["version"],
        "sku_name": f"{_TIERS[sku['tier']]}_{sku['name']}",
        "storage_mb": told["storage"]["storageSizeGB"] * 1024,
        "auto_grow_enabled": told["storage"]["autoGrow"] == "Enabled",
        "backup_retention_days": told["backup"]["backupRetentionDays"],
        "geo_redundant_backup_enabled": told["backup"]["geoRedundantBackup"] == "Enabled",
        "authentication": {
            "active_directory_auth_enabled": told["authConfig"]["activeDirectoryAuth"] == "Enabled",
            "password_auth_enabled": told["authConfig"]["passwordAuth"] == "Enabled",
            "tenant_id": fill(told["authConfig"]["tenantId"], KNOWN),
        },
        "public_network_access_enabled": told["network"]["publicNetworkAccess"] == "Enabled",
        # a disk grows by itself, and Azure chooses the zone
        "lifecycle": {"prevent_destroy": True, "ignore_changes": ["storage_mb", "zone"]},
    }
    return {"azurerm_postgresql_flexible_server.database": arguments}


def _catalogue(part: Resource, known: Places) -> Resources:
    arguments = {
        "name": part.path.rpartition("/")[2], "server_id": _SERVER, **part.body["properties"],
        "lifecycle": {"prevent_destroy": True},
    }  # fmt: skip
    return {"azurerm_postgresql_flexible_server_database.catalogue": arguments}


def _admin(part: Resource, known: Places) -> Resources:
    told = fill(part.body["properties"], KNOWN)
    arguments = {
        "resource_group_name": GROUP,
        "server_name": "${azurerm_postgresql_flexible_server.database.name}",
        "object_id": fill(part.path.rpartition("/")[2], KNOWN),
        "principal_name": told["principalName"],
        "principal_type": told["principalType"],
        "tenant_id": told["tenantId"],
    }
    kind = "azurerm_postgresql_flexible_server_active_directory_administrator"
    return {f"{kind}.administrator": arguments}


def _network(part: Resource, known: Places) -> Resources:
    ends = part.body["properties"]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "server_id": _SERVER,
        "start_ip_address": ends["startIpAddress"],
        "end_ip_address": ends["endIpAddress"],
    }
    return {f"azurerm_postgresql_flexible_server_firewall_rule.{label(part)}": arguments}


def _zone(part: Resource, known: Places) -> Resources:
    arguments = {"name": part.path.rpartition("/")[2], "resource_group_name": GROUP}
    return {"azurerm_private_dns_zone.database_zone": arguments}


def _link(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    arguments = {
        "name": part.path.rpartition("/")[2],
        "private_dns_zone_id": _ZONE,
        "virtual_network_id": reference(told["virtualNetwork"]["id"], known),
        "registration_enabled": told["registrationEnabled"],
    }
    return {"azurerm_private_dns_zone_virtual_network_link.database_zone_link": arguments}


def _endpoint(part: Resource, known: Places) -> Resources:
    told = part.body["properties"]
    (door,) = told["privateLinkServiceConnections"]
    arguments = {
        **named(part),
        "subnet_id": reference(told["subnet"]["id"], known),
        "private_service_connection": {
            "name": door["name"],
            "private_connection_resource_id": _SERVER,
            "subresource_names": door["properties"]["groupIds"],
            "is_manual_connection": False,
        },
        "private_dns_zone_group": {"name": "default", "private_dns_zone_ids": [_ZONE]},
    }
    return {"azurerm_private_endpoint.database_endpoint": arguments}


def _endpoint_name(part: Resource, known: Places) -> Resources:
    """A block of the endpoint, there."""
    return {}


REGISTRY_KINDS: dict[str, Callable[[Resource, Places], Resources]] = {
    "storageaccounts": _account,
    "containers": _container,
    "flexibleservers": _database,
    "databases": _catalogue,
    "administrators": _admin,
    "firewallrules": _network,
    "privatednszones": _zone,
    "virtualnetworklinks": _link,
    "privateendpoints": _endpoint,
    "privatednszonegroups": _endpoint_name,
}
