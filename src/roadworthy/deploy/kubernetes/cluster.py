"""A cluster's API: documents looked at, applied and taken away, as the kubeconfig allows.

Credentials are the official client's matter (tokens, certificates, plug-ins of clouds). Objects are
written by server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/):
the cluster merges, and says who else owns a field that is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from roadworthy.errors import InputError, OutsideError, RoadworthyError

Document = dict[str, Any]

MANAGER = "roadworthy"
"""Owner of the fields that are applied."""
_PLACES = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "ServiceMonitor": ("apis/monitoring.coreos.com/v1", "servicemonitors"),
}
_BUSY = (429, 500, 502, 503, 504)
_TRIES = 5
_SECONDS = 30.0


def as_selector(labels: dict[str, str]) -> str:
    """Labels as the API asks for them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


class ApiError(Exception):
    """The API said no; `roadworthy` says it in words.

    Args:
        code: HTTP status.
        said: The API's `Status` document.
    """

    def __init__(self, code: int, said: Document) -> None:
        super().__init__(said.get("message", ""))
        self.code = code
        self.said = said


class Cluster:
    """A namespace of a cluster.

    Args:
        kubeconfig: File; None: `KUBECONFIG`, `~/.kube/config`, or the pod that this runs in.
        context: Which of its contexts; None: the current one.
        namespace: The namespace.

    Raises:
        InputError: There is no such file or context.
        OutsideError: The client library is not installed.
    """

    def __init__(self, kubeconfig: str | None, context: str | None, namespace: str) -> None:
        self.namespace = namespace
        self.client = _client(kubeconfig, context)
        self.where = f"{self.client.configuration.host}, namespace {namespace}"

    def get(self, kind: str, name: str) -> Document | None:
        """An object; None when there is none."""
        try:
            return self._ask("GET", self._path(kind, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise self.refusal(error, f"{kind} {name}") from None

    def list(self, kind: str, selector: str) -> list[Document]:
        """Objects by their labels; none where the cluster does not know the kind."""
        found: list[Document] = []
        after = ""
        while True:
            query = {"labelSelector": selector, "limit": "200"}
            if after:
                query["continue"] = after
            try:
                said = self._ask("GET", self._path(kind), query)
            except ApiError as error:
                if error.code == 404:
                    return found
                raise self.refusal(error, kind) from None
            found += said.get("items", [])
            after = said.get("metadata", {}).get("continue", "")
            if not after:
                return found

    def apply(self, document: Document, *, rehearse: bool = False) -> Document:
        """Make an object as a document says; fields that it leaves out are left alone.

        Args:
            document: The object.
            rehearse: Only ask what would come of it.

        Raises:
            InputError: The cluster does not take it.
            OutsideError: It may not be written, or others own fields of it.
        """
        kind, name = document["kind"], document["metadata"]["name"]
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        if rehearse:
            query["dryRun"] = "All"
        try:
            path = self._path(kind, name)
            return self._ask("PATCH", path, query, document, "application/apply-patch+yaml")
        except ApiError as error:
            raise self.refusal(error, f"{kind} {name}") from None

    def annotate(self, kind: str, name: str, annotations: dict[str, str]) -> None:
        """Add annotations to an object."""
        try:
            self._ask(
                "PATCH", self._path(kind, name), {"fieldManager": f"{MANAGER}-records"},
                {"metadata": {"annotations": annotations}}, "application/merge-patch+json",
            )  # fmt: skip
        except ApiError as error:
            raise self.refusal(error, f"{kind} {name}") from None

    def create(self, document: Document) -> bool:
        """Make an object; False when there is one of that name."""
        try:
            self._ask("POST", self._path(document["kind"]), {"fieldManager": MANAGER}, document)
        except ApiError as error:
            if error.code == 409:
                return False
            raise self.refusal(error, document["kind"]) from None
        return True

    def replace(self, document: Document) -> bool:
        """Put a changed object in the place of the one read; False when another was quicker."""
        kind, name = document["kind"], document["metadata"]["name"]
        try:
            self._ask("PUT", self._path(kind, name), {"fieldManager": MANAGER}, document)
        except ApiError as error:
            if error.code in (404, 409):
                return False
            raise self.refusal(error, f"{kind} {name}") from None
        return True

    def delete(self, kind: str, name: str, uid: str | None = None) -> None:
        """Take an object away with what it owns; it may be gone already, or be another's by now."""
        body: Document = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            self._ask("DELETE", self._path(kind, name), {}, body)
        except ApiError as error:
            if error.code != 404 and not (uid is not None and error.code == 409):
                raise self.refusal(error, f"{kind} {name}") from None

    def log(self, pod: str, lines: int, *, follow: bool = False) -> Iterator[str]:
        """The last lines of a pod's log, and with `follow` those to come."""
        query = {"container": "server", "tailLines": str(lines), "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        answer = self._send("GET", f"{self._path('Pod', pod)}/log", query, wait=not follow)
        if answer.status != 200:
            return  # a container that never started has none
        rest = b""
        for part in answer.response.stream(1 << 14):
            *whole, rest = (rest + part).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def channel(self, pod: str, port: int) -> socket.socket:
        """A connection to a port of a pod, through the API; OutsideError when there is none."""
        from kubernetes.client import CoreV1Api
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream import portforward

        for left in range(_TRIES - 1, -1, -1):
            # the library puts its own call in the place of the client's: so each has its own
            client = type(self.client)(self.client.configuration)
            try:
                forward = portforward(
                    CoreV1Api(client).connect_get_namespaced_pod_portforward,
                    pod, self.namespace, ports=str(port),
                )  # fmt: skip
            except ApiException as error:
                said = str(error.reason)
                if left and any(f"status {code}" in said for code in _BUSY):
                    time.sleep(0.2 * 2 ** (_TRIES - 1 - left))
                    continue
                raise OutsideError(
                    f"no connection to pod {pod} through the API: {said[:300]}",
                    where=self.where,
                    fix="your role needs create on pods/portforward",
                ) from None
            opened: socket.socket = forward.socket(port)
            return opened
        raise AssertionError("the last try returns or raises")

    def _path(self, kind: str, name: str | None = None) -> str:
        group, plural = _PLACES[kind]
        path = f"/{group}/namespaces/{self.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Document | None = None,
        kind: str = "application/json",
    ) -> Document:
        answer = self._send(method, path, query, body, kind)
        try:
            said = json.loads(answer.read() or b"{}")
        except ValueError:
            said = {"message": f"answered {answer.status} with what is no JSON"}
        if answer.status >= 300 or not isinstance(said, dict):
            raise ApiError(answer.status, said if isinstance(said, dict) else {})
        return said

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Document | None = None,
        kind: str = "application/json",
        *,
        wait: bool = True,
    ) -> Any:
        """Ask, and again while the API is busy or out of reach: what is asked may be done twice."""
        from urllib3.exceptions import HTTPError

        content = None if body is None else json.dumps(body).encode()
        for left in range(_TRIES - 1, -1, -1):
            headers = {"Accept": "application/json", "Content-Type": kind}
            self.client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            address = f"{self.client.configuration.host}{path}"
            address += f"?{urlencode(query)}" if query else ""
            pause = 0.2 * 2 ** (_TRIES - 1 - left)
            try:
                answer = self.client.rest_client.pool_manager.request(
                    method, address, body=content, headers=headers, preload_content=False,
                    retries=False, timeout=_SECONDS if wait else None,
                )  # fmt: skip
            except (HTTPError, OSError, ssl.SSLError) as error:
                if not left:
                    raise OutsideError(
                        f"the cluster's API cannot be reached: {_cause(error)}",
                        where=self.where,
                        fix="look at the kubeconfig, the context and the network",
                    ) from None
            else:
                if answer.status not in _BUSY or not left:
                    return _Answer(answer)
                with contextlib.suppress(ValueError):
                    pause = min(_SECONDS, float(answer.headers.get("Retry-After", pause)))
                answer.drain_conn()
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def refusal(self, error: ApiError, what: str) -> RoadworthyError:
        """A refusal in words."""
        code = error.code
        said = str(error.said.get("message") or error.said.get("reason") or "")[:800]
        if code == 404 and error.said.get("details", {}).get("kind") == "namespaces":
            return InputError(
                f"there is no namespace {self.namespace}",
                where=self.where,
                fix=f"kubectl create namespace {self.namespace}",
            )
        if code == 404:
            return InputError(
                f"{what}: the cluster does not know it: {said or 'not found'}",
                where=self.where,
                fix="install what the kind belongs to, or leave it out (service_monitor = false)",
            )
        if code in (400, 422):
            return InputError(f"the cluster does not take {what}: {said}", where=self.where)
        if code == 409:
            return OutsideError(
                f"{what} is changed by others, too: {said}",
                where=self.where,
                fix="let one place say it: take it out there, or here; then run the same again",
            )
        if code in (401, 403):
            return OutsideError(
                f"{what}: access is denied: {said}",
                where=self.where,
                fix="sign in again, or ask for a role that allows it",
            )
        return OutsideError(
            f"{what}: the cluster's API answered {code}: {said}",
            where=self.where,
            fix="run the same again: it goes on where it ended",
        )


class _Answer:
    """An answer of which nothing was read yet."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.status = int(response.status)

    def read(self) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            return bytes(self.response.data)
        except (HTTPError, OSError) as error:
            raise OutsideError(f"the cluster's answer was cut off: {_cause(error)}") from None
        finally:
            self.response.release_conn()


def _client(kubeconfig: str | None, context: str | None) -> Any:
    try:
        from kubernetes import client, config
    except ModuleNotFoundError:
        raise OutsideError(
            "the Kubernetes client is not installed", fix="pip install 'roadworthy[kubernetes]'"
        ) from None
    import yaml

    load: Any = config  # the library's functions for credentials have no types
    wanted = client.Configuration()
    try:
        inside = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
        if inside and not os.path.exists(config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION):
            load.load_incluster_config(client_configuration=wanted)
        else:
            load.load_kube_config(
                kubeconfig, context, client_configuration=wanted, persist_config=False
            )
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError) as error:
        raise InputError(
            f"the kubeconfig cannot be used: {str(error).splitlines()[0]}",
            where=kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config"),
            fix="name a file by kubeconfig and one of its contexts by context",
        ) from None
    return client.ApiClient(wanted)


def _cause(error: BaseException) -> str:
    text = str(getattr(error, "reason", None) or error)
    return text.rpartition(": ")[2] or type(error).__name__
