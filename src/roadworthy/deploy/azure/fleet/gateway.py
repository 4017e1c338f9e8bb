"""The document of a fleet's gateway: a pool for each release, and which of them callers get.

One change of the document moves callers: Azure carries it out while connections go on, and a
machine that no path leads to any more finishes what it has begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from roadworthy.deploy.azure.resource import Naming
from roadworthy.project import AzureSection

KEYS = "azure-gateway-identity"
KIND = "Microsoft.Network/applicationGateways"
CALLERS, NOBODY = "callers", "nobody"
_RESTING = "/roadworthy/nobody/*"
"""A path map must have a rule; where nothing is tried, it leads nowhere."""


def pool_of(release: str) -> str:
    """The name of a release's pool."""
    return f"release-{release}"


def release_in(pool: str) -> str:
    """The release of a pool; empty: of none."""
    return pool.removeprefix("release-") if pool.startswith("release-") else ""


def gateway_of(naming: Naming) -> str:
    """Path of the gateway."""
    return naming.path(KIND, naming.name)


def gateway(naming: Naming, section: AzureSection, drain: int) -> dict[str, Any]:
    """The gateway, before the first release.

    Args:
        naming: Names and tags.
        section: `[deploy.NAME]`.
        drain: Seconds that machines get to finish what they have begun.
    """
    body: dict[str, Any] = {
        "location": section.region,
        "properties": {
            "sku": {"name": "Standard_v2", "tier": "Standard_v2"},
            "autoscaleConfiguration": {"minCapacity": 2, "maxCapacity": 10},
            "sslPolicy": {"policyType": "Predefined", "policyName": "AppGwSslPolicy20220101"},
            **_front(naming, section),
            **_behind(naming, drain),
            **routes(naming, (), "", None),
        },
    }
    if section.zones:
        body["zones"] = list(section.zones)
    if section.certificate is not None:
        *_, vault, _, secret = section.certificate.split("/")
        body["properties"]["sslCertificates"] = [
            {"name": "public", "properties": {
                # without a version, so that a renewed one is taken
                "keyVaultSecretId": f"https://{vault}.vault.azure.net/secrets/{secret}",
            }}
        ]  # fmt: skip
        who = naming.path(
            "Microsoft.ManagedIdentity/userAssignedIdentities", f"{naming.name}-gateway"
        )
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {who: {}}}
    return body


def _sub(naming: Naming, collection: str, name: str) -> dict[str, str]:
    return {"id": f"{gateway_of(naming)}/{collection}/{name}"}


def _front(naming: Naming, section: AzureSection) -> dict[str, Any]:
    network = naming.path("Microsoft.Network/virtualNetworks", naming.name)
    address = naming.path("Microsoft.Network/publicIPAddresses", naming.name)
    listener: dict[str, Any] = {
        "frontendIPConfiguration": _sub(naming, "frontendIPConfigurations", "public"),
        "frontendPort": _sub(naming, "frontendPorts", "public"),
        "protocol": "Https" if section.certificate else "Http",
    }
    if section.certificate is not None:
        listener["sslCertificate"] = _sub(naming, "sslCertificates", "public")
    rule = {
        "ruleType": "PathBasedRouting", "priority": 100,
        "httpListener": _sub(naming, "httpListeners", "public"),
        "urlPathMap": _sub(naming, "urlPathMaps", CALLERS),
    }  # fmt: skip
    inside = {"subnet": {"id": f"{network}/subnets/gateway"}}
    return {
        "gatewayIPConfigurations": [{"name": "inside", "properties": inside}],
        "frontendIPConfigurations": [
            {"name": "public", "properties": {"publicIPAddress": {"id": address}}}
        ],
        "frontendPorts": [{"name": "public", "properties": {"port": section.public_port}}],
        "httpListeners": [{"name": "public", "properties": listener}],
        "requestRoutingRules": [{"name": "public", "properties": rule}],
    }


def _behind(naming: Naming, drain: int) -> dict[str, Any]:
    probe = {
        "protocol": "Http", "host": "127.0.0.1", "path": "/readyz", "interval": 5, "timeout": 5,
        "unhealthyThreshold": 3, "match": {"statusCodes": ["200"]},
    }  # fmt: skip
    settings = {
        "port": 80, "protocol": "Http", "cookieBasedAffinity": "Disabled", "requestTimeout": 60,
        "connectionDraining": {"enabled": True, "drainTimeoutInSec": drain},
        "probe": _sub(naming, "probes", "ready"),
    }  # fmt: skip
    return {
        "probes": [{"name": "ready", "properties": probe}],
        "backendHttpSettingsCollection": [{"name": "machines", "properties": settings}],
    }


def routes(
    naming: Naming, releases: Iterable[str], serving: str, trial: tuple[str, str] | None
) -> dict[str, Any]:
    """Pools, and what leads to them.

    Args:
        naming: Names and tags.
        releases: Who has a pool.
        serving: Whom callers get; empty: nobody.
        trial: A release, and the path that leads to it although callers do not get it.
    """
    settings = _sub(naming, "backendHttpSettingsCollection", "machines")

    def pool(release: str) -> dict[str, str]:
        return _sub(naming, "backendAddressPools", pool_of(release) if release else NOBODY)

    tried, path = trial or ("", _RESTING)
    rule = {"paths": [path], "backendAddressPool": pool(tried), "backendHttpSettings": settings}
    places = {
        "defaultBackendAddressPool": pool(serving), "defaultBackendHttpSettings": settings,
        "pathRules": [{"name": "trial", "properties": rule}],
    }  # fmt: skip
    names = [NOBODY, *(pool_of(each) for each in sorted(releases))]
    return {
        "backendAddressPools": [{"name": name} for name in names],
        "urlPathMaps": [{"name": CALLERS, "properties": places}],
    }


def kept(body: dict[str, Any], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The document with what releases have changed of it."""
    if found is None:
        return body
    there = found["properties"]
    pools = [{"name": each["name"]} for each in there.get("backendAddressPools") or ()]
    own = {"backendAddressPools": pools, "urlPathMaps": _plain(there.get("urlPathMaps") or [])}
    own = {key: each for key, each in own.items() if each}
    return {**body, "properties": {**body["properties"], **own}}


def _plain(value: Any) -> Any:
    """Without what Azure adds to parts of a gateway."""
    added = ("etag", "type", "provisioningState", "requestRoutingRules")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    named = "name" in value and "id" in value
    return {
        key: _plain(each) for key, each in value.items()
        if key not in added and not (named and key == "id")
    }  # fmt: skip
