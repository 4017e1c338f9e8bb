"""Step 4: put a model where callers reach it, look after it there, and take it away again."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from roadworthy.acceptance import resolve
from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Status, Target, Tenant
from roadworthy.deploy.cloud.terraform import write_terraform
from roadworthy.deploy.cloud_init import archive, user_data
from roadworthy.deploy.executor import Kind, Record, run
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.journal import Journal, State
from roadworthy.deploy.kubernetes.exporting import export_files
from roadworthy.deploy.opening import cache_of, open_host, open_target, wanted_of
from roadworthy.deploy.orphans import as_tenant, find_orphans
from roadworthy.deploy.plan import Plan, Step
from roadworthy.deploy.records import Records, open_records
from roadworthy.deploy.wanted import check_name, in_file
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import CloudSection, Deployment, KubernetesSection, Project, SshSection
from roadworthy.registry.opening import user_folder

Watch = Callable[[Step, State], None]
"""Told of every step when it begins and when it ends."""


def plan(project: Project, name: str, model: str | None = None) -> Plan:
    """What `apply` would do now; nothing is changed.

    Args:
        project: The project, with `[deploy.NAME]`.
        name: The deployment.
        model: What to deploy; None takes its `model`, or the newest bundle.

    Raises:
        InputError: There is no such deployment or model, or the place cannot have it.
        OutsideError: The place cannot be reached, or refuses.
    """
    bundle = _bundle(project, section_of(project, name), model)
    with _target(project, name, bundle) as target:
        return target.plan(target.observe())


def apply(
    project: Project, name: str, model: str | None = None, *, watch: Watch | None = None
) -> Plan:
    """Make a place serve a model: prepare it, swap the release in, let the old one drain.

    What is there already is left alone, so a second call does nothing, and one after a failure goes
    on where it ended. Every step is in the journal before it is done, and in the ledger.

    Args:
        project: The project, with `[deploy.NAME]`.
        name: The deployment.
        model: What to deploy; None takes its `model`, or the newest bundle.
        watch: Told of every step.

    Returns:
        The plan that was carried out.

    Raises:
        InputError: As `plan`.
        CheckFailed: The new release is damaged, does not start, or fails its gates there; callers
            still get what they got before, and the evidence is kept on the host.
        OutsideError: The place cannot be reached, or another deployment is at work.
    """
    bundle = _bundle(project, section_of(project, name), model)
    with _target(project, name, bundle) as target, open_records(project) as records:
        records.known(bundle)
        done = _run("apply", project, name, target, records, target.plan, watch)
        records.deployed(done)
    return done


def rollback(
    project: Project, name: str, release: str | None = None, *, watch: Watch | None = None
) -> Plan:
    """Make a release that is kept at the place serve again.

    Args:
        project: The project, with `[deploy.NAME]`.
        name: The deployment.
        release: First characters of the release; None: the one before.
        watch: Told of every step.

    Raises:
        InputError: No such release is kept.
        CheckFailed: It does not start; callers still get what they got before.
        OutsideError: The place cannot be reached, or another deployment is at work.
    """
    with _target(project, name, None) as target, open_records(project) as records:
        done = _run(
            "rollback", project, name, target, records,
            lambda there: target.plan_rollback(there, release), watch,
        )  # fmt: skip
        records.deployed(done)
    return done


def plan_destroy(project: Project, name: str) -> Plan:
    """What `destroy` would take away now."""
    with _target(project, name, None) as target:
        return target.plan_destroy(target.observe())


def destroy(project: Project, name: str, *, watch: Watch | None = None) -> Plan:
    """Take away everything at the place that carries the deployment's mark, and nothing else.

    Raises:
        InputError: What is there was not made by Roadworthy.
        OutsideError: The place cannot be reached, or another deployment is at work.
    """
    with _target(project, name, None) as target, open_records(project) as records:
        done = _run("destroy", project, name, target, records, target.plan_destroy, watch)
        if done.steps:
            records.retired(done)
    return done


def orphans(project: Project, name: str) -> tuple[Tenant, ...]:
    """What carries Roadworthy's mark at a deployment's place, and belongs to none that is known.

    Args:
        project: The project; its deployments and those on record in the registry are known.
        name: The deployment whose place is looked at.

    Raises:
        OutsideError: The place cannot be reached, or refuses.
    """
    with _target(project, name, None) as target, open_records(project) as records:
        place = section_of(project, name).place
        return find_orphans(target.tenants(), project, place, records.places())


def remove_orphan(project: Project, name: str, orphan: str, *, watch: Watch | None = None) -> Plan:
    """Take an orphan away, as `destroy` does with a deployment.

    Args:
        project: The project.
        name: The deployment at whose place it is.
        orphan: Its name, one of `orphans`.
        watch: Told of every step.

    Raises:
        InputError: There is no such orphan.
        OutsideError: The place cannot be reached, or another deployment is at work.
    """
    found = [each.deployment for each in orphans(project, name)]
    if orphan not in found:
        raise InputError(
            f"{orphan!r} is no orphan there",
            where=section_of(project, name).place,
            fix=f"orphans: {', '.join(found) or 'none'}",
        )
    return destroy(as_tenant(project, section_of(project, name), orphan), orphan, watch=watch)


def status(project: Project, name: str) -> Status:
    """What a deployment is doing."""
    with _target(project, name, None) as target:
        return target.status()


def serving(project: Project, name: str) -> str | None:
    """The release that callers of a deployment get; None: none."""
    with _target(project, name, None) as target:
        return target.observe().serving


def logs(project: Project, name: str, lines: int = 100, *, follow: bool = False) -> Iterator[str]:
    """The last lines of a deployment's log, and with `follow` those to come."""
    with _target(project, name, None) as target:
        yield from target.logs(lines, follow=follow)


def export(
    project: Project,
    name: str,
    model: str | None,
    address: str,
    out: str | Path,
    facts: dict[str, str],
) -> dict[str, Any]:
    """Write what makes a place serve a model that is not deployed to from here.

    For a host: user data for cloud-init, and what it fetches. For Kubernetes: manifests, a
    Kustomization, a Helm chart and KServe's documents.

    Args:
        project: The project, with `[deploy.NAME]`.
        name: The deployment.
        model: What to deploy; None takes its `model`, or the newest bundle.
        address: `https://…` under which a new host finds the written archive.
        out: Folder to write.
        facts: The host's `python`, `machine` and `glibc`.

    Returns:
        The `folder` and its `files`; of a host also `user_data` and its size in `bytes`.

    Raises:
        InputError: The address is none, or there are secrets, which user data must not hold.
    """
    section = section_of(project, name)
    if isinstance(section, KubernetesSection):
        bundle = _bundle(project, section, model)
        return {
            "folder": str(out),
            "files": export_files(name, section, project, bundle, Path(out)),
        }
    if not address.startswith(("https://", "http://")):
        raise InputError("--release-url is no address", where=address, fix="write https://…")
    if section.secrets or section.tls_key is not None:
        raise InputError(
            "user data and what it fetches must hold no secret",
            where=f"[deploy.{name}]",
            fix="leave secrets and tls_key out here, and send them with deploy apply",
        )
    if not isinstance(section, SshSection):
        raise InputError(
            "user data is written for hosts, target ssh", where=f"deploy.{name}.target"
        )
    bundle, folder = _bundle(project, section, model), Path(out)
    with open_host(project, name, section, bundle) as target:
        steps = target.steps_for(facts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            release = archive(steps, folder)
            text = user_data(
                Layout(name), in_file(release), f"{address.rstrip('/')}/{release.name}"
            )
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as draft:
                draft.write(text)
            Path(draft.name).replace(folder / "user-data")
        except OSError as error:
            raise OutsideError(
                f"the files cannot be written: {error.strerror or error}", where=str(folder)
            ) from None
    return {
        "user_data": str(folder / "user-data"),
        "bytes": len(text),
        "folder": str(folder),
        "files": [release.name],
    }


def export_terraform(project: Project, name: str, model: str | None, out: str | Path) -> Path:
    """Write what a cloud's target makes for Terraform, with the release of a fleet.

    Args:
        project: The project.
        name: The deployment.
        model: What a fleet's machines are to serve, as in `plan`.
        out: Folder to write.

    Returns:
        The document.

    Raises:
        InputError: It is no cloud's deployment, or there is no such model.
        OutsideError: The folder cannot be written, or wheels cannot be had.
    """
    section = section_of(project, name)
    fleet = isinstance(section, CloudSection) and section.fleet
    bundle = _bundle(project, section, model) if fleet else None
    with wanted_of(project, name, section, bundle) as wanted:
        release = (wanted, cache_of(project)) if wanted is not None else None
        return write_terraform(project, name, section, Path(out), release)


def section_of(project: Project, name: str) -> Deployment:
    """`[deploy.NAME]`; InputError when there is none."""
    check_name(name)
    if name not in project.deploy:
        near = difflib.get_close_matches(name, project.deploy, n=1)
        known = ", ".join(sorted(project.deploy)) or "none"
        raise InputError(
            f"there is no deployment {name!r}",
            where=f"[deploy.{name}]",
            fix=f"did you mean {near[0]!r}?" if near else f"deployments of the project: {known}",
        )
    return project.deploy[name]


def bundle_of(project: Project, name: str, model: str | None) -> Bundle:
    """What a deployment is to serve; raises as `plan`."""
    return _bundle(project, section_of(project, name), model)


def _bundle(project: Project, section: Deployment, model: str | None) -> Bundle:
    return resolve(model or section.model, project)


@contextlib.contextmanager
def _target(project: Project, name: str, bundle: Bundle | None) -> Iterator[Target]:
    with open_target(project, name, section_of(project, name), bundle) as target:
        yield target


def _run(
    kind: Kind,
    project: Project,
    name: str,
    target: Target,
    records: Records,
    make_plan: Callable[..., Plan],
    watch: Watch | None,
) -> Plan:
    def record(plan: Plan, step: Step, kind: Kind, state: State, error: str) -> None:
        if watch is not None:
            watch(step, state)
        records.step(plan, step, kind, state, error)

    noted: Record = record
    return run(kind, target, _journal(project, name), noted, make_plan)


def _journal(project: Project, name: str) -> Journal:
    place = project.deploy[name].place
    key = hashlib.sha256(place.encode()).hexdigest()[:8]
    folder = user_folder("XDG_DATA_HOME", ".local/share") / "deployments"
    return Journal(folder / f"{name}-{key}.jsonl")
