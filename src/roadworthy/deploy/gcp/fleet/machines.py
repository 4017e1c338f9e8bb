"""The machines of a fleet's release: how many run, and what their consoles show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from roadworthy.deploy.gcp.fleet.releases import name_of, scaling
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.project import GcpSection, Instances


class Machines:
    """The groups of a fleet.

    Args:
        provider: The cloud.
        section: `[deploy.NAME]`.
    """

    def __init__(self, provider: GcpProvider, section: GcpSection) -> None:
        self.account = provider.account
        self.naming = provider.naming
        self._named: dict[str, Any] = {"project": provider.naming.project, "region": section.region}

    def run(self, release: str, size: Instances) -> None:
        """Start the machines of a release that rests."""
        self._resize(release, size.min)
        self._scale(release, size, on=True)

    def rest(self, release: str) -> None:
        """End the machines of a release; what makes new ones stays."""
        self._scale(release, Instances(), on=False)
        self._resize(release, 0)

    def _resize(self, release: str, size: int) -> None:
        name = name_of(self.naming, release)
        self.account.change(
            "regionInstanceGroupManagers", "resize", **self._named, instanceGroupManager=name,
            size=size,
        )  # fmt: skip

    def _scale(self, release: str, size: Instances, *, on: bool) -> None:
        name = name_of(self.naming, release)
        found = self.account.get("regionAutoscalers", **self._named, autoscaler=name)
        if found is None:
            return
        policy = scaling(size, on=True) if on else {**found["autoscalingPolicy"], "mode": "OFF"}
        body = {"name": name, "target": found["target"], "autoscalingPolicy": policy}
        self.account.change("regionAutoscalers", "patch", **self._named, autoscaler=name, body=body)

    def _running(self, release: str) -> list[tuple[str, str]]:
        """Zone and name of each machine."""
        name = name_of(self.naming, release)
        if self.account.get(
            "regionInstanceGroupManagers", **self._named, instanceGroupManager=name
        ) is None:  # fmt: skip
            return []
        pages = self.account.listed(
            "regionInstanceGroupManagers", "listManagedInstances", **self._named,
            instanceGroupManager=name,
        )  # fmt: skip
        words = [
            each["instance"].split("/")
            for page in pages
            for each in page.get("managedInstances") or ()
            if each.get("instance")
        ]
        return [(each[-3], each[-1]) for each in words]

    def consoles(self, release: str, most: int) -> dict[str, str]:
        """Machine -> what its console shows."""
        return {
            machine: self._console(zone, machine, 0)[0]
            for zone, machine in self._running(release)[:most]
        }

    def _console(self, zone: str, machine: str, start: int) -> tuple[str, int]:
        asked = {"project": self.naming.project, "zone": zone, "instance": machine}
        answer: dict[str, Any] = self.account.get(
            "instances", "getSerialPortOutput", **asked, port=1, start=str(start)
        ) or {}  # fmt: skip
        return str(answer.get("contents", "")), int(answer.get("next", start))

    def logs(self, release: str, lines: int, *, follow: bool, pause: float) -> Iterator[str]:
        """The last lines of the consoles, and with `follow` those to come."""
        places: dict[str, int] = {}
        while True:
            for zone, machine in self._running(release):
                text, places[machine] = self._console(zone, machine, places.get(machine, 0))
                shown = text.splitlines()
                for line in shown[-lines:]:
                    yield f"{machine} {line}"
            if not follow:
                return
            time.sleep(pause)
