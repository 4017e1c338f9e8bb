"""What a cloud's provider is: it makes infrastructure, sees it, and takes it away.

Everything that a provider makes carries three tags (labels, where a cloud calls them so): which
deployment it belongs to, which part of it it is, and the model. There is no state file: what is
there is found by the tags, and what carries a deployment's tag is all that is ever taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from roadworthy.deploy._base import Tenant
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.plan import Step

DEPLOYMENT = "roadworthy-deployment"
PART = "roadworthy-part"
MODEL = "roadworthy-model"
SECLUDED = "its network alone: not by a CI system, nor by people, outside of it"
"""From where a database with a private address is reached."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that a provider made.

    Attributes:
        address: Where SSH reaches it.
        user: Who logs in.
        proxy: Command whose input and output reach its SSH server; empty: SSH does by itself.
        host_keys: Its SSH host keys (`ssh-ed25519 AAAA…`), as the cloud itself hands them out: its
            console or metadata, never the network. Empty: it has not said them yet.
        pinned: Whether `host_keys` are those that `Provider.pin` has kept.
        facts: The platform of its image, before it was asked: `python`, `machine`, `glibc`,
            `system`, `ssh_port`.
    """

    address: str
    user: str
    proxy: str = ""
    host_keys: tuple[str, ...] = ()
    pinned: bool = False
    facts: Mapping[str, str] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider sees.

    Attributes:
        steps: Id of a wanted step -> whether it is there as wanted.
        surplus: Steps with the change `delete`, for what carries the deployment's tag and is not
            wanted (any more): orphans, doubles, parts that the section no longer asks for.
        differences: Id of a wanted step -> what is other than wanted, in words.
        machine: The machine, when it is there.
        facts: What else is to be said of it: the state of the machine, for instance.
        model: The model that what is there was made for; empty: nothing is there.
        registry: What `[registry]` is to say (`url`, `store`), and where its password is.
    """

    steps: Mapping[str, bool] = {}
    surplus: tuple[Step, ...] = ()
    differences: Mapping[str, str] = {}
    machine: Machine | None = None
    facts: Mapping[str, str] = {}
    model: str = ""
    registry: Mapping[str, str] = {}


class Provider(Protocol):
    """A cloud, for one deployment.

    Every method raises `InputError` or `OutsideError` that says what to do, never an error of the
    cloud's library: which quota, which permission (by the name of the action), which region.

    Attributes:
        name: `aws`, `azure`, `gcp`; ids of its steps begin with it and a dash.
        place: Where, for people.
    """

    name: str
    place: str

    def steps(self) -> tuple[Step, ...]:
        """What is wanted, all with the change `create`: a function of the section alone.

        The document of a step is what the cloud is asked for, in its own form, with `${PART}` for
        what only the cloud knows before it is made.
        """
        ...

    def beside(self, layout: Layout) -> Sequence[HostStep]:
        """What the machine does for this cloud alone: steps on it, right after its mark."""
        ...

    def image(self) -> Machine:
        """The machine as it will be, before there is one: its address is empty."""
        ...

    def observe(self) -> Found:
        """What is there; nothing is changed."""
        ...

    def removal(self) -> tuple[Step, ...]:
        """Everything that carries the deployment's tag, with the change `delete`, in order."""
        ...

    def perform(self, step: Step) -> None:
        """Make a part as wanted, or take it away; doing it twice is as doing it once."""
        ...

    def pin(self, host_keys: tuple[str, ...]) -> None:
        """Keep the machine's host keys with the machine: consoles forget."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep other deployments of this name away; OutsideError when one is at work."""
        ...

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the tag at this place, this one and others."""
        ...

    def close(self) -> None:
        """End connections."""
        ...
