"""A registry beside a machine: Database for PostgreSQL and a storage account, for `[registry]`.

Nothing of it has a password or a key: whoever made it signs in by Entra ID, and lets others in.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.private import endpoint_of, private_parts
from roadworthy.deploy.azure.resource import VERSIONS, Naming, Resource
from roadworthy.deploy.cloud.comparing import differences
from roadworthy.deploy.cloud.prices import price_of, stored
from roadworthy.deploy.cloud.provider import SECLUDED
from roadworthy.errors import OutsideError
from roadworthy.project import AzureSection

DATABASE, CATALOGUE, ADMIN = "azure-database", "azure-database-catalogue", "azure-database-admin"
STORE, MODELS, RIGHT = "azure-store", "azure-store-models", "azure-store-right"
WHO = "signed-in"
"""What `${…}` names who signs in by: `signed-in.id`, `.name`, `.type`, `.tenant`."""
_SERVERS = "Microsoft.DBforPostgreSQL/flexibleServers"
_RULES = f"{_SERVERS}/firewallRules".lower()
_ACCOUNTS = "Microsoft.Storage/storageAccounts"
_CONTAINERS = f"{_ACCOUNTS}/blobServices/containers"
_RIGHTS = "Microsoft.Authorization/roleAssignments"
_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
"""Storage Blob Data Contributor
(https://learn.microsoft.com/azure/role-based-access-control/built-in-roles)."""
_TIERS = {"B": "Burstable", "D": "GeneralPurpose", "E": "MemoryOptimized"}
NAME = "roadworthy"
_DAYS = 7
_GIGABYTES = 32
_CHANGED = ("sku", "properties")
_FIXED = ("version",)


def database_of(naming: Naming) -> str:
    """Path of the server; servers of all subscriptions share their names."""
    return naming.path(_SERVERS, f"rw-{_digest(naming)}")


def store_of(naming: Naming) -> str:
    """Path of the storage account, whose names are shared, too."""
    return naming.path(_ACCOUNTS, f"rw{_digest(naming)}")


def _digest(naming: Naming) -> str:
    return hashlib.sha256(naming.group.lower().encode()).hexdigest()[:16]


def registry_parts(
    naming: Naming, section: AzureSection, group: str, network: str
) -> tuple[Resource, ...]:
    """Database and store; nothing where none are asked for.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        group: The part that is the resource group.
        network: The part that is the network, where one is made.
    """
    if section.database is None:
        return ()
    networks = tuple(dict.fromkeys(section.database_from))
    server = _database(naming, section, group)
    return (
        server, _catalogue(naming), _admin(naming),
        *(_network(naming, number, each) for number, each in enumerate(networks, 1)),
        *private_parts(naming, section, group, network, server),
        _store(naming, section, group), _models(naming), _right(naming),
    )  # fmt: skip


def _database(naming: Naming, section: AzureSection, group: str) -> Resource:
    public = section.database_access == "public"
    networks = ", ".join(dict.fromkeys(section.database_from)) if public else SECLUDED
    size = str(section.database)
    body = {
        "location": section.region,
        "sku": {"name": size, "tier": _TIERS[size.removeprefix("Standard_")[0]]},
        "tags": naming.tags(DATABASE),
        "properties": {
            "version": "16",
            "storage": {"storageSizeGB": _GIGABYTES, "autoGrow": "Enabled"},
            "backup": {"backupRetentionDays": _DAYS, "geoRedundantBackup": "Disabled"},
            "authConfig": {
                "activeDirectoryAuth": "Enabled", "passwordAuth": "Disabled",
                "tenantId": f"${{{WHO}.tenant}}",
            },
            "network": {"publicNetworkAccess": "Enabled" if public else "Disabled"},
        },
    }  # fmt: skip
    what = (
        f"a database of PostgreSQL, {size}, encrypted, {_DAYS} days of backups, without "
        f"passwords, reached from {networks}"
    )
    return Resource(
        id=DATABASE, what=what, path=database_of(naming), kind=_SERVERS, body=body, needs=(group,),
        price=price_of("azure", section.region, f"database {size}", _GIGABYTES, of="database"),
    )  # fmt: skip


def _catalogue(naming: Naming) -> Resource:
    properties = {"charset": "UTF8", "collation": "en_US.utf8"}
    return Resource(
        id=CATALOGUE, what="in it, the registry's own", kind=f"{_SERVERS}/databases",
        path=f"{database_of(naming)}/databases/{NAME}", body={"properties": properties},
        needs=(DATABASE,),
    )  # fmt: skip


def _admin(naming: Naming) -> Resource:
    properties = {
        "principalType": f"${{{WHO}.type}}", "principalName": f"${{{WHO}.name}}",
        "tenantId": f"${{{WHO}.tenant}}",
    }  # fmt: skip
    return Resource(
        id=ADMIN, what="who looks after it: whoever makes it", kind=f"{_SERVERS}/administrators",
        path=f"{database_of(naming)}/administrators/${{{WHO}.id}}",
        body={"properties": properties}, needs=(DATABASE,),
    )  # fmt: skip


def _network(naming: Naming, number: int, text: str) -> Resource:
    network = ipaddress.IPv4Network(text)
    ends = {"startIpAddress": str(network[0]), "endIpAddress": str(network[-1])}
    name = f"network-{number}"
    return Resource(
        id=f"{DATABASE}-{name}", what=f"who reaches it: {text}",
        path=f"{database_of(naming)}/firewallRules/{name}", kind=f"{_SERVERS}/firewallRules",
        body={"properties": ends}, needs=(DATABASE,),
    )  # fmt: skip


def _store(naming: Naming, section: AzureSection, group: str) -> Resource:
    body = {
        "location": section.region,
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        "tags": naming.tags(STORE),
        "properties": {
            "allowBlobPublicAccess": False, "allowSharedKeyAccess": False,
            "minimumTlsVersion": "TLS1_2", "supportsHttpsTrafficOnly": True,
        },
    }  # fmt: skip
    return Resource(
        id=STORE, what="a storage account for the registry's models, closed to the public, "
        "without keys", path=store_of(naming), kind=_ACCOUNTS, body=body, needs=(group,),
        price=stored("azure", section.region),
    )  # fmt: skip


def _models(naming: Naming) -> Resource:
    return Resource(
        id=MODELS, what="its container", kind=_CONTAINERS, needs=(STORE,),
        body={"properties": {"publicAccess": "None"}},
        path=f"{store_of(naming)}/blobServices/default/containers/models",
    )  # fmt: skip


def _right(naming: Naming) -> Resource:
    roles = f"/subscriptions/{naming.subscription}/providers/Microsoft.Authorization"
    properties = {
        "roleDefinitionId": f"{roles}/roleDefinitions/{_CONTRIBUTOR}",
        "principalId": f"${{{WHO}.id}}", "principalType": f"${{{WHO}.type}}",
    }  # fmt: skip
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{store_of(naming).lower()}/{_CONTRIBUTOR}")
    return Resource(
        id=RIGHT, what="who writes models: whoever makes it", kind=_RIGHTS, needs=(STORE,),
        path=f"{store_of(naming)}/providers/{_RIGHTS}/{name}", body={"properties": properties},
    )  # fmt: skip


def is_ours(path: str, naming: Naming) -> bool:
    """Whether something that Azure gives no tags is the registry's, by its place."""
    places = (database_of, store_of, endpoint_of)
    inside = tuple(f"{each(naming)}/".lower() for each in places)
    return path.lower().startswith(inside)


def there(account: Account, part: Resource) -> dict[str, Any] | None:
    """What is there of a part; of whoever looks after the database, the first of them."""
    if part.id != ADMIN:
        return account.get(part.path, part.version)
    listed = account.listed(part.path.rpartition("/")[0], part.version)
    return listed[0] if listed else None


def compared(part: Resource, body: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What of a body must be as it is said; a disk has grown by itself, and people are added."""
    if part.id in (ADMIN, CATALOGUE, RIGHT):
        return {}
    if part.id != DATABASE:
        return body
    wanted = body["properties"]
    had = (found.get("properties") or {}).get("storage", {}).get("storageSizeGB", 0)
    size = max(wanted["storage"]["storageSizeGB"], had)
    storage = {**wanted["storage"], "storageSizeGB": size}
    return {**body, "properties": {**wanted, "storage": storage}}


def mend(account: Account, part: Resource, body: dict[str, Any], found: Mapping[str, Any]) -> None:
    """Start the database when it was stopped, and change what is other than wanted.

    Args:
        account: Where the calls go.
        part: The database.
        body: Its document, with everything known.
        found: What is there.
    """
    if found["properties"].get("state") == "Stopped":
        account.change("POST", f"{part.path}/start", part.version)
    wanted = compared(part, body, found)
    if differences({key: wanted[key] for key in _CHANGED}, found):
        kept = {key: each for key, each in wanted["properties"].items() if key not in _FIXED}
        account.change("PATCH", part.path, part.version, {"sku": wanted["sku"], "properties": kept})


def too_much(account: Account, parts: Mapping[str, Resource]) -> list[dict[str, Any]]:
    """Networks that somebody let in by hand."""
    if DATABASE not in parts:
        return []
    wanted = [each.path.lower() for each in parts.values()]
    place = f"{parts[DATABASE].path}/firewallRules"
    listed = account.listed(place, VERSIONS[_RULES])
    return [each for each in listed if each["id"].lower() not in wanted]


def check_empty(account: Account, found: Mapping[str, Any], place: str) -> None:
    """Look into every container of a storage account: models are nobody's but yours.

    Raises:
        OutsideError: There is something in it, or nobody lets who signs in look.
    """
    version = VERSIONS[_CONTAINERS.lower()]
    door = str((found["properties"].get("primaryEndpoints") or {}).get("blob", "")).rstrip("/")
    for each in account.listed(f"{found['id']}/blobServices/default/containers", version):
        if account.has_blobs(f"{door}/{each['name']}"):
            raise OutsideError(
                f"the store {found['name']} still holds models, in {each['name']}",
                where=place,
                fix="the registry's models are yours: copy or remove them, then run the same again",
            )


def registry_of(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What `[registry]` is to say, and what is a password there; empty: there is no registry.

    Args:
        found: Part -> what Azure says of it.
    """
    if not {DATABASE, CATALOGUE, ADMIN, STORE, MODELS} <= found.keys():
        return {}
    host = found[DATABASE]["properties"].get("fullyQualifiedDomainName", "")
    name = quote(str(found[ADMIN]["properties"]["principalName"]), safe="")
    return {
        "url": f"postgresql://{name}@{host}:5432/{NAME}?sslmode=require",
        "store": f"az://{found[MODELS]['name']}",
        "account": str(found[STORE]["name"]),
        "password": "az account get-access-token --resource-type oss-rdbms "
        "--query accessToken --output tsv",
    }
