"""The provider `azure`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.azure import ci, dashboard, registry
from roadworthy.deploy.azure.account import ENDPOINT, Account
from roadworthy.deploy.azure.exporting import all_parts, export
from roadworthy.deploy.azure.lock import held
from roadworthy.deploy.azure.resource import VERSIONS, Naming, Resource
from roadworthy.deploy.azure.states import failed, power_of
from roadworthy.deploy.azure.tags import merge_tags, remove_tags
from roadworthy.deploy.azure.wanted import ADDRESS, GROUP, MACHINE, disk_of, machine_of
from roadworthy.deploy.cloud.comparing import differences
from roadworthy.deploy.cloud.console import best_key, host_keys_in
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, PART, Found, Machine
from roadworthy.deploy.cloud.terraform import Beside
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.plan import Step
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import AzureSection, Project

HOST_KEY = "roadworthy-host-key"
"""The tag by which a machine's host key is kept."""
_LIST_VERSION = "2021-04-01"
_ASKED = {MACHINE: {"$expand": "instanceView"}, dashboard.DASHBOARD: {"canFetchContent": "true"}}
"""Part -> what is said when it is asked for, without which Azure keeps a half of it to itself."""
_SETTLED = {"Succeeded", "Failed", "Canceled", "Ready", "Stopped", "Disabled", "Inaccessible"}
_PATIENCE = 600.0
_PAUSE = 5.0
_Kind = TypeVar("_Kind", bound="AzureProvider")


def open_azure(
    project: Project, name: str, section: AzureSection, model: str | None
) -> AzureProvider:
    """The provider of one machine; raises as `open_as`."""
    return open_as(AzureProvider, project, name, section, model)


def open_as(
    kind: type[_Kind], project: Project, name: str, section: AzureSection, model: str | None
) -> _Kind:
    """The provider for a deployment of a kind.

    Raises:
        InputError: No subscription is named.
    """
    subscription = section.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")
    if not subscription:
        raise InputError(
            "no subscription is named",
            where=f"[deploy.{name}]",
            fix='write subscription = "…", or set AZURE_SUBSCRIPTION_ID; az account list',
        )
    from azure.identity import DefaultAzureCredential

    account = Account(subscription, DefaultAzureCredential(), section.place)
    return kind(Naming(subscription, name, model or ""), section, project, account)


class AzureProvider:
    """A deployment on Azure.

    Args:
        naming: Its subscription, its name, and the model's.
        section: `[deploy.NAME]`.
        project: For `[monitor]`, and what is exported.
        account: Where the calls go.
    """

    name = "azure"

    def __init__(
        self, naming: Naming, section: AzureSection, project: Project, account: Account
    ) -> None:
        self.naming = naming
        self.section = section
        self.account = account
        self.place = section.place
        self.project = project
        self.parts = all_parts(naming, section, project)
        self.there: dict[str, dict[str, Any]] = {}
        self.listed: list[dict[str, Any]] = []
        self._known: dict[str, str] = {}

    def close(self) -> None:
        """End connections."""
        self.account.close()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the tag of the resource group, which is made for it when it is not there."""
        group = self._group()
        if group is None:
            part = self.parts[GROUP]
            self.account.change("PUT", part.path, part.version, part.body)
        try:
            with held(self.account, self.naming):
                yield
        finally:
            if group is None:
                with contextlib.suppress(OutsideError):  # the error that led here must be seen
                    if not self._inside():
                        self._remove(self.naming.group, self.parts[GROUP].version)

    def steps(self) -> tuple[Step, ...]:
        """A step a part."""
        return tuple(part.step(ENDPOINT) for part in self.parts.values())

    def terraform(self, beside: Beside | None) -> dict[str, Any]:
        """What a deployment of a name of its own would have; raises as `export`."""
        return export(self.naming, self.section, self.project, beside)

    def beside(self, layout: Layout) -> Sequence[HostStep]:
        """Nothing."""
        return ()

    def image(self) -> Machine:
        """Debian 12, on the processor of the machine's size."""
        facts = {"python": "3.11", "glibc": "2.36", "ssh_port": "22", "system": "Debian 12",
                 "machine": machine_of(self.section.size)}  # fmt: skip
        return Machine(address="", user=self.section.user, facts=facts)

    def observe(self) -> Found:
        """Look at the group, at everything in it by its tag, and at each part."""
        group, steps, said = self._group(), {}, {}
        self.there = {}
        if group is None:
            return Found(facts={"machine": "none"})
        there = self.there = {GROUP: group}
        for part in list(self.parts.values())[1:]:
            if (found := self._there(part)) is not None and self._is_ours(found):
                there[part.id] = found
        self._known |= {f"{name}.principal": "" for name in self.parts}
        self._learn(there)
        self._meet()
        for name, found in there.items():
            other = self._differs(self.parts[name], found)
            steps[name] = not other
            if other:
                said[name] = ", ".join(other)
        paths = {part.path.lower() for part in self.parts.values()}
        self.listed = self._things()
        surplus = [each for each in self.listed if each["id"].lower() not in paths]
        if registry.DATABASE in there:
            surplus += registry.too_much(self.account, self.parts)
        return Found(
            steps=steps, differences=said, surplus=tuple(map(self._removal, surplus)),
            machine=self._machine(there), model=str(group["tags"].get(MODEL, "")),
            facts={
                "machine": power_of(there.get(MACHINE)),
                **ci.variables(self.naming.subscription, there),
            },
            registry=registry.registry_of(there),
        )  # fmt: skip

    def _learn(self, there: Mapping[str, dict[str, Any]]) -> None:
        """Whom each identity is known as, which Azure makes up."""
        for part in self.parts.values():
            if part.kind.lower() == ci.IDENTITIES and part.id in there:
                principal = there[part.id]["properties"].get("principalId")
                self._known[f"{part.id}.principal"] = str(principal or "")

    def _meet(self) -> None:
        """See who signs in: who makes a database is who looks after it."""
        asked = self.section.database or self.section.fleet
        if asked and f"{registry.WHO}.id" not in self._known:
            told = self.account.signed_in()
            self._known |= {f"{registry.WHO}.{key}": each for key, each in told.items()}

    def _body(self, part: Resource) -> dict[str, Any]:
        filled: dict[str, Any] = fill(part.body, self._known)
        return filled

    def _group(self) -> dict[str, Any] | None:
        """The resource group.

        Raises:
            InputError: One of its name was not made by Roadworthy.
        """
        version = VERSIONS["microsoft.resources/resourcegroups"]
        group = self.account.get(self.naming.group, version)
        if group is not None and not self._is_ours(group):
            raise InputError(
                f"the resource group {self.naming.name} was not made by Roadworthy",
                where=self.place,
                fix="choose another name for the deployment",
            )
        return group

    def _is_ours(self, found: dict[str, Any]) -> bool:
        path = str(found["id"])
        if ci.is_ours(path, self.naming) or registry.is_ours(path, self.naming):
            return True  # it has no tags, and its place is nobody else's
        return (found.get("tags") or {}).get(DEPLOYMENT) == self.naming.deployment

    def _there(self, part: Resource) -> dict[str, Any] | None:
        if part.id == registry.ADMIN:
            return registry.there(self.account, part)
        return self.account.get(part.path, part.version, **_ASKED.get(part.id, {}))

    def _differs(self, part: Resource, found: dict[str, Any]) -> list[str]:
        said = self._changed(part, found)
        state = (found.get("properties") or {}).get("provisioningState", "Succeeded")
        if state != "Succeeded":
            said.append(f"it is {state}")
        if part.id == MACHINE and power_of(found) != "running":
            said.append(f"it is {power_of(found)}")
        if part.id == registry.DATABASE and found["properties"].get("state") != "Ready":
            said.append(f"it is {found['properties'].get('state')}")
        return said

    def _changed(self, part: Resource, found: dict[str, Any]) -> list[str]:
        body = self._compared(part, found)
        compare = dashboard.differs if part.id == dashboard.DASHBOARD else differences
        return compare(body, found)

    def _compared(self, part: Resource, found: dict[str, Any]) -> dict[str, Any]:
        told = registry.compared(part, self._body(part), found)
        return {key: value for key, value in told.items() if key != "tags"}

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment whose tag a resource group of the region carries."""
        groups = self.account.listed(
            f"/subscriptions/{self.naming.subscription}/resourcegroups", _LIST_VERSION,
            **{"$filter": f"tagName eq '{DEPLOYMENT}'"},
        )  # fmt: skip
        return tuple(
            Tenant(
                deployment=str(group["tags"][DEPLOYMENT]),
                model=str(group["tags"].get(MODEL, "")),
                parts=tuple(
                    sorted(
                        str(each["id"])
                        for each in self.account.listed(f"{group['id']}/resources", _LIST_VERSION)
                    )
                ),
            )
            for group in groups
            if (group.get("tags") or {}).get(DEPLOYMENT)
            and str(group["location"]).lower() == self.section.region
        )

    def _inside(self) -> list[dict[str, Any]]:
        return self.account.listed(f"{self.naming.group}/resources", _LIST_VERSION)

    def _things(self) -> list[dict[str, Any]]:
        """Everything in the group that carries the deployment's tag, in the order of removal."""
        order = list(VERSIONS)
        found = [
            each for each in self._inside()
            if (each.get("tags") or {}).get(PART) and self._is_ours(each)
            and each["type"].lower() in order
        ]  # fmt: skip
        if any(each["tags"][PART] == ci.CI for each in found):
            found += self._untagged_things()
        return sorted(found, key=lambda each: (-order.index(each["type"].lower()), each["id"]))

    def _untagged_things(self) -> list[dict[str, Any]]:
        """What the pipeline may, and whom its identity trusts: in no list of the group."""
        found = [
            self.account.get(path, VERSIONS[ci.RIGHTS]) for path in ci.right_paths(self.naming)
        ]
        trusts = self.account.listed(ci.trust_path(self.naming), VERSIONS[ci.TRUSTS])
        return [each for each in found if each is not None] + trusts

    def _machine(self, there: dict[str, dict[str, Any]]) -> Machine | None:
        address = there.get(ADDRESS, {}).get("properties", {}).get("ipAddress")
        if MACHINE not in there or not address:
            return None
        pinned = there[MACHINE]["tags"].get(HOST_KEY)
        said = (pinned,) if pinned else self._said(there[MACHINE])
        return Machine(
            address=str(address), user=self.section.user, pinned=bool(pinned), host_keys=said,
            facts=self.image().facts,
        )  # fmt: skip

    def _said(self, machine: dict[str, Any]) -> tuple[str, ...]:
        """The host keys that cloud-init printed on the console, once it is written."""
        if power_of(machine) != "running":
            return ()
        part = self.parts[MACHINE]
        answer = self.account.change(
            "POST", f"{part.path}/retrieveBootDiagnosticsData", part.version
        )
        url = str((answer or {}).get("serialConsoleLogBlobUri", ""))
        return host_keys_in(self.account.fetch(url)) if url.startswith("https://") else ()

    def pin(self, host_keys: tuple[str, ...]) -> None:
        """Keep a host key in a tag of the machine."""
        merge_tags(self.account, self.parts[MACHINE].path, {HOST_KEY: best_key(host_keys)})

    def removal(self) -> tuple[Step, ...]:
        """Everything in the group that carries the tag, then the group."""
        group = self._group()
        if group is None:
            return ()
        found = [*self._things(), {**group, "type": self.parts[GROUP].kind}]
        return tuple(map(self._removal, found))

    def _removal(self, thing: dict[str, Any]) -> Step:
        kind, version = thing["type"].rpartition("/")[2], VERSIONS[thing["type"].lower()]
        url = f"{ENDPOINT}{thing['id']}?api-version={version}"
        return Step(
            id=f"azure-{kind}-{thing['name']}",
            what=f"remove {thing['name']} of {thing['type']}{_kept(thing)}",
            change="delete",
            document={"path": thing["id"], "version": version},
            command=f"az rest --method delete --url '{url}'",
        )

    def perform(self, step: Step) -> None:
        """Make a part as wanted, or take something away."""
        if step.change == "delete":
            self._remove(step.document["path"], step.document["version"])
        else:
            self._make(self.parts[step.id])

    def _make(self, part: Resource) -> None:
        found = self._settled(part)
        if found is not None and not self._is_ours(found):
            raise InputError(
                f"{found['name']} was not made by Roadworthy, and is left alone",
                where=f"{self.place}, {part.path}",
                fix="choose another name for the deployment",
            )
        self._meet()
        body = self._body(part)
        if part.id == registry.DATABASE and found is not None:
            registry.mend(self.account, part, body, found)
        elif found is None or self._changed(part, found) or failed(found):
            if "tags" in body:
                body["tags"] = {**((found or {}).get("tags") or {}), **body["tags"]}
            elif part.kind.lower() == ci.RIGHTS and found is not None:  # it cannot be changed
                self.account.change("DELETE", part.path, part.version)
            path = fill(part.path, self._known)
            self.account.change("PUT", path, part.version, body)
            found = self._settled(part)
        if found is not None:
            self._learn({part.id: found})
        if part.id == MACHINE and power_of(found) != "running":
            self.account.change("POST", f"{part.path}/start", part.version)

    def _settled(self, part: Resource) -> dict[str, Any] | None:
        """What is there, when nothing is at work on it any more."""
        end = time.monotonic() + _PATIENCE
        while (found := self._there(part)) is not None:
            told = found.get("properties") or {}
            state = told.get("provisioningState") or told.get("state", "Succeeded")
            if state in _SETTLED:
                break
            if time.monotonic() > end:
                raise OutsideError(
                    f"{found['name']} stays {state}",
                    where=self.place,
                    fix="look in the Azure portal; then run the same again",
                )
            time.sleep(_PAUSE)
        return found

    def _remove(self, path: str, version: str) -> None:
        """Take a thing away; it is looked at again, for it may have changed hands."""
        found = self.account.get(path, version)
        if found is None or not self._is_ours(found):
            return
        if path.lower() == self.naming.group.lower() and any(map(self._foreign, self._inside())):
            # the group stays, and is not Roadworthy's any more
            mine = self.naming.tags(GROUP).keys() & found["tags"].keys()
            remove_tags(self.account, path, {key: found["tags"][key] for key in mine})
            return
        if path.lower() == registry.store_of(self.naming).lower():
            registry.check_empty(self.account, found, self.place)
        self.account.change("DELETE", path, version)

    def _foreign(self, thing: dict[str, Any]) -> bool:
        """Whether a listed thing is somebody else's; lists still show what has just gone."""
        if self._is_ours(thing) or thing["id"].lower() == disk_of(self.naming).lower():
            return False
        version = VERSIONS.get(thing["type"].lower())
        return version is None or self.account.get(thing["id"], version) is not None


def _kept(thing: dict[str, Any]) -> str:
    whole = thing["type"].lower() == "microsoft.dbforpostgresql/flexibleservers"
    return "; Azure keeps its backups for five days" if whole else ""
