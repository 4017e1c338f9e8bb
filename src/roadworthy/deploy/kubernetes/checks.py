"""What no schema sees: whether manifests fit each other, and would do what they are meant to do.

Kubernetes' OpenAPI schemas hold types and no references, ranges or choices; a Service that selects
nothing is valid to every public validator and to the cluster itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from roadworthy.deploy.kubernetes.pods import check_pod
from roadworthy.deploy.kubernetes.rules import DNS_NAME, LABEL_KEY, LABEL_VALUE

Document = dict[str, Any]

_VERSIONS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "Secret": "v1",
    "ConfigMap": "v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "ServingRuntime": "serving.kserve.io/v1alpha1",
}
_STRATEGIES = ("RollingUpdate", "Recreate")


class Finding(NamedTuple):
    """Something that would not work: of which document, where in it, and what."""

    document: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.document}: {self.path}: {self.reason}"


Found = Iterator[tuple[str, str]]


def check_documents(documents: list[Document]) -> list[Finding]:
    """Check manifests that are to be applied together.

    Args:
        documents: As read by `read_yaml`, which has refused doubled keys.

    Returns:
        What is wrong; none: they fit.
    """
    found: list[Finding] = []
    seen: set[tuple[str, str, str]] = set()
    for document in documents:
        kind, meta = str(document.get("kind")), document.get("metadata") or {}
        title = f"{kind}/{meta.get('name')}"
        key = (kind, str(meta.get("name")), str(meta.get("namespace")))
        if key in seen:
            found.append(Finding(title, "metadata.name", "stands twice"))
        seen.add(key)
        check = _CHECKS.get(kind, _nothing)
        try:
            for path, reason in (*_any(document), *check(document, documents)):
                found.append(Finding(title, path, reason))
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            found.append(Finding(title, "", f"is not of the shape of a {kind}: {error!r}"))
    return found


def _nothing(document: Document, documents: list[Document]) -> Found:
    yield from ()


def _any(document: Document) -> Found:
    kind, meta = document.get("kind"), document.get("metadata") or {}
    wanted = _VERSIONS.get(str(kind))
    if wanted is None:
        yield "kind", f"{kind} is not one that is known here"
    elif document.get("apiVersion") != wanted:
        yield "apiVersion", f"{document.get('apiVersion')} is not served any more: {wanted}"
    if not DNS_NAME.fullmatch(str(meta.get("name", ""))):
        yield "metadata.name", "is no DNS label"
    for path, labels in _labels(document, ""):
        for key, value in labels.items():
            if not LABEL_KEY.fullmatch(str(key)):
                yield f"{path}.{key}", "is no label's key"
            if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
                yield f"{path}.{key}", f"{value!r} is no label's value"


def _labels(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("labels", "matchLabels") and isinstance(value, dict):
                yield f"{path}.{key}".strip("."), value
            else:
                yield from _labels(value, f"{path}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from _labels(value, f"{path}.{place}")


def _of(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document.get("kind") == kind]


def _selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def _pods(documents: list[Document], selector: dict[str, str], like: Document) -> list[Document]:
    """The pod templates that a selector finds, in the namespace of a document."""
    space = like["metadata"].get("namespace")
    return [
        deployment["spec"]["template"]
        for deployment in _of(documents, "Deployment")
        if deployment["metadata"].get("namespace") == space
        and _selects(selector, deployment["spec"]["template"]["metadata"].get("labels", {}))
    ]


def _ports(template: Document) -> list[Document]:
    return [port for c in template["spec"]["containers"] for port in c.get("ports", [])]


def _has_port(template: Document, wanted: Any) -> bool:
    key = "name" if isinstance(wanted, str) else "containerPort"
    return any(port.get(key) == wanted for port in _ports(template))


def _deployment(document: Document, documents: list[Document]) -> Found:
    spec = document["spec"]
    selector, template = spec["selector"]["matchLabels"], spec["template"]
    if not _selects(selector, template["metadata"].get("labels", {})):
        yield "spec.selector", "does not select the deployment's own pods"
    for other in _of(documents, "Deployment"):
        labels = other["spec"]["template"]["metadata"].get("labels", {})
        if other is not document and _selects(selector, labels):
            yield "spec.selector", f"selects the pods of {other['metadata']['name']}, too"
    strategy = spec.get("strategy", {})
    if strategy.get("type", "RollingUpdate") not in _STRATEGIES:
        yield "spec.strategy.type", f"{strategy['type']} is none of {', '.join(_STRATEGIES)}"
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        yield "spec.strategy.rollingUpdate", "has no meaning with Recreate"
    moves = strategy.get("rollingUpdate", {})
    if all(str(moves.get(key, 1)).strip("%") == "0" for key in ("maxSurge", "maxUnavailable")):
        yield "spec.strategy.rollingUpdate", "lets no pod come and none go"
    if spec.get("replicas", 1) < 0:
        yield "spec.replicas", "is below 0"
    account = template["spec"].get("serviceAccountName")
    accounts = [each["metadata"]["name"] for each in _of(documents, "ServiceAccount")]
    if account not in (None, "default", *accounts):
        yield "spec.template.spec.serviceAccountName", f"there is no {account}"
    for path, reason in check_pod(template):
        yield f"spec.template.{path}", reason


def _service(document: Document, documents: list[Document]) -> Found:
    spec = document["spec"]
    found = _pods(documents, spec.get("selector", {}), document)
    if not found:
        yield "spec.selector", "selects no pod"
    names = [port.get("name") for port in spec["ports"]]
    if len(set(names)) < len(names):
        yield "spec.ports", "names of ports stand twice, or are absent"
    for place, port in enumerate(spec["ports"]):
        if not 1 <= port["port"] <= 65535:
            yield f"spec.ports.{place}.port", f"{port['port']} is no port"
        target = port.get("targetPort", port["port"])
        if any(not _has_port(template, target) for template in found):
            yield f"spec.ports.{place}.targetPort", f"{target} is no port of the pods"


def _scaler(document: Document, documents: list[Document]) -> Found:
    spec, target = document["spec"], document["spec"]["scaleTargetRef"]
    aims = [
        each
        for each in _of(documents, target["kind"])
        if each["metadata"]["name"] == target["name"] and each["apiVersion"] == target["apiVersion"]
    ]
    if not aims:
        yield "spec.scaleTargetRef", f"there is no {target['kind']}/{target['name']}"
    if not 1 <= spec.get("minReplicas", 1) <= spec["maxReplicas"]:
        yield "spec.minReplicas", "must be 1 or more, and not above maxReplicas"
    if not spec.get("metrics"):
        yield "spec.metrics", "says nothing to scale on"
    for aim in aims:
        if "replicas" in aim["spec"]:
            yield "spec.scaleTargetRef", "the target sets replicas itself: both would fight"
        for metric in spec.get("metrics", []):
            yield from _metric(metric, aim["spec"]["template"]["spec"]["containers"])


def _metric(metric: Document, containers: list[Document]) -> Found:
    wanted = metric.get("resource")
    if metric.get("type") not in ("Resource", "Pods", "Object", "External", "ContainerResource"):
        yield "spec.metrics", f"{metric.get('type')} is no kind of metric"
    elif wanted and wanted["target"].get("type") == "Utilization":
        requests = [c.get("resources", {}).get("requests", {}) for c in containers]
        if any(wanted["name"] not in each for each in requests):
            yield "spec.metrics", f"a share of {wanted['name']}, of which the pods request none"


def _budget(document: Document, documents: list[Document]) -> Found:
    spec = document["spec"]
    found = _pods(documents, spec["selector"]["matchLabels"], document)
    if not found:
        yield "spec.selector", "selects no pod"
    if ("minAvailable" in spec) == ("maxUnavailable" in spec):
        yield "spec", "needs one of minAvailable and maxUnavailable"
    least = sum(
        _least_replicas(each, documents)
        for each in _of(documents, "Deployment")
        if each["spec"]["template"] in found
    )
    floor, gone = spec.get("minAvailable", 0), spec.get("maxUnavailable", 1)
    blocked = floor == "100%" or (isinstance(floor, int) and floor >= max(1, least))
    if found and (blocked or str(gone).strip("%") == "0"):
        yield "spec", "lets no pod go: no node could be emptied"


def _least_replicas(deployment: Document, documents: list[Document]) -> int:
    name = deployment["metadata"]["name"]
    for scaler in _of(documents, "HorizontalPodAutoscaler"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"].get("minReplicas", 1))
    return int(deployment["spec"].get("replicas", 1))


def _policy(document: Document, documents: list[Document]) -> Found:
    spec = document["spec"]
    found = _pods(documents, spec["podSelector"].get("matchLabels", {}), document)
    if not found:
        yield "spec.podSelector", "selects no pod"
    allowed = [
        port.get("port") for rule in spec.get("ingress", []) for port in rule.get("ports", [])
    ]
    for template in found:
        named = [port.get("name") for port in _ports(template)]
        numbers = [port.get("containerPort") for port in _ports(template)]
        if strange := [port for port in allowed if port not in (*named, *numbers)]:
            yield "spec.ingress", f"{strange[0]} is no port of the pods"


def _monitor(document: Document, documents: list[Document]) -> Found:
    spec = document["spec"]
    services = [
        service
        for service in _of(documents, "Service")
        if _selects(spec["selector"].get("matchLabels", {}), service["metadata"].get("labels", {}))
    ]
    if not services:
        yield "spec.selector", "selects no service"
    if not spec.get("endpoints"):
        yield "spec.endpoints", "names nothing to scrape"
    for endpoint in spec.get("endpoints", []):
        names = [port.get("name") for service in services for port in service["spec"]["ports"]]
        if services and endpoint.get("port") not in names:
            yield "spec.endpoints", f"{endpoint.get('port')} is no port of the service"


def _inference(document: Document, documents: list[Document]) -> Found:
    predictor = document["spec"]["predictor"]
    if ("model" in predictor) == ("containers" in predictor):
        yield "spec.predictor", "needs one of model and containers"
    if predictor.get("minReplicas", 1) > predictor.get("maxReplicas", float("inf")) > 0:
        yield "spec.predictor.minReplicas", "is above maxReplicas"
    model = predictor.get("model")
    if model is not None and not (model.get("modelFormat") or {}).get("name"):
        yield "spec.predictor.model", "has no modelFormat"
    runtimes = [each["metadata"]["name"] for each in _of(documents, "ServingRuntime")]
    if model is not None and model.get("runtime") not in (None, *runtimes):
        yield "spec.predictor.model.runtime", f"there is no {model['runtime']}"
    if "containers" in predictor:
        for path, reason in check_pod({"spec": predictor}):
            yield path.replace("spec.", "spec.predictor.", 1), reason


def _runtime(document: Document, documents: list[Document]) -> Found:
    if not document["spec"].get("supportedModelFormats"):
        yield "spec.supportedModelFormats", "names no format"
    yield from check_pod(document)


_CHECKS = {
    "Deployment": _deployment,
    "Service": _service,
    "HorizontalPodAutoscaler": _scaler,
    "PodDisruptionBudget": _budget,
    "NetworkPolicy": _policy,
    "ServiceMonitor": _monitor,
    "InferenceService": _inference,
    "ServingRuntime": _runtime,
}
