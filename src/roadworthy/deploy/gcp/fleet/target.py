"""The target of a fleet: a group of machines for each release; a backend service says who serves.

The new release's group starts beside the old one and must become healthy; golden rows, gates and
behaviour are asked of it by a path that leads to that very version; then one change of the backend
service sends callers to it, and writes down who served before. The old group's machines finish what
they have begun and end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.cloud.provider import Found
from roadworthy.deploy.evidence import SHOWN_LINES, Evidence
from roadworthy.deploy.gcp.fleet.machines import Machines
from roadworthy.deploy.gcp.fleet.releases import GRACE, FleetRelease, object_marks, release_of
from roadworthy.deploy.gcp.fleet.traffic import Traffic
from roadworthy.deploy.gcp.fleet.wanted import BUCKET, SERVICE, TRIAL, bucket_of
from roadworthy.deploy.gcp.provider import GcpProvider
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.deploy.tunnel import without_latency
from roadworthy.deploy.wanted import Wanted
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import GcpSection, Instances, Project

_SWAP = ("try", "healthy", "accept", "switch")


class FleetTarget:
    """A fleet.

    Args:
        provider: What it stands on; it also makes the parts of the release.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        section: `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        release: The same as a fleet has it.
        evidence: Where what failed is kept.
        pause: Seconds between two looks at what takes long.
        settling: Seconds until a change has reached all of Google's balancers.
    """

    certain = True  # by the marks, and by what the backend service says

    def __init__(
        self, provider: GcpProvider, project: Project, section: GcpSection,
        wanted: Wanted | None, release: FleetRelease | None, evidence: Evidence,
        pause: float = 5.0, settling: float = 60.0,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.project = project
        self.section = section
        self.wanted = wanted
        self.release = release
        self.evidence = evidence
        self.name = provider.naming.deployment
        self.size = section.instances or Instances()
        self.traffic = Traffic(provider, section, pause, settling)
        self.machines = Machines(provider, section)
        self._found = Found()
        self._chosen = release.id if release is not None else ""
        self._going_back = False
        for part in release.parts if release is not None else ():
            provider.parts[part.id] = part

    def close(self) -> None:
        """End connections."""
        self.provider.close()

    def lock(self) -> AbstractContextManager[None]:
        """Hold the provider's lock of this deployment."""
        return self.provider.lock()

    def observe(self) -> There:
        """Look at everything by its marks."""
        self._found = found = self.provider.observe()
        if self.wanted is not None and found.model not in ("", self.wanted.release.model):
            raise InputError(
                f"{self.name} is the deployment of another model there: {found.model}",
                where=self.provider.place,
                fix="choose another name, or destroy that one first",
            )
        serving, steps = self.traffic.serving, dict(found.steps)
        if self.release is not None:
            paths = {each.path for each in self.provider.things}
            steps["upload"] = self._archive in paths
            steps |= dict.fromkeys(_SWAP, serving == self.release.id)
            # a swap to another release that was cut off has left both to the callers
            steps["switch"] &= self.traffic.meets_alone(self.release.id)
            steps["drain"] = serving == self.release.id and not self._to_drain(self.release.id)
        return There(
            steps=steps, serving=serving, before=self.traffic.before,
            facts={"address": self.provider.address},
        )  # fmt: skip

    @property
    def _archive(self) -> str:
        assert self.release is not None
        return f"buckets/{bucket_of(self.provider.naming)}/objects/{self.release.key}"

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve, then what is too much."""
        assert self.wanted is not None
        assert self.release is not None
        release, naming = self.release.id, self.provider.naming
        upload = _step(
            "upload", f"upload the release, {self.release.archive.stat().st_size:,} bytes",
            {"bucket": bucket_of(naming), "object": self.release.key}, (BUCKET,),
        )  # fmt: skip
        ready = (f"gcp-scaling-{release}", "upload")
        wanted = [*self.provider.steps(), upload, *self._swap(release, ready)]
        steps = [self._explained(each) for each in redone(in_order(wanted), there.steps)]
        return Plan(
            deployment=self.name, place=self.provider.place, model=self.wanted.release.model,
            version=self.wanted.release.version, release=release,
            steps=in_order([*steps, *self._too_much(release, ("drain",))]),
        )  # fmt: skip

    def _explained(self, step: Step) -> Step:
        difference = self._found.differences.get(step.id)
        if step.change == "keep" or difference is None:
            return step
        return msgspec.structs.replace(step, what=f"{step.what} (now: {difference})")

    def _swap(self, release: str, needs: tuple[str, ...], *, back: bool = False) -> list[Step]:
        about = {"release": release}
        asked = _step(
            "accept", "golden rows, gates and behaviour against it, before callers get it", about,
            ("healthy",),
        )  # fmt: skip
        return [
            _step("try", f"let the balancer look at the machines of {release}", about, needs),
            _step("healthy", f"wait until {self.size.min} of them are healthy", about, ("try",)),
            *([] if back else [asked]),
            _step("switch", f"let callers reach {release}; the one before finishes what it has",
                  about, ("healthy" if back else "accept",)),
            _step("drain", "end the machines of the release before", about, ("switch",)),
        ]  # fmt: skip

    def _too_much(self, release: str, needs: tuple[str, ...] = ()) -> list[Step]:
        """What carries the mark, is not wanted, and belongs to no release that is kept."""
        before = [each for each in (self.traffic.serving, *self.traffic.before) if each]
        kept = dict.fromkeys([release, *before])
        kept = dict.fromkeys(list(kept)[: self.section.keep])
        parts = {each.path: release_of(each.part) for each in self.provider.things}
        return [
            msgspec.structs.replace(each, needs=needs)
            for each in self._found.surplus
            if parts.get(each.document["path"]) not in kept
        ]

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve."""
        if there.serving is None:
            raise InputError("nothing is deployed there", where=self.provider.place)
        found = [each for each in there.before if release is None or each.startswith(release)]
        if not found or (release is not None and len(found) != 1):
            raise InputError(
                f"{release or 'an earlier release'} cannot be rolled back to",
                where=self.provider.place,
                fix=f"releases that are kept: {', '.join(there.before) or 'none'}",
            )
        self._chosen, self._going_back = found[0], True
        start = _step("start", f"start the machines of {found[0]}", {"release": found[0]}, ())
        return Plan(
            deployment=self.name, place=self.provider.place, model=self._found.model,
            version=found[0].partition("-")[0], release=found[0],
            steps=in_order([start, *self._swap(found[0], ("start",), back=True)]),
        )  # fmt: skip

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's mark."""
        return Plan(
            deployment=self.name, place=self.provider.place, model=self._found.model,
            version=(there.serving or "").partition("-")[0], release=there.serving or "",
            steps=in_order(self.provider.removal()),
        )  # fmt: skip

    def perform(self, step: Step) -> None:
        """Do a step."""
        own: dict[str, Callable[[], None]] = {
            "upload": self._upload, "start": lambda: self.machines.run(self._chosen, self.size),
            "try": lambda: self.traffic.point(TRIAL, [self._chosen]), "healthy": self._healthy,
            "accept": self._accept, "switch": self._switch, "drain": self._drain,
        }  # fmt: skip
        if step.id in own:
            own[step.id]()
        else:
            self.provider.perform(step)

    def _upload(self) -> None:
        assert self.release is not None
        naming = self.provider.naming
        self.provider.account.upload(
            bucket_of(naming), self.release.key, self.release.archive,
            object_marks(naming, self.release.id),
        )  # fmt: skip

    def _until(self, what: str, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise OutsideError(what, where=self.provider.place, fix="run the same again")
            time.sleep(self.traffic.pause)

    def _healthy(self) -> None:
        """Wait for the first boot of every machine that must be there."""
        release = self._chosen
        try:
            self._until(
                f"the machines of {release} do not become healthy",
                lambda: self.traffic.healthy(TRIAL, release) >= self.size.min,
                GRACE + self.section.start_seconds,
            )
        except OutsideError as error:
            raise self._reject({"error": error.what}, error.what) from None

    def _accept(self) -> None:
        """Golden rows, gates and behaviour against the release that callers do not get yet."""
        assert self.wanted is not None
        bundle, gates = self.wanted.bundle, without_latency(self.project)
        try:
            with self.traffic.trial(bundle, self.section.start_seconds) as url:
                verdict = accept(bundle, None, gates, url=url)
        except RoadworthyError as error:
            raise self._reject({"error": str(error)}, error.what) from None
        if not verdict.passed:
            reasons = "; ".join(f"{each.name}: {each.reason}" for each in verdict.stopping())
            raise self._reject(verdict, f"it does not pass: {reasons}")

    def _switch(self) -> None:
        """Both groups first, so that callers always meet one; then the new one alone."""
        release = self._chosen
        self.provider.observe()
        serving, before = self.traffic.serving, list(self.traffic.before)
        old = [serving] if serving and serving != release else []
        self.traffic.point(SERVICE, [*old, release])
        self._until(
            f"the machines of {release} are not healthy for callers",
            lambda: self.traffic.healthy(SERVICE, release) >= 1, GRACE,
        )  # fmt: skip
        time.sleep(self.traffic.settling)
        rest = [each for each in before if each != release]
        # who is gone back from goes to the end of the line
        line = [*rest, *old] if self._going_back else [*old, *rest]
        self.traffic.point(SERVICE, [release], release, line[: self.section.keep])
        if said := self.traffic.answered(self.traffic.settling + 90):
            if old:
                self.traffic.point(SERVICE, old, old[0], before)
            raise self._reject({"error": said}, f"callers are answered: {said}")
        self.traffic.point(TRIAL, [])

    def _to_drain(self, release: str) -> list[str]:
        """Releases whose machines are to end."""
        kept = {release, *self.traffic.before[: self.size.standby]}
        return [
            each for each, there in self.traffic.groups.items()
            if each not in kept and there.get("targetSize")
        ]  # fmt: skip

    def _drain(self) -> None:
        """End machines, once the balancers have let them finish what they have."""
        self.provider.observe()
        ending = self._to_drain(self._chosen)
        if ending:
            time.sleep(self.traffic.settling and self.project.serve.drain_seconds)
        for release in ending:
            self.machines.rest(release)

    def _reject(self, verdict: object, what: str) -> RoadworthyError:
        """Keep what is known of a release that failed, and let its machines end."""
        consoles = self.machines.consoles(self._chosen, most=3)
        failed = self.evidence.keep(
            self._chosen, verdict, f"{self._chosen}: {what}",
            {f"{machine}.console": text.encode() for machine, text in consoles.items()},
            [line for text in consoles.values() for line in text.splitlines()[-SHOWN_LINES:]],
        )  # fmt: skip
        self.traffic.point(TRIAL, [])
        self.machines.rest(self._chosen)
        return failed

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the mark."""
        return self.provider.tenants()

    def status(self) -> Status:
        """Who serves, and how many machines of it are healthy."""
        self._found = self.provider.observe()
        serving = self.traffic.serving
        healthy = self.traffic.healthy(SERVICE, serving) if serving else 0
        details: dict[str, Any] = {
            "address": self.provider.address, "healthy": healthy,
            "machines": {
                each: there.get("targetSize", 0) for each, there in self.traffic.groups.items()
            },
            "too much": [each.id for each in self._too_much(serving or "")],
            "failed": self.evidence.listed(), "registry": dict(self._found.registry),
        }  # fmt: skip
        return Status(
            deployment=self.name, place=self.provider.place, serving=serving, ready=healthy > 0,
            releases=(*([serving] if serving else []), *self.traffic.before), details=details,
        )  # fmt: skip

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the consoles of the machines that serve."""
        self.provider.observe()
        if (serving := self.traffic.serving) is None:
            raise InputError("nothing is deployed there", where=self.provider.place)
        return self.machines.logs(serving, lines, follow=follow, pause=self.traffic.pause)


def _step(name: str, what: str, document: dict[str, Any], needs: tuple[str, ...]) -> Step:
    return Step(id=name, what=what, change="create", document=document, needs=needs)
