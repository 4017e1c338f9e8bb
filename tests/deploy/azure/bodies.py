"""Whether a body is one that Azure takes: by rules from its models, and by what they do not say."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from tests.deploy.azure.gateways import gateway_faults
from tests.deploy.azure.rules import FILE

_RULES = json.loads(FILE.read_text())
_KINDS = {key.lower(): value for key, value in _RULES["types"].items()}
_IDS = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/.+", re.IGNORECASE)
_CUSTOM_DATA = 65535
_METRICS: dict[str, dict[str, set[str]]] = {
    "microsoft.compute/virtualmachines": {
        "Percentage CPU": set(), "Available Memory Percentage": set(),
    },
    "microsoft.compute/virtualmachinescalesets": {
        "Percentage CPU": {"VMName"}, "Available Memory Percentage": {"VMName"},
    },
    "microsoft.network/applicationgateways": {
        "HealthyHostCount": {"BackendSettingsPool"}, "FailedRequests": {"BackendSettingsPool"},
        "TotalRequests": {"BackendSettingsPool"}, "ApplicationGatewayTotalTime": {"Listener"},
    },
}  # fmt: skip
"""Kind -> metrics that it tells without an agent, with their dimensions, as
https://learn.microsoft.com/azure/azure-monitor/reference/metrics-index lists them."""


def faults(kind: str, version: str, body: Any) -> tuple[str, str] | None:
    """Code and message of what is wrong; None: nothing."""
    if kind == "Microsoft.Resources/resourceGroups":
        wrong = [] if body.get("location") else ["$.location: required property missing"]
        wrong += [f"$.{each}: not a member" for each in body if each not in ("location", "tags")]
    else:
        model = _KINDS.get(f"{kind}@{version}".lower())
        if model is None:
            return "InvalidResourceType", f"{kind} could not be found for the version {version}."
        package = model.rpartition(" ")[0]
        wrong = list(_object(_RULES["models"][model], body, "$", package))
        wrong += _beyond(kind.lower(), body)
    wrong += _tag_faults(body.get("tags", {}))
    return ("InvalidRequestContent", "; ".join(wrong)) if wrong else None


def references(body: Any) -> list[str]:
    """Ids that a body names."""
    if isinstance(body, dict):
        found = []
        for key, value in body.items():
            if key in ("id", "actionGroupId") and isinstance(value, str) and "type" not in body:
                found.append(value)
            elif key == "scopes":
                found += value
            elif key == "userAssignedIdentities":
                found += list(value)
            elif key in ("targetResourceUri", "metricResourceUri", "privateLinkServiceId",
                         "privateDnsZoneId"):  # fmt: skip
                found.append(value)
            else:
                found += references(value)
        return [each for each in found if _IDS.match(each)]
    return [each for one in body for each in references(one)] if isinstance(body, list) else []


def _tag_faults(tags: dict[str, str]) -> list[str]:
    return [
        f"$.tags.{name}: not allowed" for name, value in tags.items()
        if len(name) > 512 or len(value) > 256 or re.search(r"[<>%&\\?/]", name)
    ]  # fmt: skip


def _object(rule: dict[str, Any], value: Any, at: str, package: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: expected an object"]
    properties = rule["properties"]
    for word, kinds in rule.get("by", {}).items():
        chosen = kinds.get(value.get(word))
        if chosen is None:
            return [f"{at}.{word}: {value.get(word)!r} is not one of {sorted(kinds)}"]
        properties = {**properties, **_RULES["models"][chosen]["properties"]}
    wrong = [
        f"{at}.{name}: required property missing" for name, inner in properties.items()
        if inner.get("required") and name not in value
    ]  # fmt: skip
    for name, inner in value.items():
        if name not in properties:
            wrong.append(f"{at}.{name}: Could not find member '{name}'")
        else:
            wrong += _value(properties[name], inner, f"{at}.{name}", package)
    return wrong


def _value(rule: dict[str, Any], value: Any, at: str, package: str) -> list[str]:
    kind = rule["type"]
    if kind == "nested":
        return _object(rule, value, at, package)
    if kind[0] in "[{":
        if not isinstance(value, list if kind[0] == "[" else dict):
            return [f"{at}: expected {'a list' if kind[0] == '[' else 'an object'}"]
        inside = enumerate(value) if isinstance(value, list) else value.items()
        inner = {"type": kind[1:-1]}
        return [
            said for key, each in inside for said in _value(inner, each, f"{at}[{key}]", package)
        ]
    model = _RULES["models"].get(f"{package} {kind}")
    if model is not None:
        return _object(model, value, at, package)
    return _scalar(rule, value, at)


def _scalar(rule: dict[str, Any], value: Any, at: str) -> list[str]:
    expected = {"int": int, "bool": bool, "float": (int, float), "object": object}
    kind = expected.get(rule["type"], str)
    if not isinstance(value, kind) or (
        isinstance(value, bool) and rule["type"] in ("int", "float")
    ):
        return [f"{at}: expected {rule['type']}, got {type(value).__name__}"]
    wrong = []
    # an enumeration that may grow takes any text in the models; here it takes what they know
    if rule.get("values") and value not in rule["values"]:
        wrong.append(f"{at}: {value!r} is not one of {rule['values']}")
    if "max_length" in rule and len(value) > rule["max_length"]:
        wrong.append(f"{at}: longer than {rule['max_length']}")
    if "min_length" in rule and len(value) < rule["min_length"]:
        wrong.append(f"{at}: shorter than {rule['min_length']}")
    if "pattern" in rule and not re.search(rule["pattern"], value):
        wrong.append(f"{at}: does not match {rule['pattern']}")
    if rule["type"] == "duration" and not re.fullmatch(r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?", value):
        wrong.append(f"{at}: not a duration of ISO 8601")
    return wrong


def _beyond(kind: str, body: Any) -> list[str]:
    """What the documentation asks and the models do not."""
    properties = body.get("properties", {})
    if kind == "microsoft.compute/virtualmachines":
        return _login_faults(properties.get("osProfile") or {})
    if kind == "microsoft.compute/virtualmachinescalesets":
        login = properties["virtualMachineProfile"].get("osProfile") or {}
        long = len(login.get("computerNamePrefix", "")) > 58
        return [*_login_faults(login), *(["computerNamePrefix: longer than 58"] if long else [])]
    if kind == "microsoft.network/applicationgateways":
        return gateway_faults(properties)
    if kind == "microsoft.network/networksecuritygroups":
        return _rule_faults(properties.get("securityRules", ()))
    if kind == "microsoft.insights/metricalerts":
        return _alert_faults(properties)
    return []


def _alert_faults(properties: dict[str, Any]) -> list[str]:
    often, wrong = properties.get("evaluationFrequency"), []
    if often not in {"PT1M", "PT5M", "PT15M", "PT30M", "PT1H"}:
        wrong.append(f"evaluationFrequency: {often} is not supported")
    kinds = {each.rpartition("/providers/")[2].rpartition("/")[0] for each in properties["scopes"]}
    for each in properties["criteria"]["allOf"]:
        space, name = each["metricNamespace"], each["metricName"]
        known = _METRICS.get(space.lower(), {})
        if kinds != {space} or name not in known:
            wrong.append(f"Couldn't find a metric named {name} of {space} of {sorted(kinds)}")
        elif other := {one["name"] for one in each.get("dimensions", ())} - known[name]:
            wrong.append(f"{name}: the dimensions {sorted(other)} are not supported")
    return wrong


def _rule_faults(rules: Any) -> list[str]:
    wrong, seen = [], set()
    for rule in rules:
        told = rule.get("properties", {})
        lacking = {"priority", "direction", "access", "protocol"} - told.keys()
        wrong += [f"{rule.get('name')}: {each} is required" for each in sorted(lacking)]
        if not 100 <= told.get("priority", 100) <= 4096:
            wrong.append(f"{rule.get('name')}: priority is not between 100 and 4096")
        if (told.get("direction"), told.get("priority")) in seen:
            wrong.append(f"{rule.get('name')}: another rule has its priority")
        seen.add((told.get("direction"), told.get("priority")))
        if ("sourceAddressPrefix" in told) == ("sourceAddressPrefixes" in told):
            wrong.append(f"{rule.get('name')}: one of sourceAddressPrefix and …Prefixes")
    return wrong


def _login_faults(login: dict[str, Any]) -> list[str]:
    wrong, user = [], login.get("adminUsername", "")
    if len(login.get("computerName", "")) > 64:
        wrong.append("osProfile.computerName: longer than 64")
    if user.lower() in ("root", "admin", "administrator", "user", "test", "guest"):
        wrong.append(f"osProfile.adminUsername: {user} is not allowed")
    keys = login.get("linuxConfiguration", {}).get("ssh", {}).get("publicKeys", [])
    if not (keys or login.get("adminPassword")):
        wrong.append("osProfile: a password or a key is required")
    for key in keys:
        if key.get("path") != f"/home/{user}/.ssh/authorized_keys":
            wrong.append("osProfile: the path of a key must be that of the user")
        if not re.match(r"ssh-(rsa|ed25519) \S+", key.get("keyData", "")):
            wrong.append("osProfile: the key is none")
    if (data := login.get("customData")) is not None:
        try:
            if len(base64.b64decode(data, validate=True)) > _CUSTOM_DATA:
                wrong.append(f"osProfile.customData: more than {_CUSTOM_DATA} bytes")
        except binascii.Error:
            wrong.append("osProfile.customData: must be Base64")
    return wrong
