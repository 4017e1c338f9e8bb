"""Every deployment that a namespace has something of, by labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.kubernetes.cluster import Cluster


def tenants(cluster: Cluster, kinds: Sequence[str]) -> tuple[Tenant, ...]:
    """What is managed by Roadworthy there; a trial belongs to its deployment."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for kind in kinds:
        for each in cluster.list(kind, "app.kubernetes.io/managed-by=roadworthy"):
            instance = str(each["metadata"]["labels"].get("app.kubernetes.io/instance", ""))
            parts[instance.removesuffix("-trial")].append(f"{kind} {each['metadata']['name']}")
    return tuple(
        Tenant(deployment=name, model="", parts=tuple(sorted(listed)))
        for name, listed in sorted(parts.items())
    )
