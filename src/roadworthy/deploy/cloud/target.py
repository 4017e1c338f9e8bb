"""The target of every cloud: first its infrastructure, then the machine as any host."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from roadworthy.deploy._base import Status, Tenant, There
from roadworthy.deploy.cloud.provider import Found, Machine, Provider
from roadworthy.deploy.plan import Plan, Step, in_order, redone
from roadworthy.deploy.ssh.target import SshTarget
from roadworthy.errors import InputError, OutsideError

REACH = "reach"
"""Id of the step between infrastructure and host."""
_PAUSE = 5.0


class CloudTarget:
    """A cloud's provider, and the host that it made.

    Args:
        name: The deployment's name.
        provider: The cloud.
        open_host: Opens the target on a machine; of one without an address, to plan only.
        model: Name of the model; None where that is not asked, as in a rollback.
        patience: How long a new machine may take until SSH answers, in seconds.
    """

    certain = True  # by the tags, and by the stamps on the host

    def __init__(
        self,
        name: str,
        provider: Provider,
        open_host: Callable[[Machine], SshTarget],
        model: str | None,
        patience: float = 900.0,
    ) -> None:
        self.name = name
        self.provider = provider
        self.open_host = open_host
        self.model = model
        self.patience = patience
        self._found = Found()
        self._host: SshTarget | None = None
        self._live = False
        self._failure: OutsideError | None = None

    def close(self) -> None:
        """End all connections."""
        self._leave()
        self.provider.close()

    def _leave(self) -> None:
        if self._host is not None:
            self._host.close()
        self._host, self._live = None, False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the provider's lock of this deployment."""
        with self.provider.lock():
            yield

    def observe(self) -> There:
        """Look at the infrastructure by its tags, then ask the host, when it is there."""
        self._found = found = self.provider.observe()
        if self.model is not None and found.model not in ("", self.model):
            raise InputError(
                f"{self.name} is the deployment of another model there: {found.model}",
                where=self.provider.place,
                fix="choose another name, or destroy that one first",
            )
        there = self._ask(found)
        steps = {**there.steps, **found.steps}
        return msgspec.structs.replace(there, steps=steps, facts={**there.facts, **found.facts})

    def _ask(self, found: Found) -> There:
        """What the host says; when it cannot be asked yet, what is known of its image."""
        self._leave()
        machine = found.machine
        if machine is not None and machine.pinned:
            try:
                self._host = self.open_host(machine)
                there = self._host.observe()
                self._live = True
            except OutsideError as error:
                self._failure = error
                self._leave()
            else:
                return msgspec.structs.replace(there, steps={**there.steps, REACH: True})
        self._host = self.open_host(self.provider.image())
        return self._host.suppose(self.provider.image().facts)

    def plan(self, there: There) -> Plan:
        """Infrastructure, the way to the machine, the host's own steps, then what is too much."""
        assert self._host is not None
        wanted = self.provider.steps()
        if not self._live and self._failure and all(there.steps.get(each.id) for each in wanted):
            raise self._failure  # nothing of the infrastructure explains it
        planned = self._host.plan(there)
        reach = Step(
            id=REACH,
            what="wait until the machine answers, by the host key that the cloud knows",
            change="create",
            needs=tuple(each.id for each in wanted),
        )
        infrastructure = redone(in_order([*wanted, reach]), there.steps)
        infrastructure = tuple(self._explained(each) for each in infrastructure)
        later = tuple(
            msgspec.structs.replace(each, needs=(*each.needs, REACH)) for each in planned.steps
        )
        steps = (*infrastructure, *later, *self._found.surplus)
        return msgspec.structs.replace(planned, place=self.provider.place, steps=in_order(steps))

    def _explained(self, step: Step) -> Step:
        difference = self._found.differences.get(step.id)
        if step.change == "keep" or difference is None:
            return step
        return msgspec.structs.replace(step, what=f"{step.what} (now: {difference})")

    def plan_rollback(self, there: There, release: str | None) -> Plan:
        """What makes an earlier release on the machine serve."""
        if self._found.machine is None:
            raise InputError("nothing is deployed there", where=self.provider.place)
        if not self._live:
            raise self._failure or OutsideError(
                "the machine was never reached", where=self.provider.place, fix="run deploy apply"
            )
        assert self._host is not None
        found = self._host.plan_rollback(there, release)
        return msgspec.structs.replace(found, place=self.provider.place)

    def plan_destroy(self, there: There) -> Plan:
        """What takes away everything that carries the deployment's tag."""
        return Plan(
            deployment=self.name,
            place=self.provider.place,
            model=self._found.model,
            version=(there.serving or "").partition("-")[0],
            release=there.serving or "",
            steps=in_order(self.provider.removal()),
        )

    def perform(self, step: Step) -> None:
        """Do a step, in the cloud or on the machine."""
        if step.id == REACH:
            self._reach()
        elif step.id.startswith(f"{self.provider.name}-"):
            self.provider.perform(step)
            self._live = False  # the machine may have been started anew
        else:
            self._on_host(step)

    def _reach(self) -> None:
        """Wait for the machine's host keys, then for SSH, then for the end of its first boot."""
        end = time.monotonic() + self.patience
        while True:
            machine = self.provider.observe().machine
            try:
                if machine is None or not machine.host_keys:
                    raise OutsideError("the machine has not said its host keys yet")
                self._connect(machine)
                break
            except OutsideError as error:
                if time.monotonic() > end:
                    raise OutsideError(
                        f"the machine does not answer: {error.what}",
                        where=self.provider.place,
                        fix="look at its console, ssh_from and identity; then run the same again",
                    ) from None
            time.sleep(_PAUSE)
        self.provider.pin(machine.host_keys)

    def _connect(self, machine: Machine) -> None:
        host = self.open_host(machine)
        try:
            host.connection.ask("! command -v cloud-init || cloud-init status --wait || true")
            host.observe()
        except BaseException:
            host.close()
            raise
        expected = set(self._host.step_ids) if self._host is not None else set()
        self._leave()
        self._host, self._live = host, True
        if expected and expected != set(host.step_ids):
            self.provider.pin(machine.host_keys)
            raise InputError(
                "the machine is of another kind than its image says",
                where=self.provider.place,
                fix="run the same again: what it is has been seen now",
            )

    def _on_host(self, step: Step) -> None:
        if not self._live:
            self._reach()
        assert self._host is not None
        self._host.perform(step)

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the tag."""
        return self.provider.tenants()

    def status(self) -> Status:
        """What the machine is doing, and the cloud says of it."""
        self._found = found = self.provider.observe()
        details: dict[str, Any] = dict(found.facts)
        details["too much"] = [each.id for each in found.surplus]
        if found.registry:
            details["registry"] = dict(found.registry)
        nothing = Status(
            deployment=self.name, place=self.provider.place, serving=None, ready=False,
            releases=(), details=details,
        )  # fmt: skip
        if found.machine is None or not found.machine.pinned:
            return nothing
        details["address"] = found.machine.address
        self._host = self.open_host(found.machine)
        try:
            said = self._host.status()
        except OutsideError as error:
            return msgspec.structs.replace(nothing, details=details | {"host": str(error.what)})
        return msgspec.structs.replace(
            said, place=self.provider.place, details=details | said.details
        )

    def logs(self, lines: int, *, follow: bool) -> Iterator[str]:
        """The last lines of the releases' log on the machine."""
        machine = self.provider.observe().machine
        if machine is None or not machine.pinned:
            raise InputError("nothing is deployed there", where=self.provider.place)
        self._host = self.open_host(machine)
        return self._host.logs(lines, follow=follow)
