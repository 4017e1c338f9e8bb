"""Google Cloud as strict as its descriptions: what a request must be, and what it meets.

There is no emulator of Compute Engine. Requests are checked by the descriptions that Google's own
client ships (`bodies.py`); the rest is how its documentation says that it behaves: operations,
references, names that are taken, what is in use, fingerprints. It shows that requests are well
formed and in order, not that Google accepts them.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests.deploy.gcp.bodies import Method, faults, find
from tests.deploy.gcp.grouping import Grouping
from tests.deploy.gcp.registering import Registering
from tests.deploy.gcp.storing import Refusal, Storing
from tests.deploy.gcp.trusting import Trusting

Fault = Literal["cut before", "cut after", "fault", "throttled", "denied", "quota", "disabled"]
PROJECT = "proj-1"
_REFERENCE = re.compile(
    r"(?:^|/)(projects/[^/]+/(?:global|zones/[^/]+|regions/[^/]+)/"
    r"(?:networks|subnetworks|healthChecks|backendServices|urlMaps|targetHttpProxies"
    r"|targetHttpsProxies|instanceTemplates|instanceGroupManagers|instanceGroups"
    r"|sslCertificates|addresses)/[^/]+)$"
)
_ERRORS = {
    "fault": (503, "backendError", "Internal error. Please try again."),
    "throttled": (429, "rateLimitExceeded", "Quota exceeded per minute."),
    "denied": (403, "forbidden", "Required 'compute.{collection}.{verb}' permission for "
               "'projects/proj-1'"),
    "quota": (403, "quotaExceeded", "Quota 'CPUS' exceeded. Limit: 8.0 in region europe-west1."),
    "disabled": (403, "accessNotConfigured", "Compute Engine API has not been used: enable "
                 "https://console.developers.google.com/apis/api/compute.googleapis.com/"),
}  # fmt: skip


class Quiet(ThreadingHTTPServer):
    """Says nothing of connections that a client ends."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """See `socketserver.BaseServer`."""


class Google:
    """The server.

    Attributes:
        url: Where it is.
        things: Path from `projects/` on -> what is there.
        calls: Methods that changed something, in order.
        fail: Called with a method, its path and body; says what is to go wrong.
        host_keys: What every machine's agent has said.
    """

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.refused: list[str] = []
        self.host_keys: dict[str, str] = {}
        self.fail: Callable[[str, str, Any], Fault | None] = lambda method, path, body: None
        self.guard = threading.Lock()
        self.storing, self.grouping = Storing(self.things), Grouping(self.things)
        self.registering = Registering(self.things)
        self.trusting = Trusting(self.things, PROJECT)
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

        self.door = Quiet(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.door.server_port}"
        threading.Thread(target=self.door.serve_forever, daemon=True).start()

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Answer one request, as `fail` says."""
        url = urllib.parse.urlsplit(asked.path)
        path = url.path if url.path.startswith("/storage/") else urllib.parse.unquote(url.path)
        path = f"/compute/v1{path}" if path.startswith("/projects/") else path
        content = asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        if "/upload/" in path:
            self._upload(asked, url, content)
            return
        body, method = json.loads(content) if content else None, find(asked.command, path)
        name = method.about["id"].removeprefix("compute.") if method else ""
        fault = self.fail(name, path, body)
        if fault == "cut before":
            asked.connection.shutdown(2)
            return
        try:
            if method is None:
                raise Refusal(404, "notFound", f"{asked.command} {path}: no documented method")
            if fault in _ERRORS:
                raise Refusal(*_ERRORS[fault])
            with self.guard:
                status, answer = 200, self._carry_out(method, path, url.query, body)
        except Refusal as refusal:
            status, reason, message = refusal.args
            collection, _, verb = name.rpartition(".")
            message = message.format(collection=collection, verb=verb) if fault else message
            if status != 404 and not fault:
                self.refused.append(f"{reason}: {message}")
            told = {"code": status, "message": message, "errors": [{"reason": reason}]}
            answer = {"error": told}
        if fault == "cut after":
            asked.connection.shutdown(2)
            return
        send(asked, status, answer)

    def _upload(self, asked: Any, url: urllib.parse.SplitResult, content: bytes) -> None:
        """Objects come in parts; a part that is cut off comes again."""
        fault = self.fail("storage.objects.insert", url.path, None)
        if fault in ("cut before", "cut after"):
            asked.connection.shutdown(2)
        elif fault in _ERRORS:
            status, reason, message = _ERRORS[fault]
            told = {"code": status, "message": message, "errors": [{"reason": reason}]}
            send(asked, status, {"error": told})
        else:
            with self.guard:
                self.storing.upload(asked, url, content)

    def _carry_out(self, method: Method, path: str, query: str, body: Any) -> dict[str, Any]:
        if wrong := faults(method, urllib.parse.parse_qs(query), body):
            raise Refusal(400, "invalid", "; ".join(wrong))
        name, verb = method.about["id"], method.about["id"].rpartition(".")[2]
        if method.about["httpMethod"] != "GET":
            self.calls.append(name)
        if method.api == "monitoring.v3":
            return self._monitoring(verb, path.removeprefix("/v3/"), body)
        if method.api == "monitoring.v1":
            return self._dashboards(verb, path.removeprefix("/v1/"), body)
        if method.api == "sqladmin.v1":
            asked = urllib.parse.parse_qs(query)
            return self.registering.database(name, method.named, asked, body)
        if method.api == "secretmanager.v1":
            asked = urllib.parse.parse_qs(query)
            return self.registering.secret(verb, path.removeprefix("/v1/"), asked, body)
        if method.api == "iam.v1":
            return self._signing_in(verb, path.removeprefix("/v1/"), query, body)
        if method.api == "storage.v1":
            named = {key: urllib.parse.unquote(each) for key, each in method.named.items()}
            return self.storing.storage(name, named, body)
        place = path.removeprefix("/compute/v1/")
        if "perations." in name:
            return self._operation(place.removesuffix("/wait").rpartition("/")[2])
        if verb == "insert":
            return self._insert(place, body)
        if verb in ("list", "aggregatedList"):
            return self._listed(place, verb)
        if verb in ("get", "delete", "update"):
            self._thing(place)
        if verb == "get":
            return self.things[place]
        if verb == "delete":
            return self._delete(place)
        if verb == "update":
            self.things[place].update(body)
            return self._begin(place, verb)
        asked = urllib.parse.parse_qs(query)
        if verb == "patch":
            place = "/".join([place, *asked.get("autoscaler", ())])
            self.grouping.patch(place, self._thing(place), self._whole(body))
            return self._begin(place, verb)
        return self._act(place.rpartition("/")[0], verb, body, asked)

    def _signing_in(self, verb: str, place: str, query: str, body: Any) -> dict[str, Any]:
        if "/workloadIdentityPools" in place:
            return self.trusting.answer(verb, place, urllib.parse.parse_qs(query), body)
        if verb.endswith("IamPolicy"):
            return self.trusting.policy(self._thing(place.partition(":")[0]), verb, body)
        told = self.storing.account(verb, place, body)
        return {key: value for key, value in told.items() if key != "policy"}

    def _thing(self, place: str) -> dict[str, Any]:
        if place not in self.things:
            raise Refusal(404, "notFound", f"The resource '{place}' was not found")
        return self.things[place]

    def _insert(self, place: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"{place}/{body['name']}"
        if path in self.things:
            raise Refusal(409, "alreadyExists", f"The resource '{path}' already exists")
        for each in references(body):
            self._thing(each)
        made = json.loads(json.dumps(body))
        number = str(uuid.uuid4().int % 10**18)
        made |= {"id": number, "selfLink": f"https://www.googleapis.com/compute/v1/{path}"}
        if scope := re.search(r"(zone|region)s/[^/]+", place):
            made[scope[1]] = place.rpartition("/")[0]
        if "/addresses" in place:
            made |= {"address": f"203.0.113.{10 + len(self.things)}", "status": "RESERVED"}
            made.setdefault("addressType", "EXTERNAL")
        if place.endswith("/instances"):
            self._start_machine(made)
        self.things[path] = made = self._whole(made)
        self.grouping.made(path, made)
        return self._begin(path, "insert")

    def _whole(self, value: Any) -> Any:
        """References as whole addresses, as Google gives them back."""
        if isinstance(value, dict):
            return {key: self._whole(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._whole(each) for each in value]
        if isinstance(value, str) and re.match(r"projects/[^/ ]+/(global|zones|regions)/", value):
            return f"https://www.googleapis.com/compute/v1/{value}"
        return value

    def _start_machine(self, made: dict[str, Any]) -> None:
        taken = [
            each["natIP"] for other in self.things.values() for one in other.get(
                "networkInterfaces", ()) for each in one.get("accessConfigs", ())
        ]  # fmt: skip
        for number, interface in enumerate(made["networkInterfaces"]):
            interface |= {"name": f"nic{number}", "networkIP": "10.83.0.2"}
            for each in interface.get("accessConfigs", ()):
                reserved = [one.get("address") for one in self.things.values()]
                if each["natIP"] not in reserved or each["natIP"] in taken:
                    raise Refusal(400, "invalid", f"External IP {each['natIP']} cannot be used")
        made["disks"] = [{"boot": True, "autoDelete": True, "deviceName": "disk"}]
        made["metadata"] = {**made["metadata"], "fingerprint": "bTA="}
        made["tags"] = {**made["tags"], "fingerprint": "dDA="}
        made["status"] = "RUNNING"

    def _listed(self, place: str, verb: str) -> dict[str, Any]:
        collection = place.rpartition("/")[2]
        found = [
            (path.rpartition(f"/{collection}/")[0], each) for path, each in self.things.items()
            if f"/{collection}/" in path and path.count("/") > 3  # databases are of no zone
        ]  # fmt: skip
        if verb == "list":
            return {"items": [each for owner, each in found if place.startswith(f"{owner}/")]}
        scopes: dict[str, Any] = {"zones/empty": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        for owner, each in found:
            scope = owner.split("/", 2)[2]
            scopes.setdefault(scope, {}).setdefault(collection, []).append(each)
        return {"items": scopes}

    def _delete(self, place: str) -> dict[str, Any]:
        for other, each in self.things.items():
            address = self.things[place].get("address")
            given = [each.get(key, "") for key in ("networkInterfaces", "IPAddress")]
            used = address and f'"{address}"' in json.dumps(given)
            if other != place and (place in references(each) or used):
                said = f"The resource '{place}' is already being used by '{other}'"
                raise Refusal(400, "resourceInUseByAnotherResource", said)
        self.grouping.gone(place)
        del self.things[place]
        return self._begin(place, "delete")

    def _act(self, place: str, verb: str, body: Any, query: dict[str, list[str]]) -> dict[str, Any]:
        if verb == "getSerialPortOutput":
            at = int(query.get("start", ["0"])[0])
            text = self.grouping.consoles
            return {"contents": text[at:], "next": str(len(text))}
        machine = self._thing(place)
        if verb in ("resize", "listManagedInstances", "getHealth"):
            said: dict[str, Any] | None = self.grouping.act(place, verb, body, query)
            return said if said is not None else self._begin(place, verb)
        if verb == "getGuestAttributes":
            if not self.host_keys:
                raise Refusal(404, "notFound", "The resource 'hostkeys/' was not found")
            items = [{"key": key, "value": value} for key, value in self.host_keys.items()]
            return {"queryPath": "hostkeys/", "queryValue": {"items": items}}
        if verb in ("setMetadata", "setTags"):
            key = "metadata" if verb == "setMetadata" else "tags"
            if body.get("fingerprint") != machine[key]["fingerprint"]:
                raise Refusal(412, "conditionNotMet", "Supplied fingerprint does not match.")
            machine[key] = {**body, "fingerprint": f"{uuid.uuid4().hex}"}
        elif verb in ("start", "stop"):
            machine["status"] = "RUNNING" if verb == "start" else "TERMINATED"
        elif verb == "setMachineType":
            if machine["status"] != "TERMINATED":
                raise Refusal(400, "resourceNotReady", "The instance must be stopped.")
            machine["machineType"] = self._whole(body["machineType"])
        elif verb == "deleteAccessConfig":
            machine["networkInterfaces"][0].pop("accessConfigs")
        else:
            assert verb == "addAccessConfig", verb
            machine["networkInterfaces"][0]["accessConfigs"] = [body]
        return self._begin(place, verb)

    def _begin(self, place: str, verb: str) -> dict[str, Any]:
        name, owner = f"operation-{uuid.uuid4().hex[:12]}", place.rsplit("/", 2)[0]
        link = f"https://www.googleapis.com/compute/v1/{owner}/operations/{name}"
        made = {"name": name, "operationType": verb, "status": "RUNNING", "selfLink": link,
                "targetLink": f"https://www.googleapis.com/compute/v1/{place}"}  # fmt: skip
        if scope := re.search(r"(zone|region)s/[^/]+", owner):
            made[scope[1]] = f"https://www.googleapis.com/compute/v1/{owner}"
        self.operations[name] = made
        return dict(made)

    def _operation(self, name: str) -> dict[str, Any]:
        self.operations[name]["status"] = "DONE"
        return self.operations[name]

    def _dashboards(self, verb: str, place: str, body: Any) -> dict[str, Any]:
        if verb == "patch" and body.get("etag") != self._thing(place)["etag"]:
            raise Refusal(409, "ABORTED", "The etag is not that of the dashboard.")
        if verb in ("create", "patch"):
            for tile in body["mosaicLayout"]["tiles"]:
                for key in ("xPos", "yPos"):
                    if not tile.get(key, 1):
                        del tile[key]  # noughts are not given back
            body = {**body, "etag": uuid.uuid4().hex}
        made = self._monitoring(verb, place, body)
        made.pop("enabled", None)
        return made

    def _monitoring(self, verb: str, place: str, body: Any) -> dict[str, Any]:
        if verb == "create":
            for each in body.get("notificationChannels", ()):
                self._thing(each)
            made = {"enabled": True, **body, "name": f"{place}/{uuid.uuid4().int % 10**18}"}
            self.things[made["name"]] = made
            return made
        if verb == "list":
            collection = place.rpartition("/")[2]
            return {collection: [t for path, t in self.things.items() if path.startswith(place)]}
        found = self._thing(place)
        if verb == "delete":
            if any(place in each.get("notificationChannels", ()) for each in self.things.values()):
                raise Refusal(400, "failedPrecondition", f"{place} is used by a policy")
            del self.things[place]
            return {}
        if verb == "patch":
            found.update(body)
        return found


def send(asked: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
    """Answer with JSON."""
    data = json.dumps(answer).encode()
    asked.send_response(status)
    asked.send_header("Content-Type", "application/json; charset=UTF-8")
    asked.send_header("Content-Length", str(len(data)))
    asked.end_headers()
    asked.wfile.write(data)


def references(body: Any) -> list[str]:
    """Networks and subnets that a body names."""
    if isinstance(body, dict):
        return [e for key, v in body.items() if key != "selfLink" for e in references(v)]
    if isinstance(body, list):
        return [each for one in body for each in references(one)]
    found = _REFERENCE.search(body) if isinstance(body, str) else None
    return [found[1]] if found else []


@contextlib.contextmanager
def google_server() -> Iterator[Google]:
    """The server, while the block runs."""
    server = Google()
    try:
        yield server
    finally:
        server.door.shutdown()
        server.door.server_close()
