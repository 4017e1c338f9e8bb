"""Private endpoints and zones of names of the strict server."""

from __future__ import annotations

from typing import Any

_ENDPOINTS = "microsoft.network/privateendpoints"
_ZONES = "microsoft.network/privatednszones"
_GROUPS = {"microsoft.dbforpostgresql/flexibleservers": "postgresqlServer"}
"""Kind of what an endpoint leads to -> the one door that it has."""


def wrong(things: dict[str, Any], path: str, kind: str, body: Any) -> tuple[int, str, str] | None:
    """What an endpoint or a zone meets, beyond the shape of its body; None: nothing."""
    kind, told = kind.lower(), body.get("properties", {})
    if kind.startswith((f"{_ENDPOINTS}/", f"{_ZONES}/")):
        parent = path.lower().rsplit("/", 2)[0]
        if parent not in things:
            return 404, "ParentResourceNotFound", f"The parent of {path} was not found."
    if kind.startswith(_ZONES) and body.get("location") != "global":
        return 400, "LocationNotAvailableForResourceType", "zones are in the location global"
    if kind == f"{_ZONES}/virtualnetworklinks":
        wanted = told["virtualNetwork"]["id"].lower()
        zone = path.lower().partition("/virtualnetworklinks/")[0].rpartition("/")[2]
        for key, each in things.items():
            same = key != path.lower() and f"/{zone}/virtualnetworklinks/" in key
            if same and each["properties"]["virtualNetwork"]["id"].lower() == wanted:
                return 409, "Conflict", "the network is linked to a zone of that name already"
    if kind == _ENDPOINTS:
        if not told.get("subnet", {}).get("id"):
            return 400, "InvalidRequestFormat", "an endpoint is in a subnet"
        for each in told["privateLinkServiceConnections"]:
            to = each["properties"]["privateLinkServiceId"].lower()
            door = _GROUPS.get(things.get(to, {}).get("type", "").lower())
            if each["properties"]["groupIds"] != [door]:
                return 400, "InvalidGroupId", f"{to} has no such door"
    return None


def nested(things: dict[str, Any], key: str) -> bool:
    """Whether a zone still has links, with which it cannot be deleted."""
    return things[key]["type"].lower() == _ZONES and any(
        each.startswith(f"{key}/virtualnetworklinks/") for each in things
    )
