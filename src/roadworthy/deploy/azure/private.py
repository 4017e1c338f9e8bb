"""A private address for a database: an endpoint in the network, and the name by which it is found.

The server keeps its name; inside the network a private zone leads it to the endpoint
(https://learn.microsoft.com/azure/postgresql/network/concepts-networking-private-link).
"""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.azure.resource import Naming, Resource
from roadworthy.project import AzureSection

ENDPOINT, ENDPOINT_NAME = "azure-database-endpoint", "azure-database-endpoint-name"
ZONE, LINK = "azure-database-zone", "azure-database-zone-link"
_ZONE_NAME = "privatelink.postgres.database.azure.com"
_ENDPOINTS = "Microsoft.Network/privateEndpoints"
_ZONES = "Microsoft.Network/privateDnsZones"


def endpoint_of(naming: Naming) -> str:
    """Path of the endpoint."""
    return naming.path(_ENDPOINTS, f"{naming.name}-database")


def private_parts(
    naming: Naming, section: AzureSection, group: str, network: str, server: Resource
) -> tuple[Resource, ...]:
    """Zone, its link to the network, and the endpoint there; nothing for a public address.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        group: The part that is the resource group.
        network: The part that is the network, where one is made.
        server: The database.
    """
    if section.database_access == "public":
        return ()
    made = naming.path("Microsoft.Network/virtualNetworks", naming.name)
    subnet = section.subnet or f"{made}/subnets/machines"
    needs = () if section.subnet else (network,)
    zone = naming.path(_ZONES, _ZONE_NAME)
    link = {"registrationEnabled": False,
            "virtualNetwork": {"id": subnet.partition("/subnets/")[0]}}  # fmt: skip
    door = {
        "name": "database",
        "properties": {"privateLinkServiceId": server.path, "groupIds": ["postgresqlServer"]},
    }
    place = {"subnet": {"id": subnet}, "privateLinkServiceConnections": [door]}
    named = {"name": "database", "properties": {"privateDnsZoneId": zone}}
    return (
        _part(naming, ZONE, _ZONES, zone, f"a private zone of names, {_ZONE_NAME}", "global", {},
              (group,)),
        _part(naming, LINK, f"{_ZONES}/virtualNetworkLinks",
              f"{zone}/virtualNetworkLinks/{naming.name}", "which the network asks", "global", link,
              (ZONE, *needs)),
        _part(naming, ENDPOINT, _ENDPOINTS, endpoint_of(naming),
              "a private address of the database, in the network", section.region, place,
              (server.id, *needs)),
        Resource(
            id=ENDPOINT_NAME, what="its name in the zone", needs=(ENDPOINT, ZONE),
            kind=f"{_ENDPOINTS}/privateDnsZoneGroups",
            path=f"{endpoint_of(naming)}/privateDnsZoneGroups/default",
            body={"properties": {"privateDnsZoneConfigs": [named]}},
        ),
    )  # fmt: skip


def _part(
    naming: Naming, name: str, kind: str, path: str, what: str, location: str,
    properties: dict[str, Any], needs: tuple[str, ...],
) -> Resource:  # fmt: skip
    body: dict[str, Any] = {"location": location, "tags": naming.tags(name)}
    if properties:
        body["properties"] = properties
    return Resource(id=name, what=what, path=path, kind=kind, body=body, needs=needs)
