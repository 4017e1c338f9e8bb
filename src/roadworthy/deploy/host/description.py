"""Every step of a host, from the packages to the swap: what SSH and user data both carry out."""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.deploy.host import preparing, releasing
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.runtime import Runtime
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import Project, SshSection


def host_steps(
    layout: Layout,
    section: SshSection,
    project: Project,
    wanted: Wanted,
    runtime: Runtime,
    *,
    ports: Sequence[int],
    upgrades: bool,
) -> list[HostStep]:
    """What makes a host ready and brings a release onto it, without starting it."""
    release = wanted.release
    return [
        *preparing.base_steps(layout, section, release.model, upgrades=upgrades),
        *preparing.runtime_steps(layout, runtime),
        *preparing.service_steps(layout, section, project.serve.drain_seconds),
        *preparing.proxy_steps(layout, section, wanted.certificate),
        *(preparing.firewall_steps(layout, ports) if ports else []),
        *releasing.release_steps(layout, release, runtime.id),
    ]


def swap_steps(layout: Layout, release: str, section: SshSection) -> list[HostStep]:
    """What brings a release in front of callers."""
    asked = HostStep(
        id="accept",
        what="golden rows, gates and behaviour against it, before callers get it",
        script="true",
        stamp=f"{layout.release(release)}/done/accept",
        document={"release": release},
        needs=("start",),
    )
    return [
        releasing.start_step(layout, release, section),
        asked,
        releasing.switch_step(layout, release, section),
        releasing.drain_step(layout, release),
        releasing.clean_step(layout, release, section.keep),
    ]
