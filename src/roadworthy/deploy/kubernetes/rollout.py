"""Pods that come and go: wait until a Deployment is as it was told, or say why it is not."""

from __future__ import annotations

import time
from typing import Any

from roadworthy.deploy.kubernetes.cluster import Cluster, as_selector

Document = dict[str, Any]

_HOPELESS = (
    "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull",
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "RunContainerError",
)  # fmt: skip
_PAUSE = 0.25


def is_rolled_out(deployment: Document) -> bool:
    """Whether all pods are of the newest template, are available, and no other is left."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    return bool(seen and counts == [wanted] * 3)


def wait(cluster: Cluster, name: str, seconds: float) -> str | None:
    """Wait for a Deployment's rollout.

    Returns:
        Why it failed; None: it is done.
    """
    until = time.monotonic() + seconds
    while True:
        found = cluster.get("Deployment", name)
        if found is None:
            return f"Deployment {name} was taken away by others"
        if is_rolled_out(found):
            return None
        stuck = _stuck(found) or _why_not(cluster, found)
        if stuck is not None:
            return stuck
        if time.monotonic() > until:
            return f"not ready after {seconds:.0f} seconds: {_state(found)}"
        time.sleep(_PAUSE)


def pods_of(cluster: Cluster, labels: dict[str, str]) -> list[Document]:
    """Pods by their labels, the newest first; those that end are left out."""
    found = [
        pod
        for pod in cluster.list("Pod", as_selector(labels))
        if "deletionTimestamp" not in pod["metadata"]
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]
    return sorted(
        found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True
    )


def _stuck(deployment: Document) -> str | None:
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 1):
        return None
    for condition in status.get("conditions", []):
        late = condition.get("reason") == "ProgressDeadlineExceeded"
        if late or (condition["type"] == "ReplicaFailure" and condition["status"] == "True"):
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return None


def _why_not(cluster: Cluster, deployment: Document) -> str | None:
    """What no waiting mends, of pods of the newest template."""
    wanted = [c["image"] for c in deployment["spec"]["template"]["spec"]["containers"]]
    for pod in pods_of(cluster, deployment["spec"]["selector"]["matchLabels"]):
        if [container["image"] for container in pod["spec"]["containers"]] != wanted:
            continue
        for state in pod.get("status", {}).get("containerStatuses", []):
            waiting = state.get("state", {}).get("waiting", {})
            if waiting.get("reason") in _HOPELESS:
                name = pod["metadata"]["name"]
                return f"pod {name}: {waiting['reason']}: {waiting.get('message', '')}".strip(": ")
    return None


def _state(deployment: Document) -> str:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return f"{updated} of {wanted} pods are new, {available} available"
