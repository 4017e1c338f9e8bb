"""The target `docker`: what the engine is asked, told, and how a release is swapped in."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.docker import description as parts
from roadworthy.deploy.docker.locking import locked
from roadworthy.deploy.docker.looking import look
from roadworthy.deploy.docker.rollout import Rollout
from roadworthy.deploy.docker.tenants import tenants
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.errors import InputError
from roadworthy.image.hardening import GRACE_SECONDS

_REMOVING = {"containers": ["rm", "--force"], "volumes": ["volume", "rm"], "images": ["rmi"]}


class _Part(NamedTuple):
    """A step, and what does it."""

    step: Step
    work: Callable[[], None]


class DockerTarget:
    """Containers of an engine.

    Args:
        rollout: What does the work.
    """

    certain = True  # a container is there whole or not at all, and the rest is in the shared volume

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.names = rollout.names
        self.section = rollout.section
        self.engine = rollout.engine
        self._parts: dict[str, _Part] = {}

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the engine's lock of this deployment; one that a dead process left is taken over."""
        return locked(self.engine, self.names.lock)

    def observe(self) -> There:
        """Ask the engine what there is of the deployment."""
        return look(self.engine, self.names)

    def plan(self, there: There) -> Plan:
        """What makes the wanted release serve."""
        release = self.rollout.release
        theirs = there.facts["model"]
        if theirs not in ("", release.model):
            raise InputError(
                f"{self.names.name} is the deployment of another model, {theirs}",
                where=self.section.place,
                fix="give this deployment a name of its own, or destroy the other",
            )
        self._learn(*self._bringing(), *self._swapping(release.id, back=False), self._cleaning())
        known = there.facts["releases"].split()
        kept = release.id in known
        done = self._swapped(there, release.id) | {
            "image": kept or self.rollout.has_image(),
            "send": kept,
            "create": kept,
            "accept": release.id in there.facts["accepted"].split(),
            "proxy": there.facts["proxy"] == self.rollout.proxy_key,
            "clean": len(known) - kept < self.section.keep and not self._strays(there),
        }
        return self._plan(done, release.id, release.model, release.version)

    def _bringing(self) -> list[_Part]:
        """From the image to a release that has passed."""
        work, section = self.rollout, self.section
        release, image = work.release, work.image
        made = self.names.release(release.id)
        built = work.choice is not None and not work.choice.reference
        get = ["build", "--tag", image, "CONTEXT"] if built else ["pull", image]
        files = [each.name for each in release.files]
        port = section.public_port
        return [
            self._part("image", f"{get[0]} the image of {release.model}:{release.version[:12]}",
                       {"image": image}, work.get_image, command=get),
            self._part("send", "send the release's settings and secrets into volumes of its own",
                       {"volumes": list(work.volumes), "files": files}, work.send,
                       needs=("image",), command=parts.receiving(image, work.volumes)),
            self._part("create", f"make the container of {release.id}, with every restriction",
                       {"container": made, "arguments": work.container}, work.create,
                       needs=("send",), command=work.container),
            self._starting(release.id, needs=("create",)),
            self._part("accept", "golden rows, gates and behaviour against it, before callers "
                       "get it", {"release": release.id}, work.accept, needs=("start",),
                       command=parts.inside(made, "accepted", release.id)),
            self._part("proxy", f"let the proxy answer on {section.address}, port {port}",
                       {"container": self.names.proxy, "arguments": work.proxy_container},
                       work.proxy, needs=("accept",), command=work.proxy_container),
        ]  # fmt: skip

    def _strays(self, there: There) -> set[str]:
        """Volumes and images of releases that have no container, and are not wanted either."""
        releases = {self.rollout.release.id, *there.facts["releases"].split()}
        names = self.names
        volumes = {names.shared, names.proxy, names.logs, *map(names.release, releases)}
        images = {f"{names.repository}:{each}" for each in releases}
        found = {*there.facts["volumes"].split(), *there.facts["images"].split()}
        return found - volumes - images

    def _cleaning(self) -> _Part:
        release, keep = self.rollout.release.id, self.section.keep
        return self._part(
            "clean", f"keep {keep} releases, and remove the others", {"keep": keep},
            functools.partial(self.rollout.clean, release), needs=("drain",),
            command=parts.inside(self.names.release(release), "keep", release),
        )  # fmt: skip

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release serve."""
        if there.serving is None:
            raise InputError("nothing is deployed there", where=self.section.place)
        known = [each for each in there.before if release is None or each.startswith(release)]
        if len(known) != 1 and (release is not None or not known):
            raise InputError(
                f"{release or 'an earlier release'} cannot be rolled back to",
                where=self.section.place,
                fix=f"releases that are kept: {', '.join(there.before) or 'none'}",
            )
        chosen = known[0]
        self._learn(self._starting(chosen, needs=()), *self._swapping(chosen, back=True))
        version = chosen.partition("-")[0]
        return self._plan(self._swapped(there, chosen), chosen, there.facts["model"], version)

    def plan_destroy(self, there: There) -> Plan:
        """What takes the deployment away."""
        removed: list[_Part] = []
        for name, work in (
            ("containers", self.rollout.remove_containers),
            ("volumes", self.rollout.remove_volumes),
            ("images", self.rollout.remove_images),
        ):
            if found := there.facts[name].split():
                removed.append(
                    self._part(
                        name,
                        f"remove the {name}: {', '.join(found)}",
                        {name: found},
                        functools.partial(work, found),
                        needs=tuple(each.step.id for each in removed),
                        command=[*_REMOVING[name], *found],
                    )
                )
        self._learn(*removed)
        serving = there.serving or ""
        plan = self._plan({}, serving, there.facts["model"], serving.partition("-")[0])
        steps = tuple(msgspec.structs.replace(step, change="delete") for step in plan.steps)
        return msgspec.structs.replace(plan, steps=steps)

    def _starting(self, release: str, needs: tuple[str, ...]) -> _Part:
        made = self.names.release(release)
        return self._part(
            "start", f"start {release} beside what serves, until it is ready",
            {"container": made, "seconds": self.section.start_seconds},
            functools.partial(self.rollout.start, release), needs=needs, command=["start", made],
        )  # fmt: skip

    def _swapping(self, release: str, *, back: bool) -> list[_Part]:
        made = self.names.release(release)
        words = [release, *(["back"] if back else [])]
        return [
            self._part("switch", f"let callers reach {release}", {"to": parts.socket_of(release)},
                       functools.partial(self.rollout.switch, release, words),
                       needs=("start", "accept", "proxy"),
                       command=parts.inside(made, "switch", *words)),
            self._part("drain", "let the release before finish what it has, and end it",
                       {"keeps": made}, functools.partial(self.rollout.drain, release),
                       needs=("switch",),
                       command=["stop", f"--time={GRACE_SECONDS}", "OTHERS"]),
        ]  # fmt: skip

    def _swapped(self, there: There, release: str) -> dict[str, bool]:
        running = there.facts["running"].split()
        return {
            "start": release in running,
            "switch": there.serving == release,
            "drain": running in ([], [release]),
        }

    def _part(
        self,
        name: str,
        what: str,
        document: dict[str, Any],
        work: Callable[[], None],
        *,
        needs: tuple[str, ...] = (),
        command: Sequence[str] = (),
    ) -> _Part:
        shown = shlex.join([self.engine.name, *command])
        step = Step(
            id=name, what=what, change="create", document=document, needs=needs, command=shown
        )
        return _Part(step, work)

    def _learn(self, *made: _Part) -> None:
        self._parts = {each.step.id: each for each in made}

    def _plan(self, done: Mapping[str, bool], release: str, model: str, version: str) -> Plan:
        steps = in_order(redone([each.step for each in self._parts.values()], done))
        return Plan(
            deployment=self.names.name, place=self.section.place, model=model, version=version,
            release=release, steps=steps,
        )  # fmt: skip

    def perform(self, step: Step) -> None:
        """Do a step."""
        self._parts[step.id].work()

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment of the engine."""
        return tenants(self.engine)

    def status(self) -> Status:
        """What the engine is doing."""
        there = self.observe()
        found = self.engine.containers(self.names.label)
        serving = found.get(self.names.release(there.serving)) if there.serving else None
        state = serving["State"] if serving is not None else {}
        health = state.get("Health") or state.get("Healthcheck") or {}
        proxy = bool(there.facts["proxy"])
        return Status(
            deployment=self.names.name,
            place=self.section.place,
            serving=there.serving,
            ready=bool(state.get("Running")) and proxy,
            releases=((there.serving,) if there.serving else ()) + there.before,
            details={
                "engine": self.engine.name,
                "state": state.get("Status", ""),
                "health": health.get("Status", ""),
                "restarts": serving["RestartCount"] if serving is not None else 0,
                "proxy": "running" if proxy else "not running",
                "failed": self.rollout.evidence.listed(),
            },
        )

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the log of the release that serves."""
        serving = self.observe().serving
        if serving is None:
            return iter(())
        more = ["--follow"] if follow else []
        return self.engine.lines(["logs", f"--tail={lines}", *more, self.names.release(serving)])
