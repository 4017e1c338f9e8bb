"""The one place that does what plans say: locked, journalled, step by step, and resumable."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal

import msgspec

from roadworthy.deploy._base import Target, There
from roadworthy.deploy.journal import Journal, State
from roadworthy.deploy.plan import Plan, Step
from roadworthy.errors import RoadworthyError

Kind = Literal["apply", "rollback", "destroy"]
Record = Callable[[Plan, Step, Kind, State, str], None]
"""Called when a step begins and when it ends: the ledger, and what people see."""


def run(
    kind: Kind,
    target: Target,
    journal: Journal,
    record: Record,
    make_plan: Callable[[There], Plan],
) -> Plan:
    """Look, plan and do, while nobody else may.

    When a step fails the run ends there; what was done stays done, and the same call later goes on
    where it ended. A step that was begun and never seen to end is done again, unless the
    target is certain of what it has.

    Args:
        kind: What kind of run.
        target: The place.
        journal: Its journal.
        record: Told of every step.
        make_plan: The plan, from what is there.

    Returns:
        The plan, as it was carried out.

    Raises:
        RoadworthyError: A step failed, or another run is at work.
    """
    with target.lock():
        plan = make_plan(target.observe())
        if not target.certain:
            plan = _again(plan, journal.unfinished(kind))
        operation = uuid.uuid4().hex
        for step in plan.changes:
            _do(kind, operation, plan, step, target, journal, record)
    return plan


def _again(plan: Plan, unfinished: set[str]) -> Plan:
    steps = tuple(
        msgspec.structs.replace(step, change="create")
        if step.change == "keep" and step.id in unfinished
        else step
        for step in plan.steps
    )
    return msgspec.structs.replace(plan, steps=steps)


def _do(
    kind: Kind,
    operation: str,
    plan: Plan,
    step: Step,
    target: Target,
    journal: Journal,
    record: Record,
) -> None:
    journal.write(operation, kind, step.id, "begun")
    record(plan, step, kind, "begun", "")
    try:
        target.perform(step)
    except BaseException as error:
        what = error.what if isinstance(error, RoadworthyError) else type(error).__name__
        journal.write(operation, kind, step.id, "failed", what)
        record(plan, step, kind, "failed", what)
        raise
    journal.write(operation, kind, step.id, "done")
    record(plan, step, kind, "done", "")
