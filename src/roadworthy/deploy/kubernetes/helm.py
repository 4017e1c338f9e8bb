"""A Helm chart: the manifests, with what differs between clusters as values.

The templates are made from the very documents that `documents` makes, so that the chart with its
own values says what the manifests say.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from roadworthy.deploy.kubernetes.documents import documents
from roadworthy.deploy.kubernetes.settings import Settings
from roadworthy.deploy.kubernetes.writing import to_yaml

_NAME = "release-name-of-the-chart"
_IMAGE, _CANARY = "image-of-the-chart:1", "canary-of-the-chart:1"
_MARK = re.compile(r"'?<<(\w+):([\w.]+)>>'?")


class _Value(NamedTuple):
    """What of a kind of document is a value: where, its name, and how it is written."""

    kind: str
    path: tuple[str | int, ...]
    name: str
    how: str = "plain"


_POD = ("spec", "template", "spec")
_SERVER = (*_POD, "containers", 0)
_VALUES = (
    _Value("Deployment", ("spec", "replicas"), "replicas"),
    _Value("Deployment", (*_SERVER, "resources"), "resources", "block"),
    _Value("Deployment", (*_SERVER, "env"), "env", "block"),
    _Value("HorizontalPodAutoscaler", ("spec", "minReplicas"), "replicas"),
    _Value("HorizontalPodAutoscaler", ("spec", "maxReplicas"), "maxReplicas"),
    _Value("HorizontalPodAutoscaler", ("spec", "metrics"), "metrics", "block"),
    _Value("NetworkPolicy", ("spec", "ingress"), "ingress", "block"),
)
_WHEN = {
    "HorizontalPodAutoscaler": "autoscaling",
    "NetworkPolicy": "networkPolicy",
    "PodDisruptionBudget": "disruptionBudget",
    "ServiceMonitor": "serviceMonitor",
}


def chart(wanted: Settings) -> dict[str, bytes]:
    """The files of a chart by name.

    Raises:
        OutsideError: PyYAML is not installed.
    """
    canary = None if wanted.canary_image is None else _CANARY
    plain = msgspec.structs.replace(
        wanted, name=_NAME, image=_IMAGE, canary_image=canary, namespace=None
    )
    values: dict[str, Any] = {"image": wanted.image}
    if wanted.canary_image:
        values["canaryImage"] = wanted.canary_image
    files: dict[str, bytes] = {}
    for document in documents(plain):
        kind = document["kind"]
        track = document["metadata"]["labels"].get("roadworthy.dev/track")
        text = _template(document, values, prefix="canary" if track == "canary" else "")
        if kind in _WHEN:
            values[_WHEN[kind]] = {"enabled": True}
            text = f"{{{{- if .Values.{_WHEN[kind]}.enabled }}}}\n{text}{{{{- end }}}}\n"
        name = kind.lower() + ("-canary" if track == "canary" else "")
        files[f"templates/{name}.yaml"] = text.encode()
    about = {
        "apiVersion": "v2",
        "name": wanted.name,
        "description": "A model that is served by Roadworthy",
        "type": "application",
        "version": "1.0.0",
        "appVersion": wanted.version,
        "kubeVersion": ">=1.30.0-0",
    }
    files["Chart.yaml"] = to_yaml([about]).encode()
    files["values.yaml"] = to_yaml([values]).encode()
    schema = json.dumps(_schema(values), indent=2, sort_keys=True) + "\n"
    files["values.schema.json"] = schema.encode()
    return files


def _template(document: dict[str, Any], values: dict[str, Any], prefix: str) -> str:
    kind = document["kind"]
    for value in (each for each in _VALUES if each.kind == kind):
        holder = document
        for step in value.path[:-1]:
            holder = holder[step]  # type: ignore[index]
        last: Any = value.path[-1]
        if last not in holder:
            continue
        name = value.name if not prefix or value.name != "replicas" else "canaryReplicas"
        values[name] = holder[last]
        holder[last] = f"<<{value.how}:{name}>>"
    text = to_yaml([document])
    text = "\n".join(_filled(line) for line in text.splitlines()) + "\n"
    text = text.replace(_IMAGE, "{{ .Values.image | quote }}")
    text = text.replace(_CANARY, "{{ .Values.canaryImage | quote }}")
    return text.replace(_NAME, "{{ .Release.Name }}")


def _filled(line: str) -> str:
    found = _MARK.search(line)
    if found is None:
        return line
    how, name = found.groups()
    start = line[: found.start()].rstrip()
    if how == "plain":
        return f"{start} {{{{ .Values.{name} }}}}"
    indent = len(line) - len(line.lstrip()) + 2
    return f"{start}\n{' ' * indent}{{{{- toYaml .Values.{name} | nindent {indent} }}}}"


def _schema(values: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of the values: a misspelt one, or one of another type, is refused."""
    rules: dict[str, Any] = {
        "image": {"type": "string", "pattern": "^[^\\s]+(:[^:/@\\s]+|@sha256:[0-9a-f]{64})$"},
        "replicas": {"type": "integer", "minimum": 1},
        "maxReplicas": {"type": "integer", "minimum": 1},
        "canaryReplicas": {"type": "integer", "minimum": 0},
        "resources": {"type": "object"},
    }
    rules["canaryImage"] = rules["image"]
    switch = {
        "type": "object",
        "properties": {"enabled": {"type": "boolean"}},
        "additionalProperties": False,
    }
    rules |= dict.fromkeys(_WHEN.values(), switch)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {name: rules.get(name, {"type": "array"}) for name in values}
        | {"global": {"type": "object"}},
        "required": ["image"],
        "additionalProperties": False,
    }
