"""What deployments leave in the registry: versions, steps in the ledger, places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection

from roadworthy.bundle import Bundle
from roadworthy.deploy.executor import Kind
from roadworthy.deploy.journal import State
from roadworthy.deploy.plan import Plan, Step
from roadworthy.errors import InputError
from roadworthy.project import Project
from roadworthy.registry import ledger
from roadworthy.registry.opening import open_registry
from roadworthy.registry.references import Reference
from roadworthy.registry.registering import register
from roadworthy.registry.registry import Registry


class Records:
    """A deployment's entries.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def step(self, plan: Plan, step: Step, kind: Kind, state: State, error: str) -> None:
        """Write down that a step begins or ended."""
        details = {"run": kind, "step": step.id, "state": state, "release": plan.release}
        if error:
            details["error"] = error

        def work(connection: Connection, operation: str) -> None:
            ledger.append(
                connection, "step", plan.model, plan.version,
                operation=operation, place=_place(plan), details=details,
            )  # fmt: skip

        self.registry.change(work)

    def known(self, bundle: Bundle) -> None:
        """Register what is about to be deployed, so that it can always be gone back to."""
        register(self.registry, Path(bundle.path))

    def deployed(self, plan: Plan) -> None:
        """Write down which version a place now runs; once, however often it is applied."""
        reference = Reference(plan.model, plan.version)
        with contextlib.suppress(InputError):  # rolled back to a version of another registry
            if _place(plan) not in self.registry.find(reference).targets:
                self.registry.record_deployment(reference, _place(plan), verdict="pass")

    def places(self) -> list[str]:
        """Every place that runs something, by the records: `DEPLOYMENT on PLACE`."""
        return [place for each in self.registry.versions() for place in each.targets]

    def retired(self, plan: Plan) -> None:
        """Write down that a place runs nothing any more."""
        with contextlib.suppress(InputError):  # it was deployed with another registry
            self.registry.retire(plan.model, _place(plan))


@contextlib.contextmanager
def open_records(project: Project) -> Iterator[Records]:
    """The records, in the project's registry; raises as `open_registry`."""
    with open_registry(project) as registry:
        yield Records(registry)


def _place(plan: Plan) -> str:
    return f"{plan.deployment} on {plan.place}"
