"""Releases: what was applied together is kept in the cluster, so that it can be gone back to.

A release is a ConfigMap that holds its documents, which name secrets and hold none. When it began
to serve is an annotation: releases that never did are no place to go back to.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.deploy.kubernetes.cluster import Cluster, Document, as_selector
from roadworthy.deploy.kubernetes.documents import documents
from roadworthy.deploy.kubernetes.settings import Settings
from roadworthy.errors import InputError
from roadworthy.project import KubernetesSection, Project

RELEASE = "roadworthy.dev/release"
"""Annotation of a Deployment: the release that it is of."""
_SERVED, _MODEL, _VERSION = (f"roadworthy.dev/{each}" for each in ("served", "model", "version"))
_ROLE = "roadworthy.dev/role"


class Kept(msgspec.Struct, frozen=True):
    """A release: its id, whose version it is, its documents, and when it began to serve."""

    id: str
    model: str
    version: str
    documents: tuple[Document, ...]
    served: str = ""


def labels_of(name: str) -> dict[str, str]:
    """The labels of everything that a deployment makes, but for trials."""
    return {
        "app.kubernetes.io/name": "roadworthy",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/managed-by": "roadworthy",
    }


def pod_labels(name: str) -> dict[str, str]:
    """The labels by which a deployment's pods are found, and those of no other."""
    return {k: v for k, v in labels_of(name).items() if not k.endswith("/managed-by")}


def settings_of(
    name: str, section: KubernetesSection, project: Project, version: str = "unknown"
) -> Settings:
    """The settings that a section means.

    Raises:
        InputError: No cluster would take them.
    """
    return Settings(
        name=name,
        image=section.image,
        version=version,
        namespace=section.namespace,
        replicas=section.replicas,
        max_replicas=section.max_replicas,
        scale_on=section.scale_on,
        target=section.scale_target,
        cpu=section.cpu,
        memory=section.memory,
        workers=section.workers,
        secrets=section.secret_refs,
        keys_secret=section.keys_secret,
        pull_secret=section.pull_secret,
        allow_from=section.allow_from,
        service_monitor=section.service_monitor,
        monitoring_namespace=section.monitoring_namespace,
        canary_image=section.canary_image,
        canary_percent=section.canary_percent,
        drain_seconds=round(project.serve.drain_seconds),
    )


def make(bundle: Bundle, wanted: Settings) -> Kept:
    """The release that serves a bundle with these settings; the same again has the same id."""
    made = documents(wanted)
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{bundle.manifest.short_version}-{digest}"
    for document in made:
        if document["kind"] == "Deployment":
            document["metadata"]["annotations"] = {RELEASE: name}
    return Kept(name, bundle.manifest.name, bundle.version, tuple(made))


def to_map(name: str, namespace: str, release: Kept) -> Document:
    """The ConfigMap that keeps a release of a deployment."""
    meta = {
        "name": f"{name}-{release.id}",
        "namespace": namespace,
        "labels": {**labels_of(name), _ROLE: "release"},
        "annotations": {
            RELEASE: release.id, _MODEL: release.model, _VERSION: release.version,
        },
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "immutable": True,
        "data": {"documents.json": json.dumps(release.documents, sort_keys=True)},
    }


def read(cluster: Cluster, name: str) -> list[Kept]:
    """The releases that are kept of a deployment, the last that served first."""
    found = []
    for entry in cluster.list("ConfigMap", selector_of(name, "release")):
        notes: dict[str, Any] = entry["metadata"].get("annotations", {})
        try:
            documents_ = tuple(json.loads(entry["data"]["documents.json"]))
            kept = Kept(
                notes[RELEASE], notes[_MODEL], notes[_VERSION], documents_, notes.get(_SERVED, "")
            )
        except (KeyError, ValueError, TypeError):
            raise InputError(
                f"ConfigMap {entry['metadata']['name']} is no release",
                where=cluster.where,
                fix="delete it: it carries our label, and somebody else changed it",
            ) from None
        found.append(kept)
    return sorted(found, key=lambda each: each.served, reverse=True)


def selector_of(name: str, role: str) -> str:
    """Selects the ConfigMaps of a deployment that have a role."""
    return as_selector({**labels_of(name), _ROLE: role})


def note_served(cluster: Cluster, name: str, release: str) -> None:
    """Write down that a release serves from now on."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    cluster.annotate("ConfigMap", f"{name}-{release}", {_SERVED: now})


def evidence_map(name: str, namespace: str, release: str, files: dict[str, str]) -> Document:
    """The ConfigMap that keeps why a release did not pass."""
    meta = {
        "name": f"{name}-{release}-evidence",
        "namespace": namespace,
        "labels": {**labels_of(name), _ROLE: "evidence"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files}
