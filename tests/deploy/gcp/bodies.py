"""Whether a request is one that Google takes: by the descriptions that its own client ships."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_APIS = ("compute.v1", "monitoring.v3", "iam.v1", "storage.v1", "sqladmin.v1",
         "secretmanager.v1", "monitoring.v1")  # fmt: skip
_COMMON = {"alt", "key", "prettyPrint", "fields", "quotaUser", "userIp", "$.xgafv", "callback",
           "access_token", "oauth_token", "uploadType", "upload_protocol"}  # fmt: skip
_METADATA = 262_144


class Method(NamedTuple):
    """A documented method: its interface, description, and the parameters of a path."""

    api: str
    about: dict[str, Any]
    named: dict[str, str]


@functools.cache
def _documents() -> dict[str, dict[str, Any]]:
    spec = importlib.util.find_spec("googleapiclient")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0]) / "discovery_cache" / "documents"
    return {api: json.loads((folder / f"{api}.json").read_text("utf-8")) for api in _APIS}


@functools.cache
def _methods() -> list[tuple[str, str, re.Pattern[str], dict[str, Any]]]:
    found = []
    for api, document in _documents().items():
        for method in _all_methods(document):
            path = "/" + document["servicePath"] + method.get("flatPath", method["path"])
            shape = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
            found.append((api, method["httpMethod"], re.compile(shape), method))
    return found


def _all_methods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _all_methods(inner)


def find(verb: str, path: str) -> Method | None:
    """The documented method of a request; None: there is none."""
    for api, method, shape, about in _methods():
        if method == verb and (match := shape.fullmatch(path)):
            return Method(api, about, match.groupdict())
    return None


def faults(method: Method, query: dict[str, list[str]], body: Any) -> list[str]:
    """What is wrong with a request."""
    parameters, wrong = method.about.get("parameters", {}), []
    for name, values in query.items():
        about = parameters.get(name)
        if about is None and name not in _COMMON:
            wrong.append(f'Unknown name "{name}": Cannot bind query parameter.')
        elif about and about.get("enum") and not set(values) <= set(about["enum"]):
            wrong.append(f"Invalid value for {name}: {values}")
    for name, about in parameters.items():
        if about.get("required") and about["location"] == "query" and name not in query:
            wrong.append(f"Required parameter: {name}")
    for name, value in method.named.items():
        pattern = parameters.get(name, {}).get("pattern")
        if pattern and not re.fullmatch(pattern.strip("^$"), value):
            wrong.append(f"Invalid value for field '{name}': '{value}'. Must match {pattern}")
    if "request" in method.about:
        check = _Check(method.api, method.about["id"])
        wrong += check.value(method.about["request"], body or {}, "resource")
        wrong += _beyond(method.about["id"], body or {})
    elif body:
        wrong.append(f"{method.about['id']} takes no body")
    return wrong


class _Check(NamedTuple):
    api: str
    method: str

    def value(self, schema: dict[str, Any], value: Any, at: str) -> list[str]:
        """What is wrong with a value, by its schema."""
        if "$ref" in schema:
            schema = _documents()[self.api]["schemas"][schema["$ref"]]
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, value, at)
        if kind == "array":
            if not isinstance(value, list):
                return [f"{at}: expected a list"]
            return [
                said
                for number, each in enumerate(value)
                for said in self.value(schema["items"], each, f"{at}[{number}]")
            ]
        return _scalar(schema, value, at)

    def _object(self, schema: dict[str, Any], value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{at}: expected an object"]
        properties, more = schema.get("properties", {}), schema.get("additionalProperties")
        wrong = []
        for name, inner in value.items():
            if name in properties:
                wrong += self.value(properties[name], inner, f"{at}.{name}")
            elif more:
                wrong += self.value(more, inner, f"{at}.{name}")
            else:
                wrong.append(f"Unknown name \"{name}\" at '{at}': Cannot find field.")
        for name, about in properties.items():
            required = self.method in about.get("annotations", {}).get("required", [])
            told = about.get("description", "").startswith("Required.")
            if (required or told) and name not in value and not about.get("readOnly"):
                wrong.append(f"Required field '{at}.{name}' not specified")
        return wrong


def _scalar(schema: dict[str, Any], value: Any, at: str) -> list[str]:
    kind, form = schema.get("type"), schema.get("format", "")
    if kind == "string" and form in ("int64", "uint64"):
        good = isinstance(value, int) or (
            isinstance(value, str) and bool(re.fullmatch(r"-?\d+", value))
        )
        return [] if good else [f"{at}: expected a number"]
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    expected: Any = kinds.get(str(kind), object)
    is_number = kind in ("integer", "number")
    if not isinstance(value, expected) or (is_number and isinstance(value, bool)):
        return [f"{at}: expected {kind}, got {type(value).__name__}"]
    if schema.get("enum") and value not in schema["enum"]:
        return [f"Invalid value at '{at}': \"{value}\""]
    if schema.get("pattern") and not re.fullmatch(schema["pattern"], value):
        return [f"Invalid value for field '{at}': '{value}'. Must match {schema['pattern']}"]
    if form == "google-duration" and not re.fullmatch(r"\d+(\.\d+)?s", value):
        return [f"{at}: not a duration"]
    return []


def _beyond(method: str, body: dict[str, Any]) -> list[str]:
    """What the documentation asks and the descriptions do not."""
    metadata = body if method.endswith(".setMetadata") else body.get("metadata", {})
    wrong = [
        f"metadata {each['key']}: more than 256 KB"
        for each in metadata.get("items", ())
        if len(str(each.get("value", "")).encode()) > _METADATA
    ]
    for key, value in body.get("labels", {}).items() if method.startswith("compute.") else ():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(
            r"[a-z0-9_-]{0,63}", value
        ):
            wrong.append(f"Invalid label {key}={value}")
    for key, value in body.get("userLabels", {}).items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or value != value.lower():
            wrong.append(f"Invalid user label {key}={value}")
    if method == "compute.instances.insert":
        wrong += _machine_faults(body)
    if method == "compute.firewalls.insert" and not (body.get("allowed") or body.get("denied")):
        wrong.append("one of allowed and denied is required")
    return wrong


def _machine_faults(body: dict[str, Any]) -> list[str]:
    wrong = []
    if "/machineTypes/" not in body.get("machineType", ""):
        wrong.append(f"Invalid value for 'machineType': '{body.get('machineType')}': malformed")
    if not body.get("disks"):
        wrong.append("At least one disk is required")
    if not body.get("networkInterfaces"):
        wrong.append("At least one network interface is required.")
    for each in body.get("disks", ()):
        size = str(each.get("initializeParams", {}).get("diskSizeGb", "10"))
        if size.isdigit() and int(size) < 10:
            wrong.append("Disk size cannot be smaller than the image size (10 GB)")
    return wrong
