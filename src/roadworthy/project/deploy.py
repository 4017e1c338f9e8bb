"""`[deploy.NAME]`: where a model is to run, and how it is reached there."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from roadworthy.project._range import Range

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


class DeploySection(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="target"
):
    """What every `[deploy.NAME]` says; its `target` adds the rest.

    Attributes:
        model: What to deploy: a path, `name`, `name:version` or `name@alias`; None: the newest
            bundle of `[package] directory`.
        port: The public port; None: 443 with TLS, 80 without.
        domain: A public name, for which a certificate is asked for and renewed (ACME).
        tls_certificate: A certificate of your own (PEM file, chain included).
        tls_key: Its key.
        keep: Releases that stay on the host, for rollback.
        secrets: Environment variables whose values the server gets; their values are in no file of
            the project, no plan, no log and no process list.
        start_seconds: How long a new release may take to become ready.
    """

    model: str | None = None
    port: int | None = None
    domain: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    keep: int = 5
    secrets: tuple[str, ...] = ()
    start_seconds: int = 180

    @property
    def place(self) -> str:
        """Where, for people; the same place has the same text."""
        raise NotImplementedError

    @property
    def secured(self) -> bool:
        """Whether callers are spoken to by TLS."""
        return self.domain is not None or self.tls_certificate is not None

    @property
    def public_port(self) -> int:
        """The port that callers use."""
        return self.port or (443 if self.secured else 80)

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        pair = (self.tls_certificate is None) == (self.tls_key is None)
        names = all(_VARIABLE.fullmatch(name) for name in self.secrets)
        known = self.domain is None or bool(_DOMAIN.fullmatch(self.domain))
        return [
            Range(self.port is None or 1 <= self.port <= 65535, "port", "between 1 and 65535"),
            Range(pair, "tls_key", "given together with tls_certificate"),
            Range(known, "domain", "a domain name in lower case, like api.example.org"),
            Range(
                self.domain is None or self.tls_certificate is None,
                "domain",
                "left out when tls_certificate is given",
            ),
            Range(1 <= self.keep <= 100, "keep", "between 1 and 100"),
            Range(names, "secrets", "names of environment variables in capitals, not values"),
            Range(5 <= self.start_seconds <= 3600, "start_seconds", "between 5 and 3600"),
        ]


class SshSection(DeploySection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ssh"):
    """`target = "ssh"`: a host that SSH reaches, without a container engine.

    Attributes:
        host: `HOST`, `USER@HOST` or a name of your SSH configuration.
        ssh_port: Port of the SSH server; None: as the SSH configuration says.
        identity: Private key file; None: as the SSH configuration and agent say.
        known_hosts: File of known host keys; None: as the SSH configuration says.
        firewall: Whether only SSH and the public port may be reached.
        upgrades: Whether the host installs security updates by itself.
    """

    host: str
    ssh_port: int | None = None
    identity: str | None = None
    known_hosts: str | None = None
    firewall: bool = True
    upgrades: bool = True

    @property
    def place(self) -> str:
        """The host."""
        return self.host

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        # a name that begins with a dash would be an option of the ssh command
        named = bool(re.fullmatch(r"[A-Za-z0-9_][\w.@:%-]*", self.host))
        port = self.ssh_port is None or 1 <= self.ssh_port <= 65535
        return [
            *super().ranges(),
            Range(named, "host", "HOST, USER@HOST or a name of the SSH configuration"),
            Range(port, "ssh_port", "between 1 and 65535"),
        ]


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
    secret_refs: dict[str, str] = {}
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


Deployment = SshSection | KubernetesSection
"""Every kind of `[deploy.NAME]`: a union, told apart by `target`."""
