"""Groups of machines and balancers of the strict server."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from tests.deploy.gcp.storing import Refusal

BASE = "https://www.googleapis.com/compute/v1/"
_GUARDED = ("/backendServices/", "/urlMaps/")


def whole(path: str) -> str:
    """A path as Google gives it back."""
    return f"{BASE}{path}"


class Grouping:
    """What groups, autoscalers and balancers do.

    Attributes:
        things: Path -> what is there; shared with the server.
        healthy: Says of a group by its name whether its machines answer.
        consoles: What the console of every machine shows.
    """

    def __init__(self, things: dict[str, dict[str, Any]]) -> None:
        self.things = things
        self.healthy: Callable[[str], bool] = lambda name: True
        self.consoles = ""

    def made(self, path: str, made: dict[str, Any]) -> None:
        """What else comes with a new thing."""
        if any(word in path for word in _GUARDED):
            made["fingerprint"] = uuid.uuid4().hex
        if "/forwardingRules/" in path:
            address = made["IPAddress"].removeprefix(BASE)
            made["IPAddress"] = self.things[address]["address"]
        if "/instanceGroupManagers/" in path:
            group = path.replace("/instanceGroupManagers/", "/instanceGroups/")
            self.things[group] = {"name": made["name"], "selfLink": whole(group)}
            made["instanceGroup"] = whole(group)
        if "/autoscalers/" in path:
            self._scale(made)

    def gone(self, path: str) -> None:
        """What goes with a thing."""
        if "/instanceGroupManagers/" not in path:
            return
        group = path.replace("/instanceGroupManagers/", "/instanceGroups/")
        for other, each in self.things.items():
            if any(one["group"].endswith(group) for one in each.get("backends") or ()):
                raise Refusal(
                    400, "resourceInUseByAnotherResource", f"'{group}' is used by '{other}'"
                )
        del self.things[group]

    def patch(self, path: str, thing: dict[str, Any], body: dict[str, Any]) -> None:
        """Change a thing; who changes what others may change says which state is known."""
        if any(word in path for word in _GUARDED):
            if body.get("fingerprint") != thing["fingerprint"]:
                raise Refusal(412, "conditionNotMet", "Supplied fingerprint does not match.")
            body = {**body, "fingerprint": uuid.uuid4().hex}
        for rule in body.get("hostRules") or ():
            if rule["pathMatcher"] not in [each["name"] for each in body["pathMatchers"]]:
                raise Refusal(400, "invalid", f"no path matcher {rule['pathMatcher']}")
        thing.update(body)
        if "/autoscalers/" in path:
            self._scale(thing)

    def _scale(self, autoscaler: dict[str, Any]) -> None:
        policy = autoscaler["autoscalingPolicy"]
        group = self.things[autoscaler["target"].removeprefix(BASE)]
        if policy.get("mode", "ON") == "ON":
            low, high = policy["minNumReplicas"], policy["maxNumReplicas"]
            group["targetSize"] = min(high, max(low, group["targetSize"]))

    def act(self, path: str, verb: str, body: Any, query: dict[str, list[str]]) -> Any:
        """Answer a question; None: a change was made."""
        thing = self.things[path]
        if verb == "resize":
            name, size = thing["name"], int(query["size"][0])
            for each in self.things.values():
                policy = each.get("autoscalingPolicy", {})
                if each.get("name") == name and policy.get("mode") == "ON" and size < 1:
                    raise Refusal(400, "invalid", "The group is scaled by an autoscaler.")
            thing["targetSize"] = size
            return None
        if verb == "listManagedInstances":
            zone = path.replace("/regions/", "/zones/").partition("/instanceGroupManagers/")[0]
            machines = [f"{zone}-b/instances/{thing['name']}-{n}" for n in range(2)]
            return {"managedInstances": [{"instance": whole(each)} for each in machines]}
        assert verb == "getHealth", verb
        group = body["group"].rpartition("/projects/")[2]
        listed = [each["group"] for each in thing.get("backends") or ()]
        if not any(each.endswith(group) for each in listed):
            raise Refusal(400, "invalid", f"{group} is no backend of the service")
        manager = self.things[
            "projects/" + group.removeprefix("projects/").replace(
                "/instanceGroups/", "/instanceGroupManagers/"
            )
        ]  # fmt: skip
        named = [str(each) for at, each in self.things.items() if "/urlMaps/" in at]
        if not any(f"/backendServices/{thing['name']}'" in each for each in named):
            return {}  # nobody looks at what no map leads to
        state = "HEALTHY" if self.healthy(manager["name"]) else "UNHEALTHY"
        return {"healthStatus": [{"healthState": state}] * manager["targetSize"]}
