"""Every deployment that an engine has something of, by labels and names."""

from __future__ import annotations

import re
from collections import defaultdict

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.docker.description import DEPLOYMENT, MODEL
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.locking import HOLDER
from roadworthy.registry.leases import is_dead

_IMAGE = re.compile(r"roadworthy/([a-z][a-z0-9-]{0,62}):[0-9a-f]+-[0-9a-f]{8}")
_LOCK = re.compile(r"roadworthy\.([a-z][a-z0-9-]{0,62})\.lock")


def tenants(engine: Engine) -> tuple[Tenant, ...]:
    """Containers, volumes, images and dead locks of every deployment."""
    parts: defaultdict[str, list[str]] = defaultdict(list)
    models: dict[str, str] = {}
    made = {name: each["Config"]["Labels"] for name, each in engine.containers(DEPLOYMENT).items()}
    for kind, found in (("container", made), ("volume", engine.labelled_volumes(DEPLOYMENT))):
        for name, labels in found.items():
            parts[labels[DEPLOYMENT]].append(f"{kind} {name}")
            models.setdefault(labels[DEPLOYMENT], labels.get(MODEL, ""))
    for tag in engine.tags():
        if (match := _IMAGE.fullmatch(tag)) is not None:
            parts[match[1]].append(f"image {tag}")
    for name, lock in engine.containers(HOLDER).items():
        match = _LOCK.fullmatch(name)
        if match is not None and is_dead(lock["Config"]["Labels"][HOLDER].rpartition("/")[0]):
            parts[match[1]].append(f"lock {name}")
    return tuple(
        Tenant(deployment=name, model=models.get(name, ""), parts=tuple(sorted(listed)))
        for name, listed in sorted(parts.items())
    )
