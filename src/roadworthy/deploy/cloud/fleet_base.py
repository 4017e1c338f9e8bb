"""What a fleet is made of on each cloud: what it stands on, its balancer, its machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Tenant
from roadworthy.deploy.cloud.provider import Found
from roadworthy.deploy.plan import Step
from roadworthy.project import Instances


class FleetProvider(Protocol):
    """The cloud of a fleet, as `roadworthy.deploy.cloud.provider.Provider` describes it."""

    place: str

    def steps(self) -> tuple[Step, ...]:
        """A step a part."""
        ...

    def observe(self) -> Found:
        """Look at everything by its marks."""
        ...

    def perform(self, step: Step) -> None:
        """Do a step."""
        ...

    def removal(self) -> tuple[Step, ...]:
        """What takes away everything that carries the mark."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep other deployments of this name away."""
        ...

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the mark."""
        ...

    def close(self) -> None:
        """End connections."""
        ...


class Traffic(Protocol):
    """The balancer of a fleet, as it was observed last."""

    pause: float

    @property
    def serving(self) -> str | None:
        """The release that callers get."""
        ...

    @property
    def before(self) -> tuple[str, ...]:
        """Releases that served and are there, the last one first."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Release -> how many machines it is to have."""
        ...

    @property
    def address(self) -> str:
        """Where callers reach it; empty: there is none."""
        ...

    def alone(self, release: str) -> bool:
        """Whether callers meet a release and no other."""
        ...

    def look_at(self, release: str | None) -> None:
        """Let the balancer look at the machines of a release before callers meet it; None: none."""
        ...

    def looked_at(self, release: str) -> int:
        """How many machines of the release that is looked at are healthy."""
        ...

    def healthy(self, release: str) -> int:
        """How many machines of the release that callers meet are healthy."""
        ...

    def trial(self, bundle: Bundle, seconds: float) -> AbstractContextManager[str]:
        """An address at which the tried release answers, and callers do not meet it."""
        ...


class Machines(Protocol):
    """The machines of a fleet's releases."""

    def run(self, release: str, size: Instances) -> None:
        """Start the machines of a release that rests."""
        ...

    def rest(self, release: str) -> None:
        """End the machines of a release; what makes new ones stays."""
        ...

    def consoles(self, release: str, most: int) -> dict[str, str]:
        """Machine -> what its console shows."""
        ...

    def logs(self, release: str, lines: int, *, follow: bool, pause: float) -> Iterator[str]:
        """The last lines of the consoles, and with `follow` those to come."""
        ...
