"""Every step of a host, from the packages to the swap: what SSH and user data both carry out."""

from __future__ import annotations

from collections.abc import Sequence

from roadworthy.deploy.host import preparing, releasing
from roadworthy.deploy.host.firewall import agent_step, firewall_step
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep
from roadworthy.deploy.runtime import Runtime
from roadworthy.deploy.wanted import Wanted
from roadworthy.project import DeploySection, Project, SshSection


def host_steps(
    layout: Layout,
    section: SshSection,
    project: Project,
    wanted: Wanted,
    runtime: Runtime,
    *,
    ssh_port: int | None,
    upgrades: bool,
    beside: Sequence[HostStep] = (),
) -> list[HostStep]:
    """What makes a host ready and brings a release onto it, without starting it.

    Args:
        layout: The places.
        section: `[deploy.NAME]`, as of a host.
        project: For `[serve]`.
        wanted: What is to be served.
        runtime: Python and its wheels.
        ssh_port: Where SSH listens; None: nobody logs in.
        upgrades: Whether security updates come by themselves.
        beside: Steps of the cloud that the host is in, for right after the mark.
    """
    release = wanted.release
    mark, *base = preparing.base_steps(layout, section, release.model, upgrades=upgrades)
    return [
        mark,
        *beside,
        *base,
        *preparing.runtime_steps(layout, runtime),
        *preparing.service_steps(layout, section, project.serve.drain_seconds),
        *preparing.proxy_steps(layout, section, wanted.certificate, wanted.authority),
        *(_reachable(layout, section, ssh_port) if section.firewall else []),
        *releasing.release_steps(layout, release, runtime.id),
    ]


def _reachable(layout: Layout, section: SshSection, ssh_port: int | None) -> list[HostStep]:
    networks = section.metrics_from
    opened = firewall_step(layout, ssh_port, public_ports(section), networks)
    return [opened, agent_step(layout)] if networks else [opened]


def public_ports(section: DeploySection) -> list[int]:
    """What callers use; with a domain also the port of its plain requests."""
    return sorted({section.public_port, *([80] if section.domain is not None else [])})


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
