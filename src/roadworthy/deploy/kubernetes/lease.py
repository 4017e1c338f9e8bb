"""One deployment at a time: a Lease of the cluster, which a dead holder lets go of."""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Iterator

from roadworthy.deploy.kubernetes.cluster import Cluster, Document
from roadworthy.errors import OutsideError, RoadworthyError
from roadworthy.registry.leases import holder, is_dead

SECONDS = 3600
"""Longer than any run; on the holder's own machine a dead process is seen at once."""
_held: set[str] = set()


@contextlib.contextmanager
def held(cluster: Cluster, name: str, labels: dict[str, str]) -> Iterator[None]:
    """Hold a Lease.

    Raises:
        OutsideError: Another holds it.
    """
    mine = f"{holder()}/{uuid.uuid4().hex}"
    _take(cluster, name, labels, mine)
    _held.add(mine)
    try:
        yield
    finally:
        _held.discard(mine)
        with contextlib.suppress(RoadworthyError):  # the error that led here must not be hidden
            found = cluster.get("Lease", name)
            if found is not None and found["spec"].get("holderIdentity") == mine:
                cluster.delete("Lease", name, found["metadata"].get("uid"))


def _take(cluster: Cluster, name: str, labels: dict[str, str], mine: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    moment = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {
        "holderIdentity": mine,
        "leaseDurationSeconds": SECONDS,
        "acquireTime": moment,
        "renewTime": moment,
    }
    meta = {"name": name, "namespace": cluster.namespace, "labels": labels}
    lease: Document = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec,
    }  # fmt: skip
    other = ""
    for _ in range(3):
        if cluster.create(lease):
            return
        found = cluster.get("Lease", name)
        if found is None:
            continue
        other = str(found["spec"].get("holderIdentity") or "")
        if other == mine:  # an answer was lost on the way, not the Lease
            return
        if not _is_free(found, other, now):
            break
        if cluster.replace({**found, "spec": spec}):
            return
    raise OutsideError(
        f"another deployment is at work: {', process '.join(other.split('/')[:2])}",
        where=f"{cluster.where}, Lease {name}",
        fix="wait for it; when it is surely dead, delete that Lease",
    )


def _is_free(found: Document, other: str, now: datetime.datetime) -> bool:
    process = other.rpartition("/")[0]
    if not other or is_dead(process) or (process == holder() and other not in _held):
        return True
    renewed = str(found["spec"].get("renewTime") or "")
    try:
        age = now - datetime.datetime.fromisoformat(renewed)
    except ValueError:
        return False
    return bool(age.total_seconds() > found["spec"].get("leaseDurationSeconds", SECONDS))
