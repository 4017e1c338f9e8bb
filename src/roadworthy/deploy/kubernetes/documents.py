"""The manifests of a model: a function of its settings alone."""

from __future__ import annotations

import math
from typing import Any

from roadworthy.deploy.kubernetes.settings import Settings

Document = dict[str, Any]

USER = 10001
"""The user of the image."""
_STOP_SECONDS = 5
"""What a pod that ends goes on answering for, until every node knows that it ends."""
_SLACK_SECONDS = 10
_PORT, _GROUP = "http", "app.kubernetes.io"
_SECONDS = "roadworthy_request_duration_seconds"
_METRICS = {
    "concurrency": (
        "roadworthy_concurrency",
        f"sum(rate({_SECONDS}_sum{{<<.LabelMatchers>>}}[1m])) by (<<.GroupBy>>)",
    ),
    "latency": (
        "roadworthy_mean_milliseconds",
        f"1000 * sum(rate({_SECONDS}_sum{{<<.LabelMatchers>>}}[1m])) by (<<.GroupBy>>)"
        f" / sum(rate({_SECONDS}_count{{<<.LabelMatchers>>}}[1m])) by (<<.GroupBy>>)",
    ),
}
"""Custom metrics that the scaler asks for, and how an adapter makes them of the server's own.

Seconds of answering in a second are the requests in flight (Little's law).
"""


def documents(wanted: Settings) -> list[Document]:
    """Everything that serves a model, in the order of application."""
    found = [
        _service_account(wanted),
        _network_policy(wanted),
        deployment(wanted, "stable", wanted.image),
        _service(wanted),
    ]
    if wanted.canary_image is not None:
        found.insert(3, deployment(wanted, "canary", wanted.canary_image))
    if wanted.max_replicas > wanted.replicas:
        found.append(_scaler(wanted))
    if wanted.replicas > 1:
        found.append(_budget(wanted))
    if wanted.service_monitor:
        found.append(_monitor(wanted))
    return found


def _meta(wanted: Settings, name: str | None = None, **labels: str) -> Document:
    meta: Document = {
        "name": name or wanted.name,
        "labels": {
            **selector(wanted),
            f"{_GROUP}/version": wanted.version,
            f"{_GROUP}/managed-by": "roadworthy",
            **labels,
        },
    }
    return meta | ({"namespace": wanted.namespace} if wanted.namespace else {})


def selector(wanted: Settings) -> dict[str, str]:
    """The labels of every pod of a model."""
    return {f"{_GROUP}/name": "roadworthy", f"{_GROUP}/instance": wanted.name}


def _service_account(wanted: Settings) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _meta(wanted),
        "automountServiceAccountToken": False,
    }


def canary_replicas(wanted: Settings) -> int:
    """Pods of the canary that make its share of all pods at the least number of the others."""
    share = wanted.canary_percent / 100.0
    return max(1, math.floor(wanted.replicas * share / (1.0 - share)))


def deployment(wanted: Settings, track: str, image: str) -> Document:
    """The pods of one version."""
    labels = {**selector(wanted), "roadworthy.dev/track": track}
    scaled = track == "stable" and wanted.max_replicas > wanted.replicas
    spec: Document = {
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": 300,
        "selector": {"matchLabels": labels},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
        },
        "template": {
            "metadata": {"labels": {**labels, f"{_GROUP}/version": wanted.version}},
            "spec": _pod(wanted, labels, image),
        },
    }
    if not scaled:  # a number here would fight with the scaler
        spec["replicas"] = wanted.replicas if track == "stable" else canary_replicas(wanted)
    name = wanted.name if track == "stable" else f"{wanted.name}-canary"
    meta = _meta(wanted, name, **{"roadworthy.dev/track": track})
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _pod(wanted: Settings, labels: dict[str, str], image: str) -> Document:
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    pod: Document = {
        "serviceAccountName": wanted.name,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _STOP_SECONDS + wanted.drain_seconds + _SLACK_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": spread,
        "containers": [container(wanted, image)],
        "volumes": _volumes(wanted),
    }
    if wanted.pull_secret:
        pod["imagePullSecrets"] = [{"name": wanted.pull_secret}]
    return pod


def container(wanted: Settings, image: str) -> Document:
    """The server: the image's own command, with settings from the environment."""
    scheme = "HTTPS" if wanted.tls_secret else "HTTP"

    def probe(path: str, **more: int) -> Document:
        return {"httpGet": {"path": path, "port": _PORT, "scheme": scheme}, **more}

    return {
        "name": "server",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": _PORT, "containerPort": wanted.port, "protocol": "TCP"}],
        "env": _environment(wanted),
        "resources": {
            "requests": {"cpu": wanted.cpu, "memory": wanted.memory},
            # no limit of CPU: it would stop a process in the middle of a request
            "limits": {"memory": wanted.memory},
        },
        "startupProbe": probe("/readyz", periodSeconds=2, failureThreshold=60),
        "readinessProbe": probe("/readyz", periodSeconds=5, timeoutSeconds=3, failureThreshold=2),
        "livenessProbe": probe("/livez", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": _STOP_SECONDS}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(wanted),
    }


def _environment(wanted: Settings) -> list[Document]:
    plain = {
        "ROADWORTHY_SERVE_HOST": "0.0.0.0",
        "ROADWORTHY_SERVE_PORT": str(wanted.port),
        "ROADWORTHY_SERVE_WORKERS": str(wanted.workers),
        "ROADWORTHY_SERVE_DRAIN_SECONDS": str(wanted.drain_seconds),
    }
    if wanted.keys_secret:
        plain["ROADWORTHY_SERVE_KEYS"] = "/etc/roadworthy/keys/keys.json"
    if wanted.tls_secret:
        plain["ROADWORTHY_SERVE_TLS_CERTIFICATE"] = "/etc/roadworthy/tls/tls.crt"
        plain["ROADWORTHY_SERVE_TLS_KEY"] = "/etc/roadworthy/tls/tls.key"
    found: list[Document] = [{"name": name, "value": value} for name, value in plain.items()]
    for name, reference in wanted.secrets.items():
        secret, _, key = reference.partition("/")
        source = {"secretKeyRef": {"name": secret, "key": key}}
        found.append({"name": name, "valueFrom": source})
    return found


def _secret_volumes(wanted: Settings) -> dict[str, str]:
    named = {"keys": wanted.keys_secret, "tls": wanted.tls_secret}
    return {name: secret for name, secret in named.items() if secret}


def _volumes(wanted: Settings) -> list[Document]:
    secrets = _secret_volumes(wanted).items()
    return [
        {"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}},
        *(
            {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
            for name, secret in secrets
        ),
    ]


def _mounts(wanted: Settings) -> list[Document]:
    return [
        {"name": "scratch", "mountPath": "/tmp"},
        *(
            {"name": name, "mountPath": f"/etc/roadworthy/{name}", "readOnly": True}
            for name in _secret_volumes(wanted)
        ),
    ]


def _service(wanted: Settings) -> Document:
    port = {"name": _PORT, "port": 80, "targetPort": _PORT, "protocol": "TCP"}
    if wanted.tls_secret:
        port["port"] = 443
    spec = {"type": "ClusterIP", "selector": selector(wanted), "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(wanted), "spec": spec}


def _scaler(wanted: Settings) -> Document:
    """Scales up at once and down slowly: desired = ceil(now x metric / target)."""
    if wanted.scale_on == "cpu":
        target = {"type": "Utilization", "averageUtilization": round(wanted.target)}
        metric: Document = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    else:
        value = {"type": "AverageValue", "averageValue": f"{round(wanted.target * 1000)}m"}
        named = {"name": _METRICS[wanted.scale_on][0]}
        metric = {"type": "Pods", "pods": {"metric": named, "target": value}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name},
        "minReplicas": wanted.replicas,
        "maxReplicas": wanted.max_replicas,
        "metrics": [metric],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 300,
                "policies": [{"type": "Percent", "value": 25, "periodSeconds": 60}],
            },
        },
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _meta(wanted),
        "spec": spec,
    }


def _budget(wanted: Settings) -> Document:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector(wanted)}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(wanted),
        "spec": spec,
    }


def _network_policy(wanted: Settings) -> Document:
    """Calls come from this and the named namespaces; out go questions to DNS alone."""
    known = (*wanted.allow_from, *([wanted.monitoring_namespace] * wanted.service_monitor))
    peers: list[Document] = [{"podSelector": {}}]
    peers += [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in dict.fromkeys(known)
    ]
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    spec = {
        "podSelector": {"matchLabels": selector(wanted)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": [{"port": _PORT, "protocol": "TCP"}]}],
        "egress": [{"ports": dns}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(wanted),
        "spec": spec,
    }


def _monitor(wanted: Settings) -> Document:
    endpoint: Document = {"port": _PORT, "path": "/metrics", "interval": "30s"}
    if wanted.tls_secret:
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
    spec = {"selector": {"matchLabels": selector(wanted)}, "endpoints": [endpoint]}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": _meta(wanted),
        "spec": spec,
    }


def adapter_rules() -> Document:
    """`rules` for prometheus-adapter, which make the custom metrics that the scaler asks for."""
    labels = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
    return {
        "rules": {
            "custom": [
                {
                    "seriesQuery": f'{_SECONDS}_count{{namespace!="",pod!=""}}',
                    "resources": {"overrides": labels},
                    "name": {"as": name},
                    "metricsQuery": query,
                }
                for name, query in _METRICS.values()
            ]
        }
    }
