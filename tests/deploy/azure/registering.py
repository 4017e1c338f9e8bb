"""Databases and storage accounts of the strict server."""

from __future__ import annotations

import re
from typing import Any

from tests.deploy.azure.bodies import faults

OWNER = "11111111-2222-3333-4444-555555555555"
"""Who signs in."""
SERVERS = "microsoft.dbforpostgresql/flexibleservers"
ACCOUNTS = "microsoft.storage/storageaccounts"
LISTED = ("/firewallrules", "/administrators", "/containers")
UNLISTED = (*LISTED, "/databases", "/privatednszonegroups")
"""What no list of a group shows."""
_NAMES = {SERVERS: r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])", ACCOUNTS: r"[a-z0-9]{3,24}"}
_INSIDE = {"/databases": 2, "/administrators": 2, "/firewallrules": 2, "/containers": 4}


def wrong(things: dict[str, Any], path: str, kind: str, body: Any) -> tuple[int, str, str] | None:
    """What a registry's part meets, beyond the shape of its body; None: nothing."""
    key, name = path.lower(), path.rpartition("/")[2]
    pattern = _NAMES.get(kind.lower())
    if pattern and not re.fullmatch(pattern, name):
        return 400, "InvalidName", f"The name {name} is not allowed."
    if kind.lower() == SERVERS and key in things:
        return 409, "ResourceAlreadyExists", "A server is changed by PATCH."
    for word, depth in _INSIDE.items():
        if kind.lower().endswith(word) and key.rsplit("/", depth)[0] not in things:
            return 404, "ParentResourceNotFound", f"The parent of {path} was not found."
    if kind.endswith("/administrators") and name != OWNER:
        return 400, "PrincipalNotFound", f"Principal {name}"
    return None


def shown(path: str, kind: str, properties: dict[str, Any], url: str) -> dict[str, Any]:
    """What Azure says of a part besides what was asked."""
    name = path.rpartition("/")[2]
    if kind.lower() == SERVERS:
        del properties["provisioningState"]
        host = f"{name}.postgres.database.azure.com"
        return properties | {"state": "Ready", "fullyQualifiedDomainName": host}
    if kind.lower() == ACCOUNTS:
        return properties | {"primaryEndpoints": {"blob": f"{url}/blobs/{name}/"}}
    return properties


def changed(thing: dict[str, Any], version: str, body: Any) -> tuple[int, str, str] | None:
    """Change a database; what is wrong with that."""
    kind = "Microsoft.DBforPostgreSQL/flexibleServers/change"
    if found := faults(kind, version, body):
        return 400, *found
    told = thing["properties"]
    if body["properties"]["storage"]["storageSizeGB"] < told["storage"]["storageSizeGB"]:
        return 400, "StorageSizeInvalid", "The storage cannot shrink."
    if told["state"] != "Ready":
        return 409, "ServerIsNotReady", f"The server is {told['state']}."
    thing["sku"] = body.get("sku", thing["sku"])
    told |= body["properties"]
    return None


def blobs(stored: dict[str, list[str]], path: str, headers: Any, query: dict[str, str]) -> str:
    """What a container of blobs lists (https://learn.microsoft.com/rest/api/storageservices)."""
    assert headers["Authorization"].startswith("Bearer ")
    assert headers["x-ms-version"] >= "2017-11-09"  # the first that takes tokens
    assert query == {"restype": "container", "comp": "list", "maxresults": "1"}
    found = "".join(f"<Blob><Name>{each}</Name></Blob>" for each in stored.get(path, [])[:1])
    return f'<?xml version="1.0"?><EnumerationResults><Blobs>{found}</Blobs></EnumerationResults>'
