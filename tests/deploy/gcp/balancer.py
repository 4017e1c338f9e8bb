"""What the strict server lacks: callers, sent where its balancer's documents say.

The machines of a group are one server of the very version that the group's release names.
"""

from __future__ import annotations

import fnmatch
import random

from tests.deploy.balancer import Balancer
from tests.deploy.gcp.google_server import PROJECT, Google

_GLOBAL = f"projects/{PROJECT}/global"


class GoogleBalancer(Balancer):
    """The callers' side of a deployment.

    Attributes:
        seen: Paths that were asked, with the group that answered.
    """

    def __init__(self, google: Google) -> None:
        super().__init__()
        self.google = google
        self.seen: list[tuple[str, str]] = []

    def _groups(self, path: str) -> list[str]:
        with self.google.guard:
            things = self.google.things
            if (where := things.get(f"{_GLOBAL}/urlMaps/roadworthy-prod")) is None:
                return []
            chosen = where["defaultService"]
            for matcher in where.get("pathMatchers") or ():
                for rule in matcher.get("pathRules") or ():
                    if any(fnmatch.fnmatch(path, each) for each in rule["paths"]):
                        chosen = rule["service"]
            name = chosen.rpartition("/")[2]
            service = things[f"{_GLOBAL}/backendServices/{name}"]
            groups = [each["group"].rpartition("/")[2] for each in service.get("backends") or ()]
        return [each for each in groups if self.google.grouping.healthy(each)]

    def release_for(self, path: str) -> str:
        """The release of one of the healthy groups that a path is sent to."""
        groups = self._groups(path)
        group = random.choice(groups) if groups else ""
        self.seen.append((path, group))
        return group.partition("-")[2].partition("-")[2]
