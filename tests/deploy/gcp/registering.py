"""Cloud SQL and Secret Manager of the strict server."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

from tests.deploy.gcp.storing import Refusal


class Registering:
    """What a registry is made of, besides buckets.

    Attributes:
        things: Path -> what is there; shared with the server.
        passwords: Of databases, by name: what they were made with.
        values: Path of a secret -> its versions.
        backups: Names of databases whose last backup was kept, and for how many days.
        used: Names of databases that were removed, which are kept for a week.
    """

    def __init__(self, things: dict[str, dict[str, Any]]) -> None:
        self.things = things
        self.passwords: dict[str, str] = {}
        self.values: dict[str, list[str]] = {}
        self.backups: dict[str, int] = {}
        self.used: set[str] = set()
        self.operations: dict[str, dict[str, Any]] = {}

    def database(
        self, name: str, named: dict[str, str], query: dict[str, list[str]], body: Any
    ) -> dict[str, Any]:
        """Answer Cloud SQL."""
        _, owner, verb = name.split(".")
        if owner == "operations":
            self.operations[named["operation"]]["status"] = "DONE"
            return self.operations[named["operation"]]
        parent = f"projects/{named['project']}/instances"
        if verb == "list":
            return {"items": [t for at, t in self.things.items() if at.startswith(f"{parent}/")]}
        if verb == "insert":
            return self._make(parent, named["project"], body)
        path = f"{parent}/{named['instance']}"
        if path not in self.things:  # Google says so even of what nobody may see
            raise Refusal(404, "instanceDoesNotExist", "The Cloud SQL instance does not exist.")
        if verb == "get":
            return self.things[path]
        if verb == "delete":
            if query.get("enableFinalBackup") == ["true"]:
                self.backups[named["instance"]] = int(query["finalBackupTtlDays"][0])
            self.used.add(named["instance"])
            del self.things[path]
            return self._begin("DELETE", named["instance"])
        assert verb == "patch", verb
        return self._patch(self.things[path], body)

    def _make(self, parent: str, project: str, body: dict[str, Any]) -> dict[str, Any]:
        path, settings = f"{parent}/{body['name']}", body["settings"]
        if path in self.things or body["name"] in self.used:
            said = "The Cloud SQL instance already exists, or its name was used within a week."
            raise Refusal(409, "instanceAlreadyExists", said)
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,96}", body["name"]):
            raise Refusal(400, "invalidInstanceName", "The name is invalid.")
        if len(body.get("rootPassword", "")) < 8:
            raise Refusal(400, "invalid", "rootPassword: a password is required")
        for key, value in settings["userLabels"].items():
            if not re.fullmatch(r"[a-z0-9_-]{1,63}", key) or value != value.lower():
                raise Refusal(400, "invalid", f"the label {key} is not allowed")
        self.passwords[body["name"]] = body["rootPassword"]
        made = json.loads(json.dumps(body))
        del made["rootPassword"]
        made["settings"]["settingsVersion"] = "1"
        reached = settings["ipConfiguration"]
        secluded = reached.get("pscConfig", {}).get("pscEnabled", False)
        if secluded == reached["ipv4Enabled"]:
            raise Refusal(400, "invalid", "either a public address or Private Service Connect")
        address = [{"type": "PRIMARY", "ipAddress": "203.0.113.99"}]
        if secluded:
            made["pscServiceAttachmentLink"] = (
                f"projects/of-google/regions/{body['region']}/serviceAttachments/{body['name']}"
            )
            address = []
        self.things[path] = {
            **made,
            "project": project,
            "state": "RUNNABLE",
            "ipAddresses": address,
        }
        return self._begin("CREATE", body["name"])

    def _patch(self, there: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        for key in ("region", "databaseVersion"):
            if body.get(key, there[key]) != there[key]:
                raise Refusal(400, "invalid", f"{key} cannot be changed")
        settings = body["settings"]
        old, new = (each["ipConfiguration"].get("pscConfig") for each in (there["settings"],
                                                                         settings))  # fmt: skip
        if bool(old) != bool(new):
            raise Refusal(400, "invalid", "Private Service Connect is for new instances")
        if settings.get("settingsVersion") != there["settings"]["settingsVersion"]:
            raise Refusal(412, "staleData", "The settingsVersion does not match.")
        number = str(int(settings["settingsVersion"]) + 1)
        there["settings"] |= settings | {"settingsVersion": number}
        return self._begin("UPDATE", there["name"])

    def _begin(self, kind: str, target: str) -> dict[str, Any]:
        name = str(uuid.uuid4())
        self.operations[name] = {
            "kind": "sql#operation", "name": name, "operationType": kind, "status": "RUNNING",
            "targetId": target, "selfLink": f"https://sqladmin.googleapis.com/v1/operations/{name}",
        }  # fmt: skip
        return dict(self.operations[name])

    def secret(
        self, verb: str, place: str, query: dict[str, list[str]], body: Any
    ) -> dict[str, Any]:
        """Answer Secret Manager, whose names hold the number of the project."""
        place = place.removesuffix(":addVersion").removesuffix(":access")
        if "/versions/" in place:
            return self._version(verb, *place.split("/versions/"))
        if verb == "list":
            return {"secrets": [t for at, t in self.things.items() if at.startswith(f"{place}/")]}
        if verb == "create":
            path = f"{place}/{query['secretId'][0]}"
            if path in self.things:
                raise Refusal(409, "ALREADY_EXISTS", f"Secret [{path}] already exists.")
            if len(body["replication"]) != 1:
                raise Refusal(400, "INVALID_ARGUMENT", "replication: exactly one is required")
            self.values[path] = []
            self.things[path] = {**body, "name": _numbered(path)}
            return self.things[path]
        path = _named(place)
        if path not in self.things:
            raise Refusal(404, "NOT_FOUND", f"Secret [{path}] not found.")
        if verb == "delete":
            del self.things[path], self.values[path]
            return {}
        if verb == "addVersion":
            self.values[path].append(base64.b64decode(body["payload"]["data"]).decode())
            return {"name": f"{_numbered(path)}/versions/{len(self.values[path])}"}
        return self.things[path]

    def _version(self, verb: str, owner: str, number: str) -> dict[str, Any]:
        versions = self.values.get(_named(owner), [])
        if number != "latest" or not versions:
            raise Refusal(404, "NOT_FOUND", f"Secret Version [{owner}/{number}] not found.")
        name = f"{_numbered(_named(owner))}/versions/{len(versions)}"
        if verb == "access":
            data = base64.b64encode(versions[-1].encode()).decode()
            return {"name": name, "payload": {"data": data}}
        return {"name": name, "state": "ENABLED"}


def _numbered(path: str) -> str:
    return path.replace("projects/proj-1/", "projects/123456789/")


def _named(path: str) -> str:
    return path.replace("projects/123456789/", "projects/proj-1/")
