"""Checks of a pod: images, resources, probes, ports, volumes, rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roadworthy.deploy.kubernetes.rules import is_pinned, quantity

_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
Found = Iterator[tuple[str, str]]


def check_pod(template: dict[str, Any]) -> Found:
    """What is wrong with a pod's template: path below it, and reason."""
    pod = template["spec"]
    volumes = [volume["name"] for volume in pod.get("volumes", [])]
    if len(set(volumes)) < len(volumes):
        yield "spec.volumes", "names stand twice"
    names = [container["name"] for container in pod["containers"]]
    if len(set(names)) < len(names):
        yield "spec.containers", "names stand twice"
    for place, container in enumerate(pod["containers"]):
        at = f"spec.containers.{place}"
        yield from _image_and_rights(container, pod, at)
        yield from _resources(container.get("resources", {}), at)
        yield from _ports(container, at)
        yield from _probes(container, at)
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{at}.volumeMounts", f"there is no volume {mount['name']}"
        stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if stop >= pod.get("terminationGracePeriodSeconds", 30):
            yield f"{at}.lifecycle.preStop", "takes all the time that the pod has to end"


def _image_and_rights(container: dict[str, Any], pod: dict[str, Any], at: str) -> Found:
    if not is_pinned(str(container.get("image", ""))):
        yield f"{at}.image", "is not pinned: it needs a digest, or a tag other than latest"
    own, shared = container.get("securityContext", {}), pod.get("securityContext", {})
    if own.get("privileged") or own.get("allowPrivilegeEscalation", True):
        yield f"{at}.securityContext", "may gain rights"
    if not own.get("runAsNonRoot", shared.get("runAsNonRoot", False)):
        yield f"{at}.securityContext", "may run as root"
    if own.get("runAsUser", shared.get("runAsUser", 1)) == 0:
        yield f"{at}.securityContext", "runs as root"


def _resources(resources: dict[str, Any], at: str) -> Found:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory"):
        if name not in requests:
            yield f"{at}.resources.requests", f"requests no {name}"
    for kind, amounts in (("requests", requests), ("limits", limits)):
        for name, amount in amounts.items():
            if quantity(amount) is None:
                yield f"{at}.resources.{kind}.{name}", f"{amount!r} is no quantity"
    for name in requests.keys() & limits.keys():
        least, most = quantity(requests[name]), quantity(limits[name])
        if least is not None and most is not None and least > most:
            yield f"{at}.resources.requests.{name}", "is above the limit"


def _ports(container: dict[str, Any], at: str) -> Found:
    ports = container.get("ports", [])
    for place, port in enumerate(ports):
        if not 1 <= port["containerPort"] <= 65535:
            yield f"{at}.ports.{place}.containerPort", f"{port['containerPort']} is no port"
        if len(port.get("name", "")) > 15:
            yield f"{at}.ports.{place}.name", "is longer than 15 letters"
    names = [port["name"] for port in ports if "name" in port]
    if len(set(names)) < len(names):
        yield f"{at}.ports", "names stand twice"


def _probes(container: dict[str, Any], at: str) -> Found:
    known: list[Any] = []
    for port in container.get("ports", []):
        known += [port.get("name"), port["containerPort"]]
    for kind in _PROBES:
        probe = container.get(kind)
        if probe is None:
            continue
        handlers = [name for name in _HANDLERS if name in probe]
        if len(handlers) != 1:
            yield f"{at}.{kind}", f"needs one of {', '.join(_HANDLERS)}"
        for handler in ("httpGet", "tcpSocket"):
            if handler in probe and probe[handler].get("port") not in known:
                yield f"{at}.{kind}", f"{probe[handler].get('port')} is no port of the container"
        least = [probe.get(key, 1) for key in ("periodSeconds", "timeoutSeconds")]
        if min(least) < 1 or probe.get("failureThreshold", 1) < 1:
            yield f"{at}.{kind}", "seconds and thresholds are 1 or more"
