"""The target of a fleet whose balancer keeps in its tags who serves, and who served before.

The new release's machines start beside the old ones and must become healthy; golden rows, gates and
behaviour are asked of them by a path that leads to that very version; then the balancer sends
callers to them, and writes down who served before. The old machines finish what they have begun and
end. What the balancer and the machines are is each cloud's.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.cloud.fleet_base import GRACE, FleetProvider, Machines, Traffic
from roadworthy.deploy.cloud.provider import Found
from roadworthy.deploy.evidence import SHOWN_LINES, Evidence
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.deploy.tunnel import without_latency
from roadworthy.deploy.wanted import Wanted
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import CloudSection, Instances, Project

SWAP = ("try", "healthy", "accept", "switch")


class Fleet(abc.ABC):
    """A fleet.

    Args:
        provider: What it stands on; it also makes the parts of the release.
        traffic: Its balancer.
        machines: Its machines.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        section: `[deploy.NAME]`.
        size: How many machines it has.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        release: Its id, as a fleet has it; empty: as `wanted`.
        evidence: Where what failed is kept.
        name: The deployment.
    """

    certain = True  # by the marks, and by what the balancer says

    def __init__(
        self, provider: FleetProvider, traffic: Traffic, machines: Machines, project: Project,
        section: CloudSection, size: Instances, wanted: Wanted | None, release: str,
        evidence: Evidence, name: str,
    ) -> None:  # fmt: skip
        self._provider, self._traffic, self._machines = provider, traffic, machines
        self.project = project
        self.section = section
        self.size = size
        self.wanted = wanted
        self.evidence = evidence
        self.name = name
        self._found = Found()
        self._chosen = self._wanted = release
        self._going_back = False

    @abc.abstractmethod
    def _uploaded(self) -> bool:
        """Whether the archive of the wanted release is where its machines fetch it."""

    @abc.abstractmethod
    def _upload(self) -> None:
        """Bring it there."""

    @abc.abstractmethod
    def _own_steps(self) -> tuple[list[Step], tuple[str, ...]]:
        """The steps that are no parts and come before the swap, and what the swap needs."""

    @abc.abstractmethod
    def _release_of(self, step: Step) -> str:
        """The release whose part a step takes away; empty: of none."""

    @abc.abstractmethod
    def _switch(self) -> None:
        """Let callers reach the chosen release, and no other."""

    def _drained(self) -> None:  # noqa: B027
        """Wait until the balancer has let the machines of other releases finish."""

    def _more(self) -> dict[str, Callable[[], None]]:
        """Steps of the cloud's own."""
        return {}

    def close(self) -> None:
        """End connections."""
        self._provider.close()

    def lock(self) -> AbstractContextManager[None]:
        """Hold the provider's lock of this deployment."""
        return self._provider.lock()

    def observe(self) -> There:
        """Look at everything by its marks."""
        self._found = found = self._provider.observe()
        if self.wanted is not None and found.model not in ("", self.wanted.release.model):
            raise InputError(
                f"{self.name} is the deployment of another model there: {found.model}",
                where=self._provider.place,
                fix="choose another name, or destroy that one first",
            )
        serving, steps = self._traffic.serving, dict(found.steps)
        if self._wanted:
            serves = serving == self._wanted
            steps["upload"] = self._uploaded()
            steps |= dict.fromkeys(SWAP, serves)
            # a swap to another release that was cut off has left both to the callers
            steps["switch"] = serves and self._traffic.alone(self._wanted)
            steps["drain"] = serves and not self._to_drain(self._wanted)
        return There(
            steps=steps, serving=serving, before=self._traffic.before,
            facts={"address": self._traffic.address},
        )  # fmt: skip

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve, then what is too much."""
        assert self.wanted is not None
        own, ready = self._own_steps()
        wanted = [*self._provider.steps(), *own, *self._swap(self._wanted, ready)]
        steps = [self._explained(each) for each in redone(in_order(wanted), there.steps)]
        return Plan(
            deployment=self.name, place=self._provider.place, model=self.wanted.release.model,
            version=self.wanted.release.version, release=self._wanted,
            steps=in_order([*steps, *self._too_much(self._wanted, ("drain",))]),
        )  # fmt: skip

    def _explained(self, step: Step) -> Step:
        difference = self._found.differences.get(step.id)
        if step.change == "keep" or difference is None:
            return step
        return msgspec.structs.replace(step, what=f"{step.what} (now: {difference})")

    def _swap(self, release: str, needs: tuple[str, ...], *, back: bool = False) -> list[Step]:
        about = {"release": release}
        asked = make_step(
            "accept", "golden rows, gates and behaviour against it, before callers get it", about,
            ("healthy",),
        )  # fmt: skip
        return [
            make_step("try", f"let the balancer look at the machines of {release}", about, needs),
            make_step(
                "healthy", f"wait until {self.size.min} of them are healthy", about, ("try",)
            ),
            *([] if back else [asked]),
            make_step(
                "switch", f"let callers reach {release}; the one before finishes what it has",
                about, ("healthy" if back else "accept",),
            ),
            make_step("drain", "end the machines of the release before", about, ("switch",)),
        ]  # fmt: skip

    def _too_much(self, release: str, needs: tuple[str, ...] = ()) -> list[Step]:
        """What carries the mark, is not wanted, and belongs to no release that is kept."""
        before = [each for each in (self._traffic.serving, *self._traffic.before) if each]
        kept = list(dict.fromkeys([release, *before]))[: self.section.keep]
        return [
            msgspec.structs.replace(each, needs=needs)
            for each in self._found.surplus
            if self._release_of(each) not in kept
        ]

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve."""
        if there.serving is None:
            raise InputError("nothing is deployed there", where=self._provider.place)
        found = [each for each in there.before if release is None or each.startswith(release)]
        if not found or (release is not None and len(found) != 1):
            raise InputError(
                f"{release or 'an earlier release'} cannot be rolled back to",
                where=self._provider.place,
                fix=f"releases that are kept: {', '.join(there.before) or 'none'}",
            )
        self._chosen, self._going_back = found[0], True
        start = make_step("start", f"start the machines of {found[0]}", {"release": found[0]}, ())
        return Plan(
            deployment=self.name, place=self._provider.place, model=self._found.model,
            version=found[0].partition("-")[0], release=found[0],
            steps=in_order([start, *self._swap(found[0], ("start",), back=True)]),
        )  # fmt: skip

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's mark."""
        return Plan(
            deployment=self.name, place=self._provider.place, model=self._found.model,
            version=(there.serving or "").partition("-")[0], release=there.serving or "",
            steps=in_order(self._provider.removal()),
        )  # fmt: skip

    def perform(self, step: Step) -> None:
        """Do a step."""
        own: dict[str, Callable[[], None]] = {
            "upload": self._upload, "start": lambda: self._machines.run(self._chosen, self.size),
            "try": lambda: self._traffic.look_at(self._chosen), "healthy": self._healthy,
            "accept": self._accept, "switch": self._switch, "drain": self._drain, **self._more(),
        }  # fmt: skip
        if step.id in own:
            own[step.id]()
        else:
            self._provider.perform(step)

    def _until(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise OutsideError(what, where=self._provider.place, fix="run the same again")
            time.sleep(self._traffic.pause)

    def _healthy(self) -> None:
        """Wait for the first boot of every machine that must be there."""
        release = self._chosen
        try:
            self._until(
                f"the machines of {release} do not become healthy",
                lambda: self._traffic.looked_at(release) >= self.size.min,
                GRACE + self.section.start_seconds,
            )
        except OutsideError as error:
            raise self._reject({"error": error.what}, error.what) from None

    def _accept(self) -> None:
        """Golden rows, gates and behaviour against the release that callers do not get yet."""
        assert self.wanted is not None
        bundle, gates = self.wanted.bundle, without_latency(self.project)
        try:
            with self._traffic.trial(bundle, self.section.start_seconds) as url:
                verdict = accept(bundle, None, gates, url=url)
        except RoadworthyError as error:
            raise self._reject({"error": str(error)}, error.what) from None
        if not verdict.passed:
            reasons = "; ".join(f"{each.name}: {each.reason}" for each in verdict.stopping())
            raise self._reject(verdict, f"it does not pass: {reasons}")

    def _line(self, old: list[str], before: list[str]) -> list[str]:
        """Who is to have served before; who is gone back from goes to the end of the line."""
        rest = [each for each in before if each not in (self._chosen, *old)]
        return ([*rest, *old] if self._going_back else [*old, *rest])[: self.section.keep]

    def _to_drain(self, release: str) -> list[str]:
        """Releases whose machines are to end."""
        kept = {release, *self._traffic.before[: self.size.standby]}
        return [each for each, size in self._traffic.sizes.items() if each not in kept and size]

    def _drain(self) -> None:
        """End machines, once the balancer has let them finish what they have."""
        self._provider.observe()
        ending = self._to_drain(self._chosen)
        if ending:
            self._drained()
        for release in ending:
            self._machines.rest(release)

    def _reject(self, verdict: object, what: str) -> RoadworthyError:
        """Keep what is known of a release that failed, and let its machines end."""
        consoles = self._machines.consoles(self._chosen, most=3)
        failed = self.evidence.keep(
            self._chosen, verdict, f"{self._chosen}: {what}",
            {f"{machine}.console": text.encode() for machine, text in consoles.items()},
            [line for text in consoles.values() for line in text.splitlines()[-SHOWN_LINES:]],
        )  # fmt: skip
        self._traffic.look_at(None)
        self._machines.rest(self._chosen)
        return failed

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the mark."""
        return self._provider.tenants()

    def status(self) -> Status:
        """Who serves, and how many machines of it are healthy."""
        self._found = self._provider.observe()
        serving = self._traffic.serving
        healthy = self._traffic.healthy(serving) if serving else 0
        details: dict[str, Any] = {
            "address": self._traffic.address, "healthy": healthy,
            "machines": dict(self._traffic.sizes),
            "too much": [each.id for each in self._too_much(serving or "")],
            "failed": self.evidence.listed(), "registry": dict(self._found.registry),
            # what a pipeline signs in by; the state of the one machine is no fleet's
            **{key: each for key, each in self._found.facts.items() if key != "machine"},
        }  # fmt: skip
        return Status(
            deployment=self.name, place=self._provider.place, serving=serving, ready=healthy > 0,
            releases=(*([serving] if serving else []), *self._traffic.before), details=details,
        )  # fmt: skip

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the consoles of the machines that serve."""
        self._provider.observe()
        if (serving := self._traffic.serving) is None:
            raise InputError("nothing is deployed there", where=self._provider.place)
        return self._machines.logs(serving, lines, follow=follow, pause=self._traffic.pause)


def make_step(name: str, what: str, document: dict[str, Any], needs: tuple[str, ...]) -> Step:
    """A step that is no part."""
    return Step(id=name, what=what, change="create", document=document, needs=needs)
