"""The target of a fleet on Azure: a scale set for each release.

The gateway has a pool for each of them, and its path map says which one callers get. One change of
the gateway sends them to the new one, and writes down who served before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from roadworthy.deploy._base import There
from roadworthy.deploy.azure.fleet.machines import Machines
from roadworthy.deploy.azure.fleet.provider import FleetProvider
from roadworthy.deploy.azure.fleet.releases import machine_alarms, release_of
from roadworthy.deploy.azure.fleet.traffic import Traffic
from roadworthy.deploy.azure.fleet.wanted import CONTAINER, GATEWAY, RELEASES, WRITES, store_of
from roadworthy.deploy.azure.resource import Resource
from roadworthy.deploy.azure.wanted import ALARM
from roadworthy.deploy.cloud.fleet import Fleet, make_step
from roadworthy.deploy.cloud.fleet_base import FleetRelease
from roadworthy.deploy.cloud.provider import PART
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.plan import Step
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import AzureSection, Instances, Project

_ARCHIVE = "archive-"


class FleetTarget(Fleet):
    """A fleet.

    Args:
        provider: What it stands on; it also makes the parts of the release.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        section: `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        release: The same as a fleet has it.
        evidence: Where what failed is kept.
        pause: Seconds between two looks at what takes long.
        settling: Seconds that callers may go on to meet the machines of the release before.
    """

    def __init__(
        self, provider: FleetProvider, project: Project, section: AzureSection,
        wanted: Wanted | None, release: FleetRelease[Resource] | None, evidence: Evidence,
        pause: float = 5.0, settling: float = 30.0,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.release = release
        self.settling = settling
        self.traffic = Traffic(provider, section, pause)
        super().__init__(
            provider, self.traffic, Machines(provider), project, section,
            section.instances or Instances(), wanted, release.id if release else "", evidence,
            provider.naming.deployment,
        )  # fmt: skip
        for part in release.parts if release is not None else ():
            provider.parts[part.id] = part

    def observe(self) -> There:
        """Look at everything by its tags; archives of releases that are gone are too much."""
        there = super().observe()
        known = {*self.provider.groups, self._wanted}
        archives = [each for each in self.provider.archives if each.partition("/")[0] not in known]
        surplus = [*self._found.surplus, *(self._removal(each) for each in archives)]
        kept = [
            self._removal(each) for each in self.provider.archives
            if each not in archives and each.partition("/")[0] != self._wanted
        ]  # fmt: skip
        self._found = msgspec.structs.replace(self._found, surplus=(*surplus, *kept))
        steps = {**there.steps, "place": self.traffic.placed(self._wanted)}
        return msgspec.structs.replace(there, steps=steps)

    def _removal(self, archive: str) -> Step:
        account = store_of(self.provider.naming).rpartition("/")[2]
        return Step(
            id=f"{_ARCHIVE}{archive.partition('/')[0]}", what=f"remove the archive {archive}",
            change="delete", document={"blob": archive},
            command=f"az storage blob delete --auth-mode login --account-name {account} "
            f"--container-name {CONTAINER} --name {archive}",
        )  # fmt: skip

    def _uploaded(self) -> bool:
        assert self.release is not None
        return self.release.key in self.provider.archives

    def _own_steps(self) -> tuple[list[Step], tuple[str, ...]]:
        assert self.release is not None
        release, naming = self.release, self.provider.naming
        account = store_of(naming).rpartition("/")[2]
        upload = make_step(
            "upload", f"upload the release, {release.archive.stat().st_size:,} bytes",
            {"container": CONTAINER, "blob": release.key}, (RELEASES, WRITES),
        )  # fmt: skip
        place = make_step(
            "place", f"a pool of the gateway for {release.id}", {"release": release.id}, (GATEWAY,)
        )
        command = (
            f"az storage blob upload --auth-mode login --account-name {account} --container-name "
            f"{CONTAINER} --name {release.key} --file {release.archive.name}"
        )
        pool = (
            f"az network application-gateway address-pool create --resource-group {naming.name} "
            f"--gateway-name {naming.name} --name release-{release.id}"
        )
        steps = [
            msgspec.structs.replace(upload, command=command),
            msgspec.structs.replace(place, command=pool),
        ]
        return steps, (*(each.id for each in release.parts), "upload", "place")

    def _release_of(self, step: Step) -> str:
        if "blob" in step.document:
            return str(step.document["blob"]).partition("/")[0]
        path = str(step.document["path"]).lower()
        tags = {str(each["id"]).lower(): each.get("tags") or {} for each in self.provider.listed}
        part = str(tags.get(path, {}).get(PART, ""))
        release, cloud = release_of(part), self.provider
        wanted = machine_alarms(cloud.naming, cloud.section, self.project, release)
        # an alarm that is not wanted any more stays with no release
        off = part.startswith(ALARM) and part not in {each.id for each in wanted}
        return "" if off else release

    def _more(self) -> dict[str, Callable[[], None]]:
        return {"place": lambda: self.traffic.place(self._chosen)}

    def perform(self, step: Step) -> None:
        """Do a step."""
        if "blob" in step.document and step.change == "delete":
            self.provider.account.remove_blob(f"{self.provider.door}/{step.document['blob']}")
        else:
            super().perform(step)

    def _upload(self) -> None:
        assert self.release is not None
        self.provider.observe()
        self.provider.account.upload(
            f"{self.provider.door}/{self.release.key}", self.release.archive
        )

    def _switch(self) -> None:
        """One change; when callers are then not answered, another one back."""
        release = self._chosen
        self.provider.observe()
        serving, before = self.traffic.serving, list(self.traffic.before)
        old = [serving] if serving and serving != release else []
        self.traffic.switch(release, self._line(old, before), trial=True)
        if said := self.traffic.answered(self.settling + 90):
            self.traffic.switch(old[0] if old else "", before, trial=False)
            raise self._reject({"error": said}, f"callers are answered: {said}")
        self.traffic.look_at(None)

    def _drained(self) -> None:
        time.sleep(self.settling and self.settling + self.project.serve.drain_seconds)
