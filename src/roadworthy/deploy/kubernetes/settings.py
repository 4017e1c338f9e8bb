"""What a user says of a model on Kubernetes."""

from __future__ import annotations

from typing import Literal

import msgspec

from roadworthy.deploy.kubernetes.rules import (
    DNS_NAME,
    LABEL_VALUE,
    VARIABLE,
    is_pinned,
    quantity,
)
from roadworthy.errors import InputError


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model on Kubernetes.

    Attributes:
        name: Of everything that is made; a DNS label.
        image: The image that serves the model: with a digest, or a tag other than `latest`.
        version: The bundle's version, for labels.
        namespace: Where; None leaves it to who applies.
        port: That the server listens on.
        replicas: Pods at least.
        max_replicas: Pods at most; as many as `replicas` means that nothing scales.
        scale_on: `cpu`, a share of what is requested; `concurrency`, requests in flight in a pod;
            `latency`, a pod's mean milliseconds a request. The last two need an adapter that
            serves Prometheus' numbers as custom metrics.
        target: What a pod should come to: percent, requests or milliseconds.
        cpu: Requested, and of which the workers are as many.
        memory: Requested and limited.
        workers: Server processes in a pod.
        secrets: Environment variable -> `SECRET/KEY` that holds its value.
        keys_secret: Secret whose entry `keys.json` holds the API keys.
        tls_secret: Secret of type `kubernetes.io/tls`.
        allow_from: Namespaces that may call; this one always may.
        monitoring_namespace: Where Prometheus runs.
        service_monitor: Whether the Prometheus operator is to scrape.
        canary_image: Another version that gets a share of the calls.
        canary_percent: That share: of the pods, since a Service spreads calls over pods.
        drain_seconds: How long answers in flight may take when a pod ends.
        pull_secret: Secret of the image registry.
    """

    name: str
    image: str
    version: str = "unknown"
    namespace: str | None = None
    port: int = 8080
    replicas: int = 2
    max_replicas: int = 10
    scale_on: Literal["cpu", "concurrency", "latency"] = "cpu"
    target: float = 60.0
    cpu: str = "1"
    memory: str = "512Mi"
    workers: int = 1
    secrets: dict[str, str] = {}
    keys_secret: str | None = None
    tls_secret: str | None = None
    allow_from: tuple[str, ...] = ()
    monitoring_namespace: str = "monitoring"
    service_monitor: bool = True
    canary_image: str | None = None
    canary_percent: int = 10
    drain_seconds: int = 30
    pull_secret: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no cluster would take, or what would not run.

        Raises:
            InputError: With the key and what it may be.
        """
        names = {
            "namespace": (self.namespace,),
            "keys_secret": (self.keys_secret,),
            "tls_secret": (self.tls_secret,),
            "pull_secret": (self.pull_secret,),
            "allow_from": self.allow_from,
            "monitoring_namespace": (self.monitoring_namespace,),
        }
        references = [reference.partition("/") for reference in self.secrets.values()]
        rules = [
            (len(self.name) <= 53 and DNS_NAME.fullmatch(self.name), "name", "a DNS label"),
            (is_pinned(self.image), "image", "NAME@sha256:… or NAME:TAG, and not latest"),
            (
                self.canary_image is None or is_pinned(self.canary_image),
                "canary_image",
                "NAME@sha256:… or NAME:TAG, and not latest",
            ),
            (LABEL_VALUE.fullmatch(self.version), "version", "a label's value"),
            (1024 <= self.port <= 65535, "port", "between 1024 and 65535"),
            (1 <= self.replicas <= self.max_replicas, "replicas", "1 up to max_replicas"),
            (self.target > 0, "target", "above 0"),
            (self.scale_on != "cpu" or self.target <= 100, "target", "100 percent at most"),
            (quantity(self.cpu), "cpu", "a quantity, like 500m or 2"),
            (quantity(self.memory), "memory", "a quantity, like 512Mi"),
            (1 <= self.workers <= 256, "workers", "between 1 and 256"),
            (1 <= self.canary_percent <= 50, "canary_percent", "between 1 and 50"),
            (0 <= self.drain_seconds <= 3600, "drain_seconds", "between 0 and 3600"),
            *(
                (all(n is None or DNS_NAME.fullmatch(n) for n in given), key, "a DNS label")
                for key, given in names.items()
            ),
            (all(VARIABLE.fullmatch(v) for v in self.secrets), "secrets", "VARIABLE = SECRET/KEY"),
            (all(a and b for a, _, b in references), "secrets", "SECRET/KEY, never the value"),
        ]
        for good, key, rule in rules:
            if not good:
                raise InputError(f"{key} must be {rule}", where=f"kubernetes: {key}")
