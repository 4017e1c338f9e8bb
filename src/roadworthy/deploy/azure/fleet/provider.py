"""The provider of a fleet: parts in a group, as for one machine, and what releases add to them."""

from __future__ import annotations

from typing import Any

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.fleet import wanted
from roadworthy.deploy.azure.fleet.gateway import kept
from roadworthy.deploy.azure.fleet.releases import release_of
from roadworthy.deploy.azure.provider import AzureProvider
from roadworthy.deploy.azure.resource import VERSIONS, Naming, Resource
from roadworthy.deploy.cloud.provider import PART, Found
from roadworthy.errors import OutsideError
from roadworthy.monitor.alarms.azure import SETS
from roadworthy.project import AzureSection, Project


class FleetProvider(AzureProvider):
    """What a fleet on Azure stands on; its arguments are those of `AzureProvider`."""

    groups: dict[str, dict[str, Any]]
    """Release -> its scale set, as it was observed last."""
    archives: list[str]
    """Names of the archives, as they were observed last."""

    def __init__(
        self, naming: Naming, section: AzureSection, project: Project, account: Account
    ) -> None:
        super().__init__(naming, section, project, account)
        self.groups, self.archives = {}, []

    def observe(self) -> Found:
        """Look at the group, at everything in it by its tag, at each part, and at releases."""
        found = super().observe()
        self.groups, self.archives = {}, []
        if self.there:
            path = self.naming.path(SETS, "").rstrip("/")
            for each in self.account.listed(path, VERSIONS[SETS.lower()]):
                release = release_of(str((each.get("tags") or {}).get(PART, "")))
                if release and self._is_ours(each):
                    self.groups[release] = each
        if self.door:
            self.archives = self.account.blobs(self.door)
        return found

    @property
    def door(self) -> str:
        """Where the container of archives is; empty: it is not there."""
        if not {wanted.STORE, wanted.RELEASES, wanted.WRITES} <= self.there.keys():
            return ""
        told = self.there[wanted.STORE]["properties"].get("primaryEndpoints") or {}
        return f"{str(told.get('blob', '')).rstrip('/')}/{wanted.CONTAINER}"

    @property
    def balancer(self) -> dict[str, Any]:
        """The gateway as it was observed last; empty: there is none."""
        return self.there.get(wanted.GATEWAY, {})

    def gateway(self) -> dict[str, Any]:
        """The gateway as it is now.

        Raises:
            OutsideError: It is gone.
        """
        found = self._settled(self.parts[wanted.GATEWAY])
        if found is None or not self._is_ours(found):
            raise OutsideError("the gateway is gone", where=self.place, fix="run the same again")
        return found

    def _is_ours(self, found: dict[str, Any]) -> bool:
        if wanted.is_ours(str(found["id"]), self.naming, self.section):
            return True
        return super()._is_ours(found)

    def _body(self, part: Resource) -> dict[str, Any]:
        body = super()._body(part)
        if part.id == wanted.GATEWAY:
            return kept(body, self.account.get(part.path, part.version))
        return body

    def _compared(self, part: Resource, found: dict[str, Any]) -> dict[str, Any]:
        body = super()._compared(part, found)
        if part.id == wanted.WRITES:  # whoever made it
            return {}
        if part.kind == SETS:
            return _grown(body, found)
        return body

    def _things(self) -> list[dict[str, Any]]:
        found = super()._things()
        certificate = self.section.certificate
        if certificate is not None:
            path = wanted.key_right_of(self.naming, certificate)
            right = self.account.get(path, VERSIONS["microsoft.authorization/roleassignments"])
            found = [*([right] if right else []), *found]
        return found

    def _foreign(self, thing: dict[str, Any]) -> bool:
        """Disks of scale sets come and go with them."""
        disk = thing["type"].lower() == "microsoft.compute/disks"
        if disk and str(thing["name"]).lower().startswith("rw-"):
            return False
        return super()._foreign(thing)


def _grown(body: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A scale set grows by itself, and does not tell what its machines are given at first."""
    size = max(body["sku"]["capacity"], int((found.get("sku") or {}).get("capacity") or 0))
    properties = body["properties"]
    profile = properties["virtualMachineProfile"]
    login = {key: each for key, each in profile["osProfile"].items() if key != "customData"}
    return {
        **body, "sku": {**body["sku"], "capacity": size},
        "properties": {
            **properties, "virtualMachineProfile": {**profile, "osProfile": login},
        },
    }  # fmt: skip
