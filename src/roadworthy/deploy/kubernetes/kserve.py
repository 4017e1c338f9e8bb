"""KServe: an InferenceService that is served by our image, by the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.kubernetes.documents import USER, container, selector
from roadworthy.deploy.kubernetes.settings import Settings

_FORMAT = "roadworthy"
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def inference_service(wanted: Settings, storage_uri: str | None = None) -> list[dict[str, Any]]:
    """The documents for KServe.

    Args:
        wanted: The settings.
        storage_uri: Where KServe fetches the bundle's folder from (`s3://`, `gs://`, `pvc://`): the
            image is then a runtime for any bundle. None: the bundle is in the image.
    """
    meta = {"name": wanted.name, "labels": selector(wanted)}
    if wanted.namespace:
        meta["namespace"] = wanted.namespace
    scale: dict[str, Any] = {
        "minReplicas": wanted.replicas,
        "maxReplicas": wanted.max_replicas,
        "scaleMetric": "concurrency" if wanted.scale_on == "concurrency" else "cpu",
        "scaleTarget": round(wanted.target),
    }
    if wanted.canary_image is not None:
        scale["canaryTrafficPercent"] = wanted.canary_percent
    service: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": meta,
    }
    served = _container(wanted)
    if storage_uri is None:
        # KServe puts the newest of an InferenceService beside the last one that was ready
        served["image"] = wanted.canary_image or wanted.image
        pod = {"securityContext": {"runAsNonRoot": True, "runAsUser": USER}}
        service["spec"] = {"predictor": {**scale, **pod, **_scratch(), "containers": [served]}}
        return [service]
    resources = served.pop("resources")
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {**meta, "name": f"{wanted.name}-runtime"},
        "spec": {
            "supportedModelFormats": [{"name": _FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2"],
            "multiModel": False,
            "containers": [{**served, "resources": resources}],
            **_scratch(),
        },
    }
    model = {
        "modelFormat": {"name": _FORMAT, "version": "1"},
        "protocolVersion": "v2",
        "runtime": f"{wanted.name}-runtime",
        "storageUri": storage_uri,
        "resources": resources,
    }
    service["spec"] = {"predictor": {**scale, "model": model}}
    return [runtime, service]


def _scratch() -> dict[str, Any]:
    return {"volumes": [{"name": "scratch", "emptyDir": {}}]}


def _container(wanted: Settings) -> dict[str, Any]:
    """The server's container as KServe takes it: one port, and no secrets' folders."""
    found = container(wanted, wanted.image)
    found["name"] = "kserve-container"
    found["volumeMounts"] = [mount for mount in found["volumeMounts"] if mount["name"] == "scratch"]
    own = {"runAsNonRoot": True, "runAsUser": USER}
    found["securityContext"] = {**found["securityContext"], **own}
    for kind in _PROBES:  # Knative knows the port by its number alone
        found[kind]["httpGet"]["port"] = wanted.port
    found["ports"][0]["name"] = "http1"
    return found
