"""Pools of identities of the strict server: who else may sign in, and what was deleted."""

from __future__ import annotations

import uuid
from typing import Any

from tests.deploy.gcp.storing import Refusal

NUMBER = "4711"
"""The project's number, by which pools are called whatever was asked."""


class Trusting:
    """What IAM has besides accounts.

    Attributes:
        things: Path by the project's id -> what is there; shared with the server.
        deleted: What was deleted: it keeps its name for 30 days.
    """

    def __init__(self, things: dict[str, dict[str, Any]], project: str) -> None:
        self.things = things
        self.project = project
        self.deleted: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, int] = {}

    def answer(
        self, verb: str, place: str, query: dict[str, list[str]], body: Any
    ) -> dict[str, Any]:
        """Answer for pools and their providers; place begins with `projects/`."""
        place = place.partition(":")[0]
        if "/operations/" in place:
            self.operations[place] -= 1
            done = self.operations[place] < 0
            return {"name": place, "done": done} if done else {"name": place}
        if verb == "list":
            collection = place.rpartition("/")[2]
            word = collection if collection != "providers" else "workloadIdentityPoolProviders"
            found = [self._called(path) for path in self.things
                     if path.rpartition("/")[0] == place]  # fmt: skip
            return {word: found}
        if verb == "create":
            (name,) = query.get("workloadIdentityPoolId") or query["workloadIdentityPoolProviderId"]
            return self._create(f"{place}/{name}", body)
        if verb == "get" and place in self.deleted:
            return {**self._called(place, self.deleted), "state": "DELETED"}
        if verb == "undelete" and place in self.deleted:
            self.things[place] = self.deleted.pop(place)
            return self._begin(place)
        if place not in self.things:
            raise Refusal(404, "NOT_FOUND", f"Requested entity was not found: {place}")
        if verb == "get":
            return self._called(place)
        if verb == "patch":
            (mask,) = query["updateMask"]
            self.things[place].update({key: body[key] for key in mask.split(",")})
            return self._begin(place)
        assert verb == "delete", verb
        for each in [at for at in self.things if at == place or at.startswith(f"{place}/")]:
            self.deleted[each] = self.things.pop(each)
        return self._begin(place)

    def _create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path in self.things or path in self.deleted:
            raise Refusal(409, "ALREADY_EXISTS", f"Requested entity already exists: {path}")
        parent = path.rpartition("/providers/")[0]
        if parent and parent not in self.things:
            raise Refusal(404, "NOT_FOUND", f"Requested entity was not found: {parent}")
        if not 4 <= len(path.rpartition("/")[2]) <= 32 or len(body["displayName"]) > 32:
            raise Refusal(400, "INVALID_ARGUMENT", "names have 4 to 32 characters")
        if len(body["description"]) > 256:
            raise Refusal(400, "INVALID_ARGUMENT", "description: more than 256 characters")
        if parent and not body.get("attributeCondition"):
            raise Refusal(400, "INVALID_ARGUMENT", "attribute_condition must be provided")
        self.things[path] = dict(body)
        return self._begin(path)

    def _called(self, path: str, owner: dict[str, Any] | None = None) -> dict[str, Any]:
        name = path.replace(f"projects/{self.project}/", f"projects/{NUMBER}/", 1)
        return {**(self.things if owner is None else owner)[path], "name": name, "state": "ACTIVE"}

    def _begin(self, path: str) -> dict[str, Any]:
        name = f"{path}/operations/{uuid.uuid4().hex[:12]}"
        self.operations[name] = 1
        return {"name": name}

    def policy(self, account: dict[str, Any], verb: str, body: Any) -> dict[str, Any]:
        """Who may use an account."""
        there = account.setdefault("policy", {"etag": "CAE=", "bindings": []})
        if verb == "getIamPolicy":
            return dict(there)
        asked = body["policy"]
        if asked.get("etag") != there["etag"]:
            raise Refusal(409, "ABORTED", "The etag does not match.")
        for member in (each for binding in asked["bindings"] for each in binding["members"]):
            pool = member.removeprefix("principal://iam.googleapis.com/").partition("/subject/")[0]
            pool = pool.replace(f"projects/{NUMBER}/", f"projects/{self.project}/", 1)
            if pool not in self.things:
                raise Refusal(400, "INVALID_ARGUMENT", f"Identity Pool does not exist ({pool}).")
        account["policy"] = {**asked, "etag": uuid.uuid4().hex}
        return dict(account["policy"])
