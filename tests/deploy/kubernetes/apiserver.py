"""A cluster's API as its documentation says it, over HTTP: strict about all that is asked of it.

Documents are checked against the official schemas; server-side apply keeps who owns which field,
refuses what another owns and takes away what its owner no longer says; objects have versions that
a replacement must name. A Deployment's controller moves one step each time the Deployment is read,
so that a rollout takes the same steps on a machine of any speed. Pods are real servers.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import json
import re
import select
import socket
import struct
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

Document = dict[str, Any]
Path = tuple[Any, ...]

KINDS = {
    "configmaps": "ConfigMap", "deployments": "Deployment", "leases": "Lease", "pods": "Pod",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler", "networkpolicies": "NetworkPolicy",
    "poddisruptionbudgets": "PodDisruptionBudget", "services": "Service",
    "serviceaccounts": "ServiceAccount",
}  # fmt: skip
_KEYS = {
    "containers": ("name",), "env": ("name",), "volumes": ("name",), "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",), "topologySpreadConstraints": ("topologyKey",),
}  # fmt: skip
_PATH = re.compile(r"/apis?/(?:[\w.]+/)?v\d\w*/namespaces/([\w-]+)/(\w+)(?:/([\w.-]+))?(?:/(\w+))?")
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class RefusalError(Exception):
    """A `Status` that says no."""

    def __init__(self, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "status": "Failure", "code": code, "message": message,
                       **more}  # fmt: skip


def flat(node: Any, path: Path = ()) -> dict[Path, Any]:
    """A document as its leaves; elements of lists with a key are known by it."""
    keys = _KEYS.get(str(path[-1]) if path else "")
    if keys and isinstance(node, list):
        named = {tuple(each.get(key) for key in keys): each for each in node}
        assert len(named) == len(node), f"{path} has a key twice"
        parts: Any = named.items()
    elif isinstance(node, dict) and node:
        parts = node.items()
    else:
        return {path: node}
    return {leaf: value for key, part in parts for leaf, value in flat(part, (*path, key)).items()}


def deep(leaves: dict[Path, Any]) -> Document:
    """The document of leaves."""
    root: Document = {}
    for path, value in leaves.items():
        if value == {} and any(other[: len(path)] == path and other != path for other in leaves):
            continue
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = copy.deepcopy(value)
    return _listed(root)


def _listed(node: Any, name: Any = "") -> Any:
    if isinstance(node, dict):
        if name in _KEYS:
            return [_listed(part) for part in node.values()]
        return {key: _listed(part, key) for key, part in node.items()}
    return node


class ApiServer:
    """A cluster of one namespace.

    Attributes:
        images: Image -> port of a real server that serves it; 0: it crashes; absent: not found.
        calls: What was asked: method, kind, name.
        refuse: Asked of every call; a status to refuse it with, else None.
    """

    def __init__(self, namespace: str = "models", token: str = "cluster-token") -> None:
        self.namespace = namespace
        self.token = token
        self.images: dict[str, int] = {}
        self.objects: dict[tuple[str, str], Document] = {}
        self.owners: dict[tuple[str, str], dict[str, set[Path]]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.refuse: Any = lambda method, kind, name: None
        self.version = 100
        self.lock = threading.RLock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def answer(self) -> None:
                outer.answer(self)

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kubeconfig(self) -> str:
        """How it is reached, as JSON, which is YAML."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": address}}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })  # fmt: skip

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: Any) -> None:
        """Answer a call."""
        url = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        size = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(size)) if size else None
        try:
            if handler.headers.get("Authorization") != f"Bearer {self.token}":
                raise RefusalError(401, "Unauthorized")
            found = _PATH.fullmatch(url.path)
            if found is None or found[2] not in KINDS:
                raise RefusalError(404, "the server could not find the requested resource")
            namespace, plural, name, part = found.groups()
            kind = KINDS[plural]
            self.calls.append((handler.command, kind, name or ""))
            if refused := self.refuse(handler.command, kind, name or ""):
                raise RefusalError(refused, "refused by the test")
            if namespace != self.namespace:
                if handler.command in ("GET", "DELETE"):
                    raise RefusalError(404, f"{name} not found")
                raise RefusalError(404, f'namespaces "{namespace}" not found',
                              details={"kind": "namespaces", "name": namespace})  # fmt: skip
            if part == "portforward":
                self._forward(handler, name, int(query["ports"]))
                return
            with self.lock:
                said = self._do(handler, kind, name, part, query, body)
            code = 200
        except RefusalError as refusal:
            said, code = refusal.status, refusal.code
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(content)))
        if code == 429:
            handler.send_header("Retry-After", "0")
        handler.end_headers()
        handler.wfile.write(content)

    def _do(
        self, handler: Any, kind: str, name: str | None, part: str | None,
        query: dict[str, str], body: Any,
    ) -> Any:  # fmt: skip
        method, key = handler.command, (kind, name or "")
        if method == "POST":
            return self._create(kind, body)
        if name is None:
            return self._list(kind, query)
        if method == "PATCH" and "apply" in handler.headers["Content-Type"]:
            return self._apply(key, body, query)
        if key not in self.objects:
            raise RefusalError(
                404, f'{kind} "{name}" not found', details={"kind": kind, "name": name}
            )
        live = self.objects[key]
        if part == "log":
            return b"2026-01-01T00:00:00Z a line of the log\n"
        if method == "GET":
            if kind == "Deployment":
                self._control(live)
            return live
        if method == "DELETE":
            wanted = (body or {}).get("preconditions", {}).get("uid", live["metadata"]["uid"])
            if wanted != live["metadata"]["uid"]:
                raise RefusalError(409, "the UID in the precondition does not match")
            self._remove(key)
            return {"kind": "Status", "status": "Success"}
        if method == "PUT":
            if body["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
                raise RefusalError(409, "the object has been modified; please apply your changes")
            return self._store(key, body)
        assert handler.headers["Content-Type"] == "application/merge-patch+json"
        changed = copy.deepcopy(live)
        changed["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
        return self._store(key, changed)

    def _list(self, kind: str, query: dict[str, str]) -> Document:
        wanted = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
        items = [
            each for (of, _), each in sorted(self.objects.items())
            if of == kind and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]  # fmt: skip
        first, limit = int(query.get("continue", 0)), 3  # small pages: all must be asked for
        more = {"continue": str(first + limit)} if first + limit < len(items) else {}
        return {"kind": f"{kind}List", "items": items[first : first + limit], "metadata": more}

    def _create(self, kind: str, body: Document) -> Document:
        key = (kind, body["metadata"]["name"])
        if key in self.objects:
            raise RefusalError(409, f'{kind} "{key[1]}" already exists', reason="AlreadyExists")
        return self._store(key, self._checked(body))

    def _checked(self, body: Document) -> Document:
        try:
            kubernetes_validate.validate(body, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            raise RefusalError(422, f"is invalid: {error.message}") from None
        return body

    def _apply(self, key: tuple[str, str], body: Document, query: dict[str, str]) -> Document:
        """https://kubernetes.io/docs/reference/using-api/server-side-apply/."""
        assert query["fieldManager"] == "roadworthy"
        assert "resourceVersion" not in body["metadata"]
        self._checked(body)
        if (body["kind"], body["metadata"]["name"]) != key:
            raise RefusalError(400, "the name of the object does not match the name on the URL")
        live, wanted = self.objects.get(key), flat(body)
        owners = copy.deepcopy(self.owners.get(key, {}))
        had = {} if live is None else flat(live)
        if live is not None and live.get("immutable") and body.get("data") != live.get("data"):
            raise RefusalError(422, "field is immutable when `immutable` is set")
        causes = [
            {"field": ".".join(map(str, path)), "message": f"conflict with {other!r}"}
            for other, paths in owners.items() if other != query["fieldManager"]
            for path in paths if path in wanted and wanted[path] != had.get(path)
        ]  # fmt: skip
        if causes:
            message = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
            raise RefusalError(409, f"Apply failed with {len(causes)} conflict: {message}",
                          details={"causes": causes})  # fmt: skip
        others = {path for other, paths in owners.items() if other != query["fieldManager"]
                  for path in paths}  # fmt: skip
        gone = owners.get(query["fieldManager"], set()) - wanted.keys() - others
        merged = {path: value for path, value in had.items() if path not in gone} | wanted
        owners[query["fieldManager"]] = set(wanted)
        after = _defaults(deep(merged))
        if query.get("dryRun") == "All":
            return self._versioned(key, after, self.version)
        self.owners[key] = owners
        return self._store(key, after)

    def _versioned(self, key: tuple[str, str], after: Document, version: int) -> Document:
        live = self.objects.get(key)
        meta = after["metadata"]
        if live is None:
            meta["uid"], meta["generation"] = uuid.uuid4().hex, 1
            meta["creationTimestamp"] = datetime.datetime.now(datetime.UTC).isoformat()
        else:
            kept = ("uid", "generation", "creationTimestamp")
            meta.update({name: live["metadata"][name] for name in kept})
            if after.get("spec") != live.get("spec"):
                meta["generation"] += 1
            if "status" in live:
                after["status"] = live["status"]
        meta["resourceVersion"] = str(version)
        return after

    def _store(self, key: tuple[str, str], after: Document) -> Document:
        self.version += 1
        after = self._versioned(key, copy.deepcopy(after), self.version)
        self.objects[key] = after
        return after

    def _remove(self, key: tuple[str, str]) -> None:
        gone = self.objects.pop(key)
        self.owners.pop(key, None)
        uid = gone["metadata"]["uid"]
        owned = [
            each for each, found in self.objects.items()
            if uid in str(found["metadata"].get("ownerReferences"))
        ]  # fmt: skip
        for other in owned:
            self._remove(other)

    def other_manager(self, kind: str, name: str, path: Path, value: Any) -> None:
        """Somebody else sets a field and owns it from now on."""
        key = (kind, name)
        self.objects[key] = deep(flat(self.objects[key]) | {path: value})
        for paths in self.owners[key].values():
            paths.discard(path)
        self.owners[key].setdefault("somebody", set()).add(path)

    # the Deployment's controller

    def pods(self, deployment: Document) -> list[Document]:
        uid = deployment["metadata"]["uid"]
        return [each for (kind, _), each in self.objects.items() if kind == "Pod"
                and each["metadata"]["ownerReferences"][0]["uid"] == uid]  # fmt: skip

    def _control(self, live: Document) -> None:
        """Take one step: seen; then one new pod comes, or one old pod goes."""
        status = live.setdefault("status", {})
        generation = live["metadata"]["generation"]
        if status.get("observedGeneration") != generation:
            status["observedGeneration"] = generation
            self._count(live)
            return
        template = json.dumps(live["spec"]["template"], sort_keys=True)
        mark = hashlib.sha256(template.encode()).hexdigest()[:10]
        pods = self.pods(live)
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == mark]
        old = [pod for pod in pods if pod not in new]
        wanted = live["spec"]["replicas"]
        if len(new) < wanted and len(pods) <= wanted:
            self._make_pod(live, mark)
        elif old and sum(map(_is_ready, pods)) > wanted - (len(new) < wanted):
            self._remove(("Pod", old[0]["metadata"]["name"]))
        elif old and not all(map(_is_ready, old)):
            bad = next(pod for pod in old if not _is_ready(pod))
            self._remove(("Pod", bad["metadata"]["name"]))
        elif len(new) > wanted:
            self._remove(("Pod", new[-1]["metadata"]["name"]))
        self._count(live, mark)

    def _count(self, live: Document, mark: str | None = None) -> None:
        pods = self.pods(live)
        new = [pod for pod in pods if pod["metadata"]["labels"]["pod-template-hash"] == mark]
        live["status"] |= {
            "replicas": len(pods), "updatedReplicas": len(new),
            "availableReplicas": sum(map(_is_ready, pods)),
        }  # fmt: skip

    def _make_pod(self, live: Document, mark: str) -> None:
        template = copy.deepcopy(live["spec"]["template"])
        name = f"{live['metadata']['name']}-{mark}-{uuid.uuid4().hex[:5]}"
        image = template["spec"]["containers"][0]["image"]
        port = self.images.get(image)
        reason = {None: "ImagePullBackOff", 0: "CrashLoopBackOff"}.get(port)
        state = {"name": "server", "ready": reason is None, "restartCount": 3 * (port == 0)}
        if reason:
            state["state"] = {"waiting": {"reason": reason, "message": f"of {image}"}}
        meta = {
            "name": name, "namespace": self.namespace,
            "labels": {**template["metadata"]["labels"], "pod-template-hash": mark},
            "ownerReferences": [{"uid": live["metadata"]["uid"]}],
        }  # fmt: skip
        status = {"phase": "Running" if not reason else "Pending", "containerStatuses": [state]}
        self._store(("Pod", name), {"kind": "Pod", "metadata": meta, "spec": template["spec"],
                                    "status": status})  # fmt: skip

    def reached(self, service: str) -> set[str]:
        """The images of the ready pods that a Service's callers reach."""
        found = self.objects.get(("Service", service))
        if found is None:
            return set()
        wanted = found["spec"]["selector"].items()
        return {
            each["spec"]["containers"][0]["image"] for (kind, _), each in self.objects.items()
            if kind == "Pod" and wanted <= each["metadata"]["labels"].items() and _is_ready(each)
        }  # fmt: skip

    # port forwarding: WebSocket (RFC 6455) with v4.channel.k8s.io

    def _forward(self, handler: Any, name: str, port: int) -> None:
        pod = self.objects.get(("Pod", name))
        if pod is None or pod["spec"]["containers"][0]["ports"][0]["containerPort"] != port:
            raise RefusalError(404, f"no pod {name} with port {port}")
        key = handler.headers["Sec-WebSocket-Key"] + _WEBSOCKET
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        handler.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
            b"Sec-WebSocket-Accept: " + accepted.encode() + b"\r\n\r\n"
        )
        handler.close_connection = True
        real = self.images[pod["spec"]["containers"][0]["image"]]
        for channel in (0, 1):
            handler.wfile.write(_frame(bytes([channel]) + struct.pack("<H", port)))
        with socket.create_connection(("127.0.0.1", real)) as far:
            self._pump(handler, far)

    def _pump(self, handler: Any, far: socket.socket) -> None:
        near, received = handler.connection, b""
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            ready = select.select([near, far], [], [], 60)[0]
            if far in ready:
                part = far.recv(1 << 15)
                if not part:
                    handler.wfile.write(_frame(b"", 8))
                    return
                handler.wfile.write(_frame(b"\0" + part))
            if near in ready:
                more = near.recv(1 << 15)
                received += more
                while found := _unframed(received):
                    kind, part, received = found
                    if kind == 8:
                        return
                    if kind == 2 and part[:1] == b"\0":
                        far.sendall(part[1:])
                if not more:
                    return


def _unframed(received: bytes) -> tuple[int, bytes, bytes] | None:
    """The first frame of a client: its kind, what is in it, and the bytes after it."""
    if len(received) < 2:
        return None
    size, at = received[1] & 127, 2
    if size > 125:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(received[2 : 2 + width]), 2 + width
    if len(received) < at + 4 + size:
        return None
    mask, part = received[at : at + 4], received[at + 4 : at + 4 + size]
    plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(part))
    return received[0] & 15, plain, received[at + 4 + size :]


def _frame(part: bytes, kind: int = 2) -> bytes:
    size = len(part)
    head = struct.pack(">BB", 128 | kind, size) if size < 126 else (
        struct.pack(">BBH", 128 | kind, 126, size) if size < 1 << 16
        else struct.pack(">BBQ", 128 | kind, 127, size))  # fmt: skip
    return head + part


def _is_ready(pod: Document) -> bool:
    return bool(pod["status"]["containerStatuses"][0]["ready"])


def _defaults(document: Document) -> Document:
    """A few of those that the API fills in, of which live objects have more than was applied."""
    if document["kind"] == "Deployment":
        document["spec"].setdefault("replicas", 1)
        pod = document["spec"]["template"]["spec"]
        pod.setdefault("restartPolicy", "Always")
        for container in pod["containers"]:
            container.setdefault("terminationMessagePath", "/dev/termination-log")
    if document["kind"] == "Service":
        document["spec"].setdefault("clusterIP", "10.0.0.7")
    return document
