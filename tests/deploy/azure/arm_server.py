"""Azure Resource Manager as strict as its descriptions: what a request must be, and what it meets.

There is no emulator of it. Bodies are checked by rules drawn from Microsoft's own models
(`rules.py`); the rest is how its documentation says that it behaves: versions, references,
conflicts, operations that take long, tags, errors. It shows that requests are well formed and in
order, not that Azure accepts them.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from tests.deploy.azure import endpoints, gateways, registering, workbooks
from tests.deploy.azure.bodies import faults, references
from tests.deploy.certificates import certificate

Fault = Literal["cut before", "cut after", "fault", "throttled", "denied", "quota"]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
_GROUP = re.compile(r"/subscriptions/[^/]+/resourcegroups/[^/]+", re.IGNORECASE)
_ROLE = (
    rf"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
    r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"
)
_TAGS = "/providers/microsoft.resources/tags/default"
_UNLISTED = ("/federatedidentitycredentials", "/roleassignments", *registering.UNLISTED)
_SLOW = ("microsoft.network/", "microsoft.compute/", "microsoft.resources/",
         "microsoft.dbforpostgresql/")  # fmt: skip
_ERRORS = {
    "fault": (500, "InternalServerError", "Encountered an internal server error."),
    "throttled": (429, "TooManyRequests", "The request was throttled."),
    "quota": (409, "OperationNotAllowed", "Operation could not be completed as it results in "
              "exceeding approved Total Regional Cores quota."),
}  # fmt: skip


class Refusal(Exception):  # noqa: N818
    """An answer that is an error: status, code, message."""


class Quiet(ThreadingHTTPServer):
    """Says nothing of connections that a client ends."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """See `socketserver.BaseServer`."""


class Arm:
    """The server.

    Attributes:
        url: Where it is.
        things: Path in lower case -> what is there.
        calls: Method and path of what changed something, in order.
        fail: Called with method and path; says what is to go wrong.
        console: What the console of every machine shows.
        blobs: `/blobs/ACCOUNT/CONTAINER` -> names of what is in it.
        listed_late: What lists of every group still show, although it is gone.
        stored: Path of a blob in a container of releases -> what is in it.
        healthy: Whether the machines of a scale set answer.
    """

    def __init__(self, folder: Path) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, tuple[int, str | None]] = {}
        self.calls: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.fail: Callable[[str, str], Fault | None] = lambda method, path: None
        self.console = ""
        self.blobs: dict[str, list[str]] = {}
        self.listed_late: list[dict[str, Any]] = []
        self.stored: dict[str, bytes] = {}
        self.healthy: Callable[[str], bool] = lambda name: True
        self.guard = threading.Lock()
        door = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                door.answer(self)

            do_PUT = do_PATCH = do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.ca, chain, key = certificate(folder, "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self.door = Quiet(("127.0.0.1", 0), Door)
        self.door.socket = context.wrap_socket(self.door.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.door.server_port}"
        threading.Thread(target=self.door.serve_forever, daemon=True).start()

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Answer one request, as `fail` says."""
        method, url = asked.command, urllib.parse.urlsplit(asked.path)
        content = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        fault = self.fail(method, url.path)
        if fault == "cut before":
            asked.connection.shutdown(2)
            return
        try:
            if fault == "denied":
                raise Refusal(403, "AuthorizationFailed", _denied(method, url.path))
            if fault in _ERRORS:
                raise Refusal(*_ERRORS[fault])
            with self.guard:
                status, body, headers = self._carry_out(method, url, asked, content)
        except Refusal as refusal:
            status, code, message = refusal.args
            if status != 404:
                self.refused.append(f"{code}: {message}")
            body = {"error": {"code": code, "message": message}}
            headers = {"Retry-After": "0"} if status in (429, 500) else {}
        if fault == "cut after":
            asked.connection.shutdown(2)
            return
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        asked.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            asked.send_header(name, value)
        asked.send_header("Content-Length", str(len(data) if body is not None else 0))
        asked.end_headers()
        if body is not None:
            asked.wfile.write(data)

    def _carry_out(
        self, method: str, url: urllib.parse.SplitResult, asked: Any, content: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        path, query = url.path.rstrip("/").lower(), dict(urllib.parse.parse_qsl(url.query))
        if path == "/console":
            if asked.headers.get("Authorization"):
                raise Refusal(400, "InvalidAuthenticationInfo", "a token is not for this address")
            if not self.console:
                raise Refusal(404, "BlobNotFound", "The specified blob does not exist.")
            return 200, self.console, {}
        if "/releases" in path and path.startswith("/blobs/"):
            return gateways.releases(self.stored, method, path, asked.headers, content)
        if path.startswith("/blobs/"):
            return 200, registering.blobs(self.blobs, path, asked.headers, query), {}
        if path.startswith("/operations/"):
            return self._operation(path)
        if not (asked.headers.get("Authorization") or "").startswith("Bearer "):
            raise Refusal(401, "AuthenticationFailed", "The 'Authorization' header is missing.")
        if "api-version" not in query:
            raise Refusal(400, "MissingApiVersionParameter", "api-version is required.")
        body = json.loads(content) if content else None
        if method != "GET":
            self.calls.append((method, url.path))
        return self._on_resource(method, url.path.rstrip("/"), query, body)

    def _operation(self, path: str) -> tuple[int, Any, dict[str, str]]:
        left, gone = self.operations[path]
        self.operations[path] = left - 1, gone
        if left > 0:
            return 200, {"status": "InProgress"}, {"Retry-After": "0"}
        if gone is not None:
            for each in [key for key in self.things if key == gone or key.startswith(f"{gone}/")]:
                del self.things[each]
        return 200, {"status": "Succeeded"}, {}

    def _on_resource(
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        key = path.lower()
        if not key.startswith(f"/subscriptions/{SUBSCRIPTION}/"):
            raise Refusal(404, "SubscriptionNotFound", "The subscription could not be found.")
        if key.endswith("/virtualmachinescalesets") and method == "GET":
            inside = [at for at in self.things if at.rpartition("/")[0] == key]
            return 200, {"value": [self._shown(at, {}) for at in inside]}, {}
        if key.endswith("/virtualmachines") and method == "GET" and "scalesets/" in key:
            return 200, {"value": gateways.running(self.things, key)}, {}
        if key.endswith("/resourcegroups"):
            tag = re.fullmatch(r"tagName eq '([^']+)'", query.get("$filter", ""))
            groups = [each for at, each in self.things.items() if _GROUP.fullmatch(at)]
            return 200, {"value": [g for g in groups if not tag or tag[1] in g["tags"]]}, {}
        group = _GROUP.match(key)
        assert group is not None, path
        if group[0] not in self.things and not (method == "PUT" and key == group[0]):
            raise Refusal(404, "ResourceGroupNotFound", f"{group[0]} could not be found.")
        if key.endswith("/resources") and method == "GET":
            return 200, {"value": self._inside(group[0]) + self.listed_late}, {}
        if key.endswith(("/federatedidentitycredentials", *registering.LISTED)) and method == "GET":
            inside = [each for at, each in self.things.items() if at.startswith(f"{key}/")]
            return 200, {"value": inside}, {}
        if key.endswith(_TAGS):
            return self._tags(key.removesuffix(_TAGS), body)
        if method == "PUT":
            return self._put(path, query["api-version"], body)
        if method == "PATCH" and key in self.things and gateways.changed(self.things[key], body):
            return 202, None, self._begin(None)
        if method == "PATCH" and key in self.things:
            if wrong := registering.changed(self.things[key], query["api-version"], body):
                raise Refusal(*wrong)
            return 202, None, self._begin(None)
        action = key.rpartition("/")[2]
        if method == "POST":
            return self._act(key.rpartition("/")[0], action)
        if key not in self.things:
            if method == "DELETE":
                return 204, None, {}
            raise Refusal(404, "ResourceNotFound", f"The Resource {path} was not found.")
        if method == "GET":
            return 200, self._shown(key, query), {}
        return self._delete(key)

    def _shown(self, key: str, query: dict[str, str]) -> dict[str, Any]:
        thing = json.loads(json.dumps(self.things[key]))
        workbooks.shown(thing, query)
        state = thing["properties"].pop("power", None)
        if state and query.get("$expand") == "instanceView":
            thing["properties"]["instanceView"] = {"statuses": [{"code": f"PowerState/{state}"}]}
        machine = thing["properties"].get("virtualMachineProfile", thing["properties"])
        machine.get("osProfile", {}).pop("customData", None)
        return thing

    def _inside(self, group: str) -> list[dict[str, Any]]:
        return [
            {name: thing.get(name) for name in ("id", "name", "type", "location", "tags")}
            for key, thing in self.things.items()
            if key.startswith(f"{group}/") and not key.rpartition("/")[0].endswith(_UNLISTED)
        ]  # fmt: skip

    def _tags(self, key: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if key not in self.things:
            raise Refusal(404, "ResourceNotFound", f"The Resource {key} was not found.")
        tags, change = self.things[key].setdefault("tags", {}), body["properties"]["tags"]
        for name, value in change.items():
            if len(value) > 256 or re.search(r"[<>%&\\?/]", name):
                raise Refusal(400, "InvalidTagNameCharacters", f"the tag {name} is not allowed")
        if body["operation"] == "Merge":
            tags.update(change)
        else:
            assert body["operation"] == "Delete"
            for name, value in change.items():
                if tags.get(name) == value:
                    del tags[name]
        return 200, {"properties": {"tags": tags}}, {}

    def _put(self, path: str, version: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        key, is_group = path.lower(), bool(_GROUP.fullmatch(path))
        kind = "Microsoft.Resources/resourceGroups" if is_group else _kind(path)
        if found := faults(kind, version, body):
            raise Refusal(400, *found)
        self._check_trust(path, kind, body)
        for room in (registering, gateways, workbooks, endpoints):
            if wrong := room.wrong(self.things, path, kind, body):
                raise Refusal(*wrong)
        for each in references(body):
            if not (self._is_there(each.lower()) or gateways.own(path, body, each)):
                raise Refusal(400, "InvalidResourceReference", f"Resource {each} was not found.")
        before = self.things.get(key)
        self._check_change(before, body)
        name = path.rpartition("/")[2]
        properties = {**body.get("properties", {}), "provisioningState": "Succeeded"}
        if kind == "Microsoft.Network/publicIPAddresses":
            properties["ipAddress"] = "203.0.113.10"
        if kind == "Microsoft.ManagedIdentity/userAssignedIdentities":
            known = before["properties"] if before else {}
            properties |= {
                word: known.get(word) or str(uuid.uuid4())
                for word in ("clientId", "principalId", "tenantId")
            }
        if kind == "Microsoft.Compute/virtualMachines":
            properties["power"] = before["properties"]["power"] if before else "running"
        properties = registering.shown(path, kind, properties, self.url)
        gateways.shown(kind, properties)
        made = {**body, "id": path, "name": name, "type": kind, "properties": properties}
        self.things[key] = json.loads(json.dumps(made))
        if kind == "Microsoft.Compute/virtualMachines":
            self._make_disk(path, body)
        status = 200 if before or kind.endswith("/metricAlerts") else 201
        slow = kind.lower().startswith(_SLOW) and not is_group
        return status, self._shown(key, {}), self._begin(None) if slow else {}

    def _check_trust(self, path: str, kind: str, body: Any) -> None:
        """What pipelines are trusted by: inside an identity, and rights of one."""
        if kind.endswith("/federatedIdentityCredentials"):
            if path.lower().rsplit("/", 2)[0] not in self.things:
                raise Refusal(404, "ParentResourceNotFound", "The identity was not found.")
            told = body["properties"]
            if not told["issuer"].startswith("https://") or len(told["audiences"]) != 1:
                raise Refusal(400, "BadRequest", "an issuer and one audience are required")
        if kind == "Microsoft.Authorization/roleAssignments":
            told = body["properties"]
            known = [each["properties"].get("principalId") for each in self.things.values()]
            person = told["principalId"] == registering.OWNER and told["principalType"] == "User"
            machine = told["principalId"] in known and told["principalType"] == "ServicePrincipal"
            if not (person or machine):
                raise Refusal(400, "PrincipalNotFound", f"Principal {told['principalId']}")
            uuid.UUID(path.rpartition("/")[2])
            if not re.fullmatch(_ROLE, told["roleDefinitionId"]):
                raise Refusal(400, "RoleDefinitionDoesNotExist", told["roleDefinitionId"])

    def _check_change(self, before: dict[str, Any] | None, body: Any) -> None:
        if before is None:
            return
        same = body.get("properties", {}).items() <= before["properties"].items()
        if before["type"] == "Microsoft.Authorization/roleAssignments" and not same:
            raise Refusal(409, "RoleAssignmentUpdateNotPermitted", "It is not permitted to update.")
        if before.get("location", "").lower() != body.get("location", "").lower():
            raise Refusal(409, "InvalidResourceLocation", "The resource is in another location.")
        old, new = (each.get("properties", {}).get("osProfile") for each in (before, body))
        if old != new:
            raise Refusal(409, "PropertyChangeNotAllowed", "Changing osProfile is not allowed.")

    def _make_disk(self, path: str, body: Any) -> None:
        disk = body["properties"]["storageProfile"]["osDisk"]["name"]
        place = f"{path.rpartition('/virtualMachines/')[0]}/disks/{disk}"
        self.things[place.lower()] = {
            "id": place, "name": disk, "type": "Microsoft.Compute/disks", "properties": {},
            "location": body["location"], "managedBy": path,
        }  # fmt: skip

    def _act(self, key: str, action: str) -> tuple[int, Any, dict[str, str]]:
        if action == "backendhealth" and key in self.things:
            return 200, gateways.health(self.things, key, self.healthy), {}
        if key not in self.things and not gateways.is_machine(self.things, key):
            raise Refusal(404, "ResourceNotFound", f"The Resource {key} was not found.")
        if action == "retrievebootdiagnosticsdata":
            return 200, {"serialConsoleLogBlobUri": f"{self.url}/console?sig=secret"}, {}
        assert action == "start", action
        database = self.things[key]["type"].lower() == registering.SERVERS
        told = {"state": "Ready"} if database else {"power": "running"}
        self.things[key]["properties"] |= told
        return 202, None, self._begin(None)

    def _delete(self, key: str) -> tuple[int, Any, dict[str, str]]:
        for other, thing in self.things.items():
            users = [each.lower() for each in references(thing)]
            if (
                other != key
                and not _GROUP.fullmatch(key)
                and any(each == key or each.startswith(f"{key}/") for each in users)
            ):
                raise Refusal(409, "InUse", f"Resource {key} is in use by {other}.")
        if endpoints.nested(self.things, key):
            raise Refusal(409, "CannotDeleteResource", "nested resources exist")
        kind = self.things[key]["type"].lower()
        if not kind.startswith(_SLOW):
            for each in [at for at in self.things if at == key or at.startswith(f"{key}/")]:
                del self.things[each]
            return 200, None, {}
        if kind == "microsoft.compute/virtualmachines":
            own = [
                name
                for name, each in self.things.items()
                if each.get("managedBy", "").lower() == key
            ]
            for each in own:
                del self.things[each]
        return 202, None, self._begin(key)

    def _is_there(self, key: str) -> bool:
        if key in self.things or gateways.inside(self.things, key):
            return True
        parent, _, child = key.rpartition("/subnets/")
        inside = self.things.get(parent, {}).get("properties", {}).get("subnets", ())
        return any(each["name"].lower() == child for each in inside)

    def _begin(self, gone: str | None) -> dict[str, str]:
        path = f"/operations/{uuid.uuid4()}"
        self.operations[path] = 1, gone
        where = f"{self.url}{path}?api-version=1"
        return {"Azure-AsyncOperation": where, "Location": where, "Retry-After": "0"}


def _kind(path: str) -> str:
    provider, *rest = path.rpartition("/providers/")[2].split("/")
    return "/".join([provider, *rest[0::2]])


def _denied(method: str, path: str) -> str:
    verb = {"GET": "read", "DELETE": "delete", "POST": "action"}.get(method, "write")
    kind = "Microsoft.Resources/resourceGroups" if _GROUP.fullmatch(path) else _kind(path)
    return (f"The client 'c' with object id 'o' does not have authorization to perform action "
            f"'{kind}/{verb}' over scope '{path}' or the scope is invalid.")  # fmt: skip


@contextlib.contextmanager
def arm_server(folder: Path) -> Iterator[Arm]:
    """The server, while the block runs."""
    server = Arm(folder)
    try:
        yield server
    finally:
        server.door.shutdown()
        server.door.server_close()
