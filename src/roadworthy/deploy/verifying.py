"""Whether a place does what is expected of it: as it is now, or rehearsed with a throw-away.

A rehearsal is what shows a target on an account or a host of yours: a deployment with a name that
nobody has is planned, applied, applied again, swapped, rolled back and destroyed. Whatever happens
on the way, it is destroyed at the end, and looked for after that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from roadworthy.acceptance import accept
from roadworthy.deploy import deploying
from roadworthy.deploy.deploying import Watch
from roadworthy.deploy.orphans import REHEARSAL, as_tenant
from roadworthy.errors import CheckFailed, RoadworthyError
from roadworthy.project import CloudSection, Deployment, KubernetesSection, Project

_PLAIN = ("domain", "acme_directory", "acme_root", "acme_email", "tls_certificate", "tls_key")


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        name: What.
        passed: Whether it is as expected.
        said: What was found.
        seconds: How long it took.
    """

    name: str
    passed: bool
    said: str
    seconds: float


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """All that was looked at.

    Attributes:
        deployment: The deployment; of a rehearsal the throw-away's name.
        place: Where.
        checks: In order.
        left: What of a rehearsal could not be taken away; empty: nothing.
    """

    deployment: str
    place: str
    checks: tuple[Checked, ...]
    left: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything is as expected, and nothing was left."""
        return all(each.passed for each in self.checks) and not self.left


Told = Callable[[Checked], None]
"""Told of every check when it is over."""


def verify(
    project: Project, name: str, model: str | None = None, *, url: str | None = None, told: Told
) -> Verification:
    """Whether a deployment is as wanted, serves the version, and answers; nothing is changed.

    Args:
        project: The project.
        name: The deployment.
        model: What it should serve; None takes its `model`, or the newest bundle.
        url: Address that callers use, to ask the golden rows and gates there; None: not asked.
        told: Told of every check.

    Raises:
        InputError: There is no such deployment or model.
    """
    bundle = deploying.bundle_of(project, name, model)

    def as_wanted() -> str:
        changes = [step.id for step in deploying.plan(project, name, model).changes]
        return _expected(not changes, "nothing to do", f"apply would do: {', '.join(changes)}")

    def serves() -> str:
        return _serves(project, name, bundle.manifest.short_version)

    def answers() -> str:
        verdict = accept(bundle, None, project, url=url)
        stopping = "; ".join(f"{each.name}: {each.reason}" for each in verdict.stopping())
        return _expected(verdict.passed, f"{len(verdict.checks)} checks hold", stopping)

    work = {"as wanted": as_wanted, "serves": serves}
    checks = tuple(_checked(work | ({"answers": answers} if url else {}), told))
    return Verification(deployment=name, place=project.deploy[name].place, checks=checks)


def rehearse(
    project: Project,
    name: str,
    model: str | None = None,
    *,
    port: int,
    told: Told,
    watch: Watch | None = None,
) -> Verification:
    """Rehearse a deployment's whole life at its place, under another name, and take it away.

    Args:
        project: The project.
        name: The deployment whose section says where and how.
        model: What to deploy.
        port: The public port of the throw-away; it speaks plain HTTP.
        told: Told of every check.
        watch: Told of every step.

    Raises:
        InputError: There is no such deployment or model.
    """
    bundle = deploying.bundle_of(project, name, model)
    place, tenant = deploying.section_of(project, name).place, f"{REHEARSAL}{uuid.uuid4().hex[:8]}"
    trial = as_tenant(project, _plain(deploying.section_of(project, name), port), tenant)
    version = bundle.manifest.short_version
    other = trial.override("serve", max_rows=trial.serve.max_rows + 1)

    def planned() -> str:
        found = deploying.plan(trial, tenant, model)
        price = "".join(f", about {v:.2f} {k} a month" for k, v in found.monthly.items())
        return _expected(bool(found.changes), f"{len(found.changes)} steps{price}", "no steps")

    def applied() -> str:
        return f"{len(deploying.apply(trial, tenant, model, watch=watch).changes)} steps"

    def again() -> str:
        changes = [e.id for e in deploying.apply(trial, tenant, model, watch=watch).changes]
        return _expected(not changes, "nothing to do", f"done again: {', '.join(changes)}")

    def swapped() -> str:
        deploying.apply(other, tenant, model, watch=watch)
        return _serves(trial, tenant, version)

    def rolled_back() -> str:
        if len(deploying.status(trial, tenant).releases) < 2:
            return "there is only one release to serve"
        deploying.rollback(trial, tenant, watch=watch)
        return _serves(trial, tenant, version)

    def serves() -> str:
        return _serves(trial, tenant, version)

    work = {"plan": planned, "apply": applied, "serves": serves, "apply again": again,
            "swap": swapped, "roll back": rolled_back}  # fmt: skip
    checks: list[Checked] = []
    try:
        checks += _checked(work, told)
    finally:
        last, left = _taken_away(project, name, trial, tenant, told, watch)
    return Verification(deployment=tenant, place=place, checks=(*checks, last), left=left)


def _taken_away(
    project: Project, name: str, trial: Project, tenant: str, told: Told, watch: Watch | None
) -> tuple[Checked, tuple[str, ...]]:
    """Destroy a throw-away, and say what is left of it."""
    left: tuple[str, ...] = (f"roadworthy deploy orphans --to {name} --remove {tenant}",)

    def gone() -> str:
        nonlocal left
        done = deploying.destroy(trial, tenant, watch=watch)
        rest = [step.what for step in deploying.plan_destroy(trial, tenant).changes]
        said = _expected(not rest, f"{len(done.steps)} steps", f"left: {'; '.join(rest)}")
        left = ()
        return said

    (last,) = _checked({"destroy": gone}, told)
    return last, left


def _checked(work: dict[str, Callable[[], str]], told: Told) -> Iterator[Checked]:
    """Do one after the other, to the first that fails."""
    for name, do in work.items():
        began = time.monotonic()
        try:
            said, passed = do(), True
        except RoadworthyError as error:
            said, passed = str(error), False
        checked = Checked(
            name=name, passed=passed, said=said, seconds=round(time.monotonic() - began, 1)
        )
        told(checked)
        yield checked
        if not passed:
            return


def _expected(good: bool, said: str, otherwise: str) -> str:
    if not good:
        raise CheckFailed(otherwise)
    return said


def _serves(project: Project, name: str, version: str) -> str:
    found = deploying.status(project, name)
    serving = found.serving or "nothing"
    good = found.ready and serving.startswith(version)
    return _expected(good, serving, f"it serves {serving}, ready: {found.ready}, not {version}")


def _plain(section: Deployment, port: int) -> Deployment:
    """A section for a throw-away: no name, no certificate, nobody who is told."""
    if isinstance(section, KubernetesSection):
        return section
    change: dict[str, Any] = {**dict.fromkeys(_PLAIN), "port": port}
    if isinstance(section, CloudSection):
        change["notify"] = ()
    return msgspec.structs.replace(section, **change)
