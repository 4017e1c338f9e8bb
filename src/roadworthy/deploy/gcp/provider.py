"""The provider `gcp`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.cloud.console import best_key
from roadworthy.deploy.cloud.filling import fill
from roadworthy.deploy.cloud.provider import DEPLOYMENT, MODEL, Found, Machine
from roadworthy.deploy.cloud.terraform import Beside
from roadworthy.deploy.gcp import ci
from roadworthy.deploy.gcp.account import Account, CutOffError
from roadworthy.deploy.gcp.comparing import differs, told
from roadworthy.deploy.gcp.explaining import no_credentials
from roadworthy.deploy.gcp.exporting import all_parts, export
from roadworthy.deploy.gcp.kinds import CI, KINDS, POOLS, is_of
from roadworthy.deploy.gcp.kinds import MACHINE as OF_A_MACHINE
from roadworthy.deploy.gcp.kinds import REGISTRY as OF_A_REGISTRY
from roadworthy.deploy.gcp.listing import marked, owner_word, place_of, tenants
from roadworthy.deploy.gcp.lock import held
from roadworthy.deploy.gcp.mending import (
    allow,
    keep_password,
    let_in,
    make_secret,
    mend,
    refuse,
    tell,
)
from roadworthy.deploy.gcp.private import ATTACHMENT
from roadworthy.deploy.gcp.registry import DATABASE, SECRET, registry_of
from roadworthy.deploy.gcp.removing import asked_with, removal_of
from roadworthy.deploy.gcp.resource import (
    Naming,
    Resource,
    Thing,
    thing,
)
from roadworthy.deploy.gcp.wanted import (
    ADDRESS,
    MACHINE,
    NETWORK_ADDRESS,
    SUBNET,
    machine_of,
)
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.plan import Step
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import GcpSection, Project

HOST_KEY = "roadworthy-host-key"
"""The metadata by which a machine's host key is kept."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256")
_ATTEMPTS = 4


def open_gcp(project: Project, name: str, section: GcpSection, model: str | None) -> GcpProvider:
    """The provider for a deployment.

    Raises:
        InputError: No project is named.
        OutsideError: There are no credentials.
    """
    named = section.project or os.environ.get("GOOGLE_CLOUD_PROJECT")
    try:
        credentials, known = google.auth.default(scopes=[_SCOPE])
    except GoogleAuthError as error:
        if not named:
            raise no_credentials(str(error), section.place) from None
        credentials, known = Nobody(error), None  # enough to say what would be made
    chosen = named or known
    if not chosen:
        raise InputError(
            "no project of Google Cloud is named",
            where=f"[deploy.{name}]",
            fix='write project = "…", or set GOOGLE_CLOUD_PROJECT; gcloud projects list',
        )
    account = Account(chosen, credentials, section.place)
    return GcpProvider(Naming(chosen, name, model or ""), section, project, account)


class Nobody(Credentials):
    """Credentials of who is not signed in: the first call says so.

    Args:
        error: Why.
    """

    def __init__(self, error: GoogleAuthError) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._error = error

    def refresh(self, request: Any) -> None:
        """See `Credentials`."""
        raise self._error


class GcpProvider:
    """A deployment on Google Cloud.

    Args:
        naming: Its project, its name, and the model's.
        section: `[deploy.NAME]`.
        project: For `[monitor]`, and what is exported.
        account: Where the calls go.
    """

    name = "gcp"

    def __init__(
        self, naming: Naming, section: GcpSection, project: Project, account: Account
    ) -> None:
        self.naming = naming
        self.section = section
        self.account = account
        self.place = section.place
        self.project = project
        self.parts = all_parts(naming, section, project)
        self.things: list[Thing] = []
        self._known: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The public address, as it was last seen; empty: there is none."""
        return self._known.get(NETWORK_ADDRESS, "")

    def close(self) -> None:
        """End connections."""
        self.account.close()

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the deployment's health check."""
        return held(self.account, self.naming)

    def steps(self) -> tuple[Step, ...]:
        """A step a part."""
        return tuple(part.step() for part in self.parts.values())

    def terraform(self, beside: Beside | None) -> dict[str, Any]:
        """What a deployment of a name of its own would have; raises as `export`."""
        return export(self.naming, self.section, self.project, beside)

    def beside(self, layout: Layout) -> Sequence[HostStep]:
        """Nothing."""
        return ()

    def image(self) -> Machine:
        """Debian 12, on the processor of the machine's type."""
        facts = {"python": "3.11", "glibc": "2.36", "ssh_port": "22", "system": "Debian 12",
                 "machine": machine_of(self.section.machine_type)}  # fmt: skip
        return Machine(address="", user=self.section.user, facts=facts)

    def observe(self) -> Found:
        """Look for everything that carries the deployment's mark."""
        self.things = things = self._things()
        found = self._chosen(things)
        self._known = {}
        self._learn(found)
        steps, said = {}, {}
        for name, one in found.items():
            other = differs(self.parts[name], one.there, self._known)
            steps[name] = not other
            if other:
                said[name] = ", ".join(other)
        chosen = {one.path for one in found.values()}
        return Found(
            steps=steps, differences=said, machine=self._machine(found),
            surplus=tuple(removal_of(one) for one in things if one.path not in chosen),
            model=next((one.marks[MODEL] for one in things if one.marks.get(MODEL)), ""),
            facts={
                "machine": str(found[MACHINE].there["status"]) if MACHINE in found else "none",
                **ci.variables(found),
            },
            registry=registry_of(found),
        )  # fmt: skip

    def _things(self) -> list[Thing]:
        """Everything that carries the deployment's mark, in the order of removal.

        A machine has a registry or a pipeline's account only where one is asked for: elsewhere who
        may not look sees none.
        """
        return [one for collection in self._looked for one in self._marked(collection)]

    @property
    def _looked(self) -> list[str]:
        looked = (*OF_A_MACHINE, *OF_A_REGISTRY)
        return [
            each for each in reversed(KINDS)
            if self.section.fleet or each in looked or is_of(each, "compute") or each in CI
        ]  # fmt: skip

    def _may_be_denied(self, collection: str) -> bool:
        """Whether who signs in need not be allowed to look: at a registry that nobody wants."""
        needed = self.section.fleet and collection == "buckets"
        return self.section.database is None and collection in OF_A_REGISTRY and not needed

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment whose mark something of this place, or of no place, carries."""
        return tenants(self.account, self.naming, self._looked, self.section)

    def _marked(self, collection: str) -> list[Thing]:
        return marked(self.account, self.naming, collection, denied=self._may_be_denied(collection))

    def _chosen(self, things: list[Thing]) -> dict[str, Thing]:
        """Part -> what is there of it, at its place; of doubles the first by name."""
        found: dict[str, Thing] = {}
        for one in sorted(things, key=lambda each: each.path):
            part = self.parts.get(one.part)
            named = part is not None and (
                is_of(part.collection, "monitoring", "secretmanager") or part.path == one.path
            )
            if named and one.part not in found:
                found[one.part] = one
        return found

    def _learn(self, found: dict[str, Thing]) -> None:
        self._known |= {name: one.path for name, one in found.items()}
        if MACHINE in found:
            self._known[MACHINE] = str(found[MACHINE].there["id"])
        if ci.POOL in found:
            self._known[ci.NUMBER] = ci.number_of(found[ci.POOL])
        if link := DATABASE in found and found[DATABASE].there.get("pscServiceAttachmentLink"):
            self._known[ATTACHMENT] = str(link)
        if ADDRESS in found and found[ADDRESS].there.get("address"):
            self._known[NETWORK_ADDRESS] = str(found[ADDRESS].there["address"])
        if self.section.subnet and f"{SUBNET}-network" not in self._known:
            self._known[f"{SUBNET}-network"] = self._own_network(self.section.subnet)

    def _own_network(self, subnet: str) -> str:
        _, project, _, region, _, name = subnet.split("/")
        found = self.account.get("subnetworks", project=project, region=region, subnetwork=name)
        if found is None:
            raise InputError("there is no such subnet", where=subnet, fix="correct subnet")
        return str(thing("subnetworks", found).there["network"])

    def _machine(self, found: dict[str, Thing]) -> Machine | None:
        number = self._known.get(NETWORK_ADDRESS)
        if MACHINE not in found or number is None:
            return None
        pinned = told((found[MACHINE].there.get("metadata") or {}).get("items")).get(HOST_KEY)
        return Machine(
            address=number, user=self.section.user, pinned=bool(pinned),
            host_keys=(pinned,) if pinned else self._said(), facts=self.image().facts,
        )  # fmt: skip

    @property
    def _named(self) -> dict[str, Any]:
        return {
            "project": self.naming.project,
            "zone": self.section.zone,
            "instance": self.naming.name,
        }

    def _said(self) -> tuple[str, ...]:
        """The host keys that Google's agent on the machine wrote into its guest attributes."""
        answer = self.account.get(
            "instances", "getGuestAttributes", queryPath="hostkeys/", **self._named
        )
        items = ((answer or {}).get("queryValue") or {}).get("items") or ()
        return tuple(f"{each['key']} {each['value']}" for each in items if each["key"] in _KEYS)

    def pin(self, host_keys: tuple[str, ...]) -> None:
        """Keep a host key in the machine's metadata."""
        there = self.account.get("instances", **self._named)
        if there is None:
            raise OutsideError("the machine is gone", where=self.place, fix="run the same again")
        items = told((there.get("metadata") or {}).get("items"))
        if items.get(HOST_KEY) != best_key(host_keys):
            tell(self.account, self._named, {**items, HOST_KEY: best_key(host_keys)}, there)

    def removal(self) -> tuple[Step, ...]:
        """Everything that carries the deployment's mark."""
        return tuple(removal_of(one) for one in self._things())

    def perform(self, step: Step) -> None:
        """Make a part as wanted, or take something away."""
        if step.change == "delete":
            self._remove(step.document["collection"], step.document["path"])
            return
        part = self.parts[step.id]
        for attempt in range(_ATTEMPTS):
            try:
                self._make(part)
                return
            except CutOffError:
                # what was made without an answer is found by its mark in the next round
                if attempt == _ATTEMPTS - 1:
                    raise

    def _make(self, part: Resource) -> None:
        found = self._chosen(self._marked(part.collection))
        self._learn(found)
        body = fill(part.body, self._known)
        if part.id == ci.ACCOUNT:
            body["readers"] = fill(list(part.readers), self._known)
        if part.id not in found:
            self._insert(part, body)
        else:
            mend(self.account, part, body, found[part.id])
        again = self._marked(part.collection)
        made = self._chosen(again)
        self._learn(made)
        if part.id not in made:
            raise CutOffError(
                f"{part.what}: Google Cloud does not list it yet",
                where=self.place,
                fix="run the same again",
            )
        for one in again:  # the library sends what was cut off again: there may be two
            if one.part == part.id and one.path != made[part.id].path:
                self._remove(one.collection, one.path)
        said = differs(part, made[part.id].there, self._known)
        if said and part.id in found:
            raise refuse(part, said, self.place)

    def _insert(self, part: Resource, body: dict[str, Any]) -> None:
        collection, members = part.collection, body.pop("readers", ())
        if collection == "databaseInstances":
            body = body | {"rootPassword": keep_password(self.account, self.parts[SECRET].path)}
        if collection == "secrets":
            make_secret(self.account, part, body)
            return
        if collection in POOLS:
            self._insert_pool(part, body)
        elif KINDS[collection].scope == "project":
            owner = {owner_word(collection): part.parent}
            self.account.change(collection, "create", again=False, body=body, **owner)
            if members:
                let_in(self.account, part, members)
        elif collection == "buckets":
            project = self.naming.project
            self.account.change(collection, "insert", again=False, project=project, body=body)
            allow(self.account, part)
        else:
            named = place_of(collection, part.path)
            del named[KINDS[collection].singular]
            self.account.change(collection, "insert", again=False, body=body, **named)
        if is_of(collection, "monitoring") or collection in POOLS:
            return
        there = self.account.get(collection, **place_of(collection, part.path))
        if there is None and collection == "databaseInstances":
            raise InputError(
                "Cloud SQL keeps the name of a database that was removed for a week",
                where=f"{self.place}, {part.path}",
                fix="choose another name for the deployment, or wait",
            )
        if there is not None and thing(collection, there).part != part.id:
            raise InputError(
                f"{part.path.rpartition('/')[2]} was not made by Roadworthy, and is left alone",
                where=f"{self.place}, {part.path}",
                fix="choose another name for the deployment",
            )

    def _insert_pool(self, part: Resource, body: dict[str, Any]) -> None:
        """Make what one signs in by; what was deleted holds its name for 30 days, and comes back.

        Raises:
            InputError: Somebody else made one of that name.
        """
        there = self.account.get(part.collection, name=part.path)
        if there is None:
            which = f"{part.collection.removesuffix('s')}Id"
            named = {"parent": part.parent, which: part.name}
            self.account.change(part.collection, "create", again=False, body=body, **named)
            return
        if thing(part.collection, there).marks.get(DEPLOYMENT) != self.naming.deployment:
            raise InputError(
                f"{part.name} was not made by Roadworthy, and is left alone",
                where=f"{self.place}, {part.path}", fix="choose another name for the deployment",
            )  # fmt: skip
        if there.get("state") == "DELETED":
            self.account.change(part.collection, "undelete", name=part.path, body={})
        mask = ",".join(body)
        self.account.change(part.collection, "patch", name=part.path, body=body, updateMask=mask)

    def _remove(self, collection: str, path: str) -> None:
        """Take a thing away; it is looked at again, for it may have changed hands."""
        named = place_of(collection, path)
        found = self.account.get(collection, **named)
        mine = self.naming.deployment
        if found is None or found.get("state") == "DELETED":
            return
        if thing(collection, found).marks.get(DEPLOYMENT) == mine:
            self.account.change(collection, "delete", **named, **asked_with(collection))
