"""The target of a fleet: a group of machines for each release; the listener says who serves.

The new release's group starts beside the old one and must become healthy; golden rows, gates and
behaviour are asked of it through a rule that only who names that very version meets; then the
listener's weights change, and the old group's machines finish what they have and end.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.aws.call import call
from roadworthy.deploy.aws.fleet.evidence import gather
from roadworthy.deploy.aws.fleet.kinds import FLEET
from roadworthy.deploy.aws.fleet.releases import (
    ARCHIVE,
    TRIAL,
    FleetRelease,
    group_of,
    release_of,
)
from roadworthy.deploy.aws.fleet.steps import SWAP, own_steps, start_step, swap_steps
from roadworthy.deploy.aws.fleet.traffic import Traffic
from roadworthy.deploy.aws.fleet.wanted import BUCKET
from roadworthy.deploy.aws.kind import Thing
from roadworthy.deploy.aws.provider import AwsProvider
from roadworthy.deploy.aws.registry import registry_of
from roadworthy.deploy.aws.telling import log_group_of
from roadworthy.deploy.cloud.fleet_base import GRACE
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.deploy.tunnel import version_at, without_latency
from roadworthy.deploy.wanted import Wanted
from roadworthy.errors import InputError, OutsideError, RoadworthyError
from roadworthy.project import AwsSection, Instances, Project

_HOUR_MS = 3_600_000


class FleetTarget:
    """A fleet.

    Args:
        provider: What it stands on; it also makes the parts of the release.
        project: For `[gates]`, `[behaviour]` and `[serve]`.
        section: `[deploy.NAME]`.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        release: The same as a fleet has it.
        evidence: Where what failed is kept.
    """

    certain = True  # by the tags, and by what the listener says

    def __init__(self, provider: AwsProvider, project: Project, section: AwsSection,
                 wanted: Wanted | None, release: FleetRelease | None, evidence: Evidence
                 ) -> None:  # fmt: skip
        self.provider = provider
        self.account = provider.account
        self.project = project
        self.section = section
        self.wanted = wanted
        self.release = release
        self.name = provider.naming.deployment
        self.size = section.instances or Instances()
        self.traffic = Traffic(provider)
        self.evidence = evidence
        self._rollback = ""
        for part in release.parts if release else ():
            provider.parts[part.id] = part

    def close(self) -> None:
        """End connections."""
        self.provider.close()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the provider's lock of this deployment."""
        with self.provider.lock():
            yield

    def observe(self) -> There:
        """Look at everything by its tags."""
        found = self.provider.observe()
        if self.wanted is not None and found.model not in ("", self.wanted.release.model):
            raise InputError(
                f"{self.name} is the deployment of another model there: {found.model}",
                where=self.provider.place,
                fix="choose another name, or destroy that one first",
            )
        steps = dict(found.steps)
        self._differences, self._model = found.differences, found.model
        if self.release is not None:
            steps |= self._done(self.release)
        return There(
            steps=steps, serving=self.traffic.serving, before=tuple(self.traffic.before),
            facts=found.facts,
        )  # fmt: skip

    def _done(self, release: FleetRelease) -> dict[str, bool]:
        """Which of the steps that are no parts were done."""
        things = {(kind, each.id): each for kind, each in self.provider.seen}
        bucket = next((each for kind, each in self.provider.seen if kind == "bucket"), None)
        serves = self.traffic.serving == release.id
        return {
            "upload": bucket is not None and release.key in bucket.there["keys"],
            "secret": ("secret", release.secret) in things,
            **dict.fromkeys(SWAP, serves),
            "drain": serves and not self._to_drain(release.id),
            "clean": serves and not self._to_clean(release.id),
        }

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve."""
        assert self.wanted is not None
        assert self.release is not None
        release, serves = self.release, there.serving == self.release.id
        wanted = [each for each in self.provider.steps() if not (serves and each.id == TRIAL)]
        steps = redone(in_order([*wanted, *own_steps(release, self.section)]), there.steps)
        surplus = [self.provider.removal_of(kind, each) for kind, each in self._surplus()]
        return Plan(
            deployment=self.name, place=self.provider.place, model=self.wanted.release.model,
            version=self.wanted.release.version, release=release.id,
            steps=in_order([*(self._explained(each) for each in steps), *surplus]),
        )  # fmt: skip

    def _explained(self, step: Step) -> Step:
        difference = self._differences.get(step.id)
        if step.change == "keep" or difference is None:
            return step
        return msgspec.structs.replace(step, what=f"{step.what} (now: {difference})")

    def _surplus(self) -> list[tuple[str, Thing]]:
        """What carries the tag, belongs to no release, and is not wanted."""
        parts, known = self.provider.parts, self.provider.known
        return [
            (kind, each) for kind, each in self.provider.seen
            if kind != "secret" and release_of(each.part) is None
            and (each.part not in parts or known[each.part] != each.id)
        ]  # fmt: skip

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
        self._rollback = chosen = found[0]
        start = start_step(chosen)
        swap = [each for each in swap_steps(chosen, self.section, ("start",)) if each.id not in
                ("accept", "clean")]  # fmt: skip
        return Plan(
            deployment=self.name, place=self.provider.place, model=self._model,
            version=chosen.partition("-")[0], release=chosen, steps=in_order([start, *swap]),
        )  # fmt: skip

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's tag."""
        return Plan(
            deployment=self.name, place=self.provider.place, model=self._model,
            version=(there.serving or "").partition("-")[0], release=there.serving or "",
            steps=in_order(self.provider.removal()),
        )  # fmt: skip

    def perform(self, step: Step) -> None:
        """Do a step."""
        if step.id.startswith("aws-"):
            self.provider.perform(step)
            return
        release = self._rollback or (self.release.id if self.release else "")
        own: dict[str, Callable[[], None]] = {
            "upload": self._upload, "secret": self._keep_secret,
            "start": lambda: self._start(release), "healthy": lambda: self._healthy(release),
            "accept": self._accept, "switch": lambda: self._switch(release),
            "drain": lambda: self._drain(release), "clean": lambda: self._clean(release),
        }  # fmt: skip
        own[step.id]()

    def _upload(self) -> None:
        assert self.release is not None
        self.account.upload(self.provider.known[BUCKET], self.release.key, self.release.archive)

    def _keep_secret(self) -> None:
        assert self.release is not None
        assert self.wanted is not None
        value = b"".join(self.wanted.release.secrets.parts()).decode()
        self.provider.repeat(  # the name holds a digest of the values, so they are the same
            call("secretsmanager", "CreateSecret", ("ResourceExistsException",),
                 Name=self.release.secret, SecretString=value,
                 Tags=self.provider.naming.tags("aws-secret"))
        )  # fmt: skip

    def _start(self, release: str) -> None:
        """Its machines, and its place at the listener: without one they have no health."""
        weights = self.traffic.weights
        if release not in weights:
            self.traffic.forward(weights | {release: 0})
        self._resize(release, self.size.min, self.size.max)

    def _resize(self, release: str, low: int, high: int) -> None:
        self.provider.repeat(
            call("autoscaling", "UpdateAutoScalingGroup", MinSize=low, MaxSize=high,
                 AutoScalingGroupName=self.provider.known[group_of(release)],
                 DesiredCapacity=low)
        )  # fmt: skip

    def _healthy(self, release: str) -> None:
        """Wait for the first boot of every machine that must be there."""
        try:
            self.account.until(
                f"the machines of {release} do not become healthy",
                lambda: self.traffic.healthy(release) >= self.size.min,
                GRACE + self.section.start_seconds,
            )
        except OutsideError as error:
            raise self._reject(release, {"error": error.what}, error.what) from None

    def _accept(self) -> None:
        """Golden rows, gates and behaviour against the release that callers do not get yet."""
        assert self.wanted is not None
        assert self.release is not None
        bundle, gates = self.wanted.bundle, without_latency(self.project)
        try:
            with self.traffic.way_in(self.section) as url:
                verdict = accept(bundle, None, gates, url=version_at(url, bundle))
        except RoadworthyError as error:
            raise self._reject(self.release.id, {"error": str(error)}, error.what) from None
        if not verdict.passed:
            reasons = "; ".join(f"{each.name}: {each.reason}" for each in verdict.stopping())
            raise self._reject(self.release.id, verdict, f"it does not pass: {reasons}")

    def _switch(self, release: str) -> None:
        """Change the weights; when callers are then not answered, change them back."""
        before, now = self.traffic.weights, datetime.datetime.now(datetime.UTC)
        serving = self.traffic.serving
        self.traffic.mark(release, f"{now:%Y-%m-%dT%H:%M:%SZ}")
        if self._rollback and serving is not None:  # it goes to the end of the line
            self.traffic.mark(serving, f"0 {now:%Y-%m-%dT%H:%M:%SZ}")
        self.traffic.forward(dict.fromkeys(before, 0) | {release: 100})
        said = self.traffic.answered(self.section)
        if said:
            if any(before.values()):
                self.traffic.forward(before | {release: 0})
            else:
                self.traffic.turn_away()
            raise self._reject(release, {"error": said}, f"callers are answered: {said}")

    def _to_drain(self, release: str) -> list[str]:
        """Releases whose machines are to end."""
        running = {
            release_of(each.part): each.there for kind, each in self.provider.seen
            if kind == "group"
        }  # fmt: skip
        kept = {release, *self.traffic.before[: self.size.standby]}
        listed = set(self.traffic.weights) - kept
        return [each for each, there in running.items()
                if each and each not in kept and (there["MaxSize"] or each in listed)]  # fmt: skip

    def _drain(self, release: str) -> None:
        """End machines; the balancer first lets each of them finish what it has."""
        self.provider.observe()
        ending = self._to_drain(release)
        for each in ending:
            self._resize(each, 0, 0)
        for each in ending:
            self.account.until(
                f"the machines of {each} do not end", functools.partial(self._idle, each)
            )
        kept = {each: weight for each, weight in self.traffic.weights.items() if each not in ending}
        self.traffic.forward(kept)

    def _idle(self, release: str) -> bool:
        asked = call("autoscaling", "DescribeAutoScalingGroups",
                     AutoScalingGroupNames=[self.provider.known[group_of(release)]])  # fmt: skip
        groups = self.account.call(asked).get("AutoScalingGroups") or []
        # a machine stays in its group until the balancer has let go of it, and it has ended
        return not any(each.get("Instances") for each in groups)

    def _kept(self, release: str) -> set[str]:
        return {release, *self.traffic.before[: self.section.keep - 1]}

    def _to_clean(self, release: str) -> list[tuple[str, Thing]]:
        """What belongs to releases that are not kept, and the rule of the trial."""
        kept = self._kept(release)
        sources = {each.rpartition("-")[0] for each in kept}
        return [
            (kind, each) for kind, each in self.provider.seen
            if (release_of(each.part) or release) not in kept
            or (kind == "secret" and each.id.rpartition("/")[2] not in sources)
            or each.part == TRIAL
        ]  # fmt: skip

    def _clean(self, release: str) -> None:
        self.provider.observe()
        order = list(FLEET)
        for kind, each in sorted(self._to_clean(release), key=lambda one: order.index(one[0])):
            self.provider.perform(self.provider.removal_of(kind, each))
        self.provider.observe()
        used = {each.tags.get(ARCHIVE) for kind, each in self.provider.seen if kind == "template"}
        bucket = next(each for kind, each in self.provider.seen if kind == "bucket")
        unused = [{"Key": key} for key in bucket.there["keys"]
                  if key.startswith("releases/") and Path(key).stem not in used]  # fmt: skip
        if unused:
            self.provider.repeat(call("s3", "DeleteObjects", Bucket=bucket.id,
                                      Delete={"Objects": unused, "Quiet": True}))  # fmt: skip

    def _reject(self, release: str, verdict: object, what: str) -> RoadworthyError:
        """Keep what is known of a release that failed, and take its machines away."""
        group, log = self.provider.known[group_of(release)], log_group_of(self.provider.naming)
        said = gather(self.account, group, log)
        failed = self.evidence.keep(release, verdict, f"{release}: {what}", *said)
        if self._rollback:
            return failed
        self.provider.observe()
        for kind, each in self.provider.seen:
            if each.part in (TRIAL, group_of(release)):
                self.provider.perform(self.provider.removal_of(kind, each))
        return failed

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment of the region that carries the tag."""
        return self.provider.tenants()

    def status(self) -> Status:
        """Who serves, and how many machines of it are healthy."""
        self.provider.observe()
        serving = self.traffic.serving
        healthy = self.traffic.healthy(serving) if serving else 0
        machines = {
            str(release_of(each.part)): f"{len(each.there.get('Instances') or ())} of "
            f"{each.there['MinSize']} to {each.there['MaxSize']}"
            for kind, each in self.provider.seen if kind == "group"
        }  # fmt: skip
        details: dict[str, Any] = {
            "address": self.traffic.address, "healthy": healthy, "machines": machines,
            "too much": [f"{kind} {each.id}" for kind, each in self._surplus()],
            "failed": self.evidence.listed(), "registry": registry_of(self.provider.seen),
            **self.provider.ci,
        }  # fmt: skip
        return Status(
            deployment=self.name, place=self.provider.place, serving=serving, ready=healthy > 0,
            releases=tuple([serving] if serving else []) + tuple(self.traffic.before),
            details=details,
        )  # fmt: skip

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the machines' logs."""
        group, since = log_group_of(self.provider.naming), int(time.time() * 1000) - _HOUR_MS
        shown: set[str] = set()
        while True:
            asked = call("logs", "FilterLogEvents", ("ResourceNotFoundException",),
                         logGroupName=group, startTime=since)  # fmt: skip
            events = self.account.call(asked).get("events") or []
            new = [each for each in events if each["eventId"] not in shown]
            for each in new if shown else new[-lines:]:
                yield f"{each['logStreamName']} {str(each['message']).rstrip()}"
            shown = {each["eventId"] for each in events}
            if not follow:
                return
            time.sleep(2)
