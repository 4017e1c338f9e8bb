"""The machines of a fleet's release: how many run, and what their consoles show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.fleet.releases import SCALING, scaling_of, set_of
from roadworthy.deploy.azure.resource import VERSIONS
from roadworthy.monitor.alarms.azure import SETS
from roadworthy.project import Instances

_SETS, _SCALING = VERSIONS[SETS.lower()], VERSIONS[SCALING.lower()]


class Machines:
    """The scale sets of a fleet.

    Args:
        provider: The cloud.
    """

    def __init__(self, provider: FleetProvider) -> None:
        self.account = provider.account
        self.naming = provider.naming

    def run(self, release: str, size: Instances) -> None:
        """Start the machines of a release that rests."""
        self._resize(release, size.min)
        self._scale(release, on=True)

    def rest(self, release: str) -> None:
        """End the machines of a release; what makes new ones stays."""
        self._scale(release, on=False)
        self._resize(release, 0)

    def _resize(self, release: str, size: int) -> None:
        path = set_of(self.naming, release)
        found = self.account.get(path, _SETS)
        if found is not None:
            sku = {**found["sku"], "capacity": size}
            self.account.change("PATCH", path, _SETS, {"sku": sku})

    def _scale(self, release: str, *, on: bool) -> None:
        path = scaling_of(self.naming, release)
        if self.account.get(path, _SCALING) is not None:
            self.account.change("PATCH", path, _SCALING, {"properties": {"enabled": on}})

    def _running(self, release: str) -> list[str]:
        path = f"{set_of(self.naming, release)}/virtualMachines"
        return [str(each["instanceId"]) for each in self.account.listed(path, _SETS)]

    def consoles(self, release: str, most: int) -> dict[str, str]:
        """Machine -> what its console shows."""
        return {each: self._console(release, each) for each in self._running(release)[:most]}

    def _console(self, release: str, machine: str) -> str:
        path = f"{set_of(self.naming, release)}/virtualMachines/{machine}"
        answer: dict[str, Any] = (
            self.account.change("POST", f"{path}/retrieveBootDiagnosticsData", _SETS) or {}
        )
        url = str(answer.get("serialConsoleLogBlobUri", ""))
        return self.account.fetch(url) if url.startswith("https://") else ""

    def logs(self, release: str, lines: int, *, follow: bool, pause: float) -> Iterator[str]:
        """The last lines of the consoles, and with `follow` those to come."""
        told: dict[str, int] = {}
        while True:
            for machine in self._running(release):
                text = self._console(release, machine)
                shown = text[told.get(machine, 0) :].splitlines()
                told[machine] = len(text)
                for line in shown[-lines:]:
                    yield f"{machine} {line}"
            if not follow:
                return
            time.sleep(pause)
