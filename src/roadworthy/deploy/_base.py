"""What a target is: a place that can be looked at, changed step by step, and locked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from roadworthy.deploy.plan import Plan, Step


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment is doing.

    Attributes:
        deployment: Its name.
        place: Where it is.
        serving: The release that callers get; None: none.
        ready: Whether that release answers.
        releases: Those that are kept, the newest first.
        details: What else the target knows.
    """

    deployment: str
    place: str
    serving: str | None
    ready: bool
    releases: tuple[str, ...]
    details: dict[str, Any] = {}


class There(msgspec.Struct, frozen=True, kw_only=True):
    """What is there.

    Attributes:
        steps: Step's id -> whether it is there as wanted.
        serving: The release that callers get.
        before: Releases that can be rolled back to, the last one first.
        facts: What the target is, in its own terms.
    """

    steps: Mapping[str, bool] = {}
    serving: str | None = None
    before: tuple[str, ...] = ()
    facts: Mapping[str, str] = {}


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that is at a place, or what is left of one.

    Attributes:
        deployment: Its name, by its marks.
        model: The model it is for, where that can be seen; else empty.
        parts: What there is of it.
    """

    deployment: str
    model: str
    parts: tuple[str, ...]


class Target(Protocol):
    """A place where a model can run.

    Attributes:
        certain: Whether a step that was cut off is always seen as not done; else the journal says
            which steps are to be done again.
    """

    certain: bool

    def lock(self) -> AbstractContextManager[None]:
        """Keep other deployments away; OutsideError when one is at work."""
        ...

    def observe(self) -> There:
        """Look at what is there, changing nothing."""
        ...

    def plan(self, there: There) -> Plan:
        """What makes it as wanted: a function of its arguments alone."""
        ...

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve; None: the one before."""
        ...

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's mark, and nothing else."""
        ...

    def perform(self, step: Step) -> None:
        """Do a step; doing it twice is as doing it once."""
        ...

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries Roadworthy's mark there, this one and others."""
        ...

    def status(self) -> Status:
        """What it is doing."""
        ...

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the servers' log, and with `follow` those to come."""
        ...
