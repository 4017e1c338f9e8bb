"""`[deploy.NAME]` with `target = "kubernetes"`."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from roadworthy.project._range import Range
from roadworthy.project.deploy import DeploySection

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class KubernetesSection(
    DeploySection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="kubernetes"
):
    """`target = "kubernetes"`: a namespace of a cluster, which is there and may be written.

    Attributes:
        image: The image that serves the model: with a digest, or a tag other than `latest`.
        kubeconfig: How the cluster is reached; None: `KUBECONFIG`, or `~/.kube/config`.
        context: Which context of it; None: the current one.
        namespace: The namespace.
        replicas: Pods at least.
        max_replicas: Pods at most; as many as `replicas` means that nothing scales.
        scale_on: `cpu`, `concurrency` or `latency`; the last two need prometheus-adapter.
        scale_target: What a pod should come to: percent, requests in flight or milliseconds.
        cpu: What a pod requests, of cores.
        memory: What a pod requests and may use.
        workers: Server processes in a pod.
        secret_refs: Environment variable -> `SECRET/KEY` of the namespace that holds its value.
        keys_secret: Secret whose entry `keys.json` holds the API keys.
        pull_secret: Secret of the image registry.
        allow_from: Other namespaces that may call.
        service_monitor: Whether the Prometheus operator, which must be there, is to scrape.
        monitoring_namespace: Where Prometheus runs.
        canary_image: Another version that gets a share of the calls.
        canary_percent: That share.
    """

    image: str
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = "default"
    replicas: int = 2
    max_replicas: int = 10
    scale_on: Literal["cpu", "concurrency", "latency"] = "cpu"
    scale_target: float = 60.0
    cpu: str = "1"
    memory: str = "512Mi"
    workers: int = 1
    secret_refs: dict[str, str] = msgspec.field(default_factory=dict)
    keys_secret: str | None = None
    pull_secret: str | None = None
    allow_from: tuple[str, ...] = ()
    service_monitor: bool = False
    monitoring_namespace: str = "monitoring"
    canary_image: str | None = None
    canary_percent: int = 10

    @property
    def place(self) -> str:
        """The namespace, of which cluster."""
        return f"{self.context or 'the current context'}/{self.namespace}"

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages; `deploy.kubernetes.Settings` knows the rest."""
        of_hosts = (self.port, self.domain, self.tls_certificate, *self.secrets)
        first = next((k for k in ("port", "domain", "tls_certificate") if getattr(self, k)), None)
        limit = 100.0 if self.scale_on == "cpu" else 1e6
        return [
            *super().ranges(),
            Range(
                not any(of_hosts),
                first or "secrets",
                "left out: an Ingress of yours is the way in, and secret_refs names Secrets",
            ),
            Range(bool(self.image.strip()), "image", "an image's name"),
            Range(bool(_LABEL.fullmatch(self.namespace)), "namespace", "a namespace's name"),
            Range(1 <= self.replicas <= self.max_replicas, "replicas", "1 up to max_replicas"),
            Range(0 < self.scale_target <= limit, "scale_target", f"above 0, at most {limit:g}"),
            Range(bool(_QUANTITY.fullmatch(self.cpu)), "cpu", "a quantity, like 500m or 2"),
            Range(bool(_QUANTITY.fullmatch(self.memory)), "memory", "a quantity, like 512Mi"),
            Range(1 <= self.workers <= 256, "workers", "between 1 and 256"),
            Range(1 <= self.canary_percent <= 50, "canary_percent", "between 1 and 50"),
        ]
