"""Gateways, scale sets and archives of the strict server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_GATEWAYS = "microsoft.network/applicationgateways"
_SETS = "microsoft.compute/virtualmachinescalesets"
_LISTS = ("gatewayIPConfigurations", "frontendIPConfigurations", "frontendPorts", "httpListeners",
          "requestRoutingRules", "probes", "backendHttpSettingsCollection", "sslCertificates",
          "backendAddressPools", "urlPathMaps")  # fmt: skip
Answer = tuple[int, Any, dict[str, str]]


def gateway_faults(properties: Mapping[str, Any]) -> list[str]:
    """What a gateway lacks that the models do not ask for, and its documentation does."""
    needed = [each for each in _LISTS if each != "sslCertificates"]
    wrong = [f"{each}: at least one is required" for each in needed if not properties.get(each)]
    rules = properties.get("requestRoutingRules") or ()
    if not all(1 <= rule["properties"].get("priority", 0) <= 20000 for rule in rules):
        wrong.append("priority: required with Standard_v2, between 1 and 20000")
    for each in properties.get("urlPathMaps") or ():
        told = each["properties"]
        if not told.get("pathRules"):
            wrong.append("a path map has no path rule")
        for rule in told.get("pathRules") or ():
            wrong += [
                f"{path}: must begin with / and may end with *"
                for path in rule["properties"]["paths"]
                if not re.fullmatch(r"/[^*?#]*\*?", path)
            ]
    drains = [
        each["properties"]["connectionDraining"]["drainTimeoutInSec"]
        for each in properties.get("backendHttpSettingsCollection") or ()
    ]
    if not all(1 <= each <= 3600 for each in drains):
        wrong.append("drainTimeoutInSec: between 1 and 3600")
    for each in properties.get("httpListeners") or ():
        told = each["properties"]
        if (told["protocol"] == "Https") != ("sslCertificate" in told):
            wrong.append("a listener of Https has a certificate, and no other has one")
    size = properties.get("autoscaleConfiguration") or {}
    if not 0 <= size.get("minCapacity", -1) <= size.get("maxCapacity", 0) <= 125:
        wrong.append("autoscaleConfiguration: at most 125 instances")
    return wrong


def wrong(things: dict[str, Any], path: str, kind: str, body: Any) -> tuple[int, str, str] | None:
    """What a part of a fleet meets, beyond the shape of its body; None: nothing."""
    if kind.lower() == _GATEWAYS:
        names = _names(body["properties"], "backendAddressPools")
        for key, each in things.items():
            if each["type"].lower() != _SETS:
                continue
            pool = _pool(each)
            if pool.startswith(f"{path.lower()}/") and pool.rpartition("/")[2] not in names:
                return 409, "InUse", f"the pool {pool} is in use by {key}"
    if kind.lower() == _SETS and not body["sku"].get("capacity", 0) >= 0:
        return 400, "InvalidParameter", "sku.capacity"
    return None


def _names(properties: Mapping[str, Any], collection: str) -> set[str]:
    return {str(each["name"]).lower() for each in properties.get(collection) or ()}


def _pool(thing: Mapping[str, Any]) -> str:
    profile = thing["properties"]["virtualMachineProfile"]["networkProfile"]
    (place,) = profile["networkInterfaceConfigurations"]
    (inside,) = place["properties"]["ipConfigurations"]
    (pool,) = inside["properties"]["applicationGatewayBackendAddressPools"]
    return str(pool["id"]).lower()


def own(path: str, body: Any, reference: str) -> bool:
    """Whether a body names a part of itself."""
    properties = body.get("properties") or {}
    return _within(properties, path.lower(), reference.lower())


def inside(things: dict[str, Any], reference: str) -> bool:
    """Whether something is a part of a gateway that is there."""
    parent = reference.rsplit("/", 2)[0]
    found = things.get(parent)
    return found is not None and _within(found["properties"], parent, reference)


def _within(properties: Mapping[str, Any], parent: str, reference: str) -> bool:
    if not reference.startswith(f"{parent}/"):
        return False
    collection, _, name = reference.removeprefix(f"{parent}/").partition("/")
    known = {each.lower(): each for each in _LISTS}
    return collection in known and name in _names(properties, known[collection])


def shown(kind: str, properties: dict[str, Any]) -> None:
    """What Azure adds to the parts of a gateway."""
    if kind.lower() == _GATEWAYS:
        for collection in _LISTS:
            for each in properties.get(collection) or ():
                each["etag"] = 'W/"1"'
                each.setdefault("properties", {})["provisioningState"] = "Succeeded"


def changed(thing: dict[str, Any], body: Any) -> bool:
    """Change how many machines there are, or whether that changes by itself; False: neither."""
    kind = thing["type"].lower()
    if kind == _SETS:
        assert set(body) == {"sku"}, body
        thing["sku"] = body["sku"]
    elif kind == "microsoft.insights/autoscalesettings":
        assert set(body) == {"properties"}, body
        thing["properties"] |= body["properties"]
    return kind in (_SETS, "microsoft.insights/autoscalesettings")


def running(things: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The machines of a scale set."""
    found = things.get(key.rpartition("/")[0])
    size = found["sku"]["capacity"] if found else 0
    return [{"instanceId": str(each)} for each in range(size)]


def is_machine(things: dict[str, Any], key: str) -> bool:
    """Whether something is a machine of a scale set."""
    parent, _, number = key.partition("/virtualmachines/")
    return any(
        each["instanceId"] == number for each in running(things, f"{parent}/virtualmachines")
    )


def health(things: dict[str, Any], key: str, healthy: Callable[[str], bool]) -> dict[str, Any]:
    """What a gateway says of the machines that its paths lead to."""
    (places,) = things[key]["properties"]["urlPathMaps"]
    told = places["properties"]
    named = {told["defaultBackendAddressPool"]["id"]}
    named |= {each["properties"]["backendAddressPool"]["id"] for each in told["pathRules"]}
    found = []
    for pool in sorted(named):
        servers = [
            {"address": f"{at}-{each}", "health": "Healthy" if healthy(at) else "Unhealthy"}
            for at, one in things.items()
            if one["type"].lower() == _SETS and _pool(one) == pool.lower()
            for each in range(one["sku"]["capacity"])
        ]
        settings = [{"backendHttpSettings": {"id": "machines"}, "servers": servers}]
        found.append(
            {"backendAddressPool": {"id": pool}, "backendHttpSettingsCollection": settings}
        )
    return {"backendAddressPools": found}


def releases(
    stored: dict[str, bytes], method: str, path: str, headers: Any, content: bytes
) -> Answer:
    """A container of archives (https://learn.microsoft.com/rest/api/storageservices)."""
    assert headers["Authorization"].startswith("Bearer ")
    assert headers["x-ms-version"] >= "2017-11-09"  # the first that takes tokens
    if method == "PUT":
        assert headers["x-ms-blob-type"] == "BlockBlob"
        stored[path] = content
        return 201, None, {}
    if method == "DELETE":
        return (202 if stored.pop(path, None) is not None else 404), None, {}
    names = [each.removeprefix(f"{path}/") for each in sorted(stored) if each.startswith(path)]
    found = "".join(f"<Blob><Name>{each}</Name></Blob>" for each in names)
    text = f'<?xml version="1.0"?><EnumerationResults><Blobs>{found}</Blobs><NextMarker />'
    return 200, f"{text}</EnumerationResults>", {}
