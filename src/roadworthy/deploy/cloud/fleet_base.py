"""What a fleet is made of on each cloud: what it stands on, its balancer, machines and releases."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.deploy._base import Tenant
from roadworthy.deploy.cloud.provider import Found
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.host.description import host_steps, swap_steps
from roadworthy.deploy.host.layout import Layout
from roadworthy.deploy.host.steps import HostStep, file_step
from roadworthy.deploy.plan import Step
from roadworthy.deploy.runtime import gather, parse_platform
from roadworthy.deploy.wanted import Wanted, in_memory
from roadworthy.project import CloudSection, Instances, Project, SshSection
from roadworthy.registry.opening import user_folder

PORT = 80
"""Where the machines answer the balancer."""
GRACE = 900
"""Seconds that a machine may take to boot before its health counts."""
_CONSOLE = """\
[Journal]
ForwardToConsole=yes
TTYPath=/dev/ttyS0
MaxLevelConsole=info
"""


class FleetProvider(Protocol):
    """The cloud of a fleet, as `roadworthy.deploy.cloud.provider.Provider` describes it."""

    place: str

    def steps(self) -> tuple[Step, ...]:
        """A step a part."""
        ...

    def observe(self) -> Found:
        """Look at everything by its marks."""
        ...

    def perform(self, step: Step) -> None:
        """Do a step."""
        ...

    def removal(self) -> tuple[Step, ...]:
        """What takes away everything that carries the mark."""
        ...

    def lock(self) -> AbstractContextManager[None]:
        """Keep other deployments of this name away."""
        ...

    def tenants(self) -> tuple[Tenant, ...]:
        """Every deployment that carries the mark."""
        ...

    def close(self) -> None:
        """End connections."""
        ...


class Traffic(Protocol):
    """The balancer of a fleet, as it was observed last."""

    pause: float

    @property
    def serving(self) -> str | None:
        """The release that callers get."""
        ...

    @property
    def before(self) -> tuple[str, ...]:
        """Releases that served and are there, the last one first."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Release -> how many machines it is to have."""
        ...

    @property
    def address(self) -> str:
        """Where callers reach it; empty: there is none."""
        ...

    def alone(self, release: str) -> bool:
        """Whether callers meet a release and no other."""
        ...

    def look_at(self, release: str | None) -> None:
        """Let the balancer look at the machines of a release before callers meet it; None: none."""
        ...

    def looked_at(self, release: str) -> int:
        """How many machines of the release that is looked at are healthy."""
        ...

    def healthy(self, release: str) -> int:
        """How many machines of the release that callers meet are healthy."""
        ...

    def trial(self, bundle: Bundle, seconds: float) -> AbstractContextManager[str]:
        """An address at which the tried release answers, and callers do not meet it."""
        ...


class Machines(Protocol):
    """The machines of a fleet's releases."""

    def run(self, release: str, size: Instances) -> None:
        """Start the machines of a release that rests."""
        ...

    def rest(self, release: str) -> None:
        """End the machines of a release; what makes new ones stays."""
        ...

    def consoles(self, release: str, most: int) -> dict[str, str]:
        """Machine -> what its console shows."""
        ...

    def logs(self, release: str, lines: int, *, follow: bool, pause: float) -> Iterator[str]:
        """The last lines of the consoles, and with `follow` those to come."""
        ...


class _Closable(Protocol):
    def close(self) -> None: ...


_Part = TypeVar("_Part")
_Release = TypeVar("_Release")
_Fleet = TypeVar("_Fleet", bound=_Closable)


class FleetRelease(msgspec.Struct, Generic[_Part], frozen=True, kw_only=True):
    """A release, and the parts that only it has.

    Attributes:
        id: The release's id and a digest of what its machines are made of.
        archive: What its machines fetch.
        key: Its place where archives are kept.
        parts: What makes its machines, and how many there are.
    """

    id: str
    archive: Path
    key: str
    parts: tuple[_Part, ...]


def boot_steps(
    layout: Layout, machine: str, section: CloudSection, project: Project, wanted: Wanted,
    cache: Path, beside: Sequence[HostStep], last: Sequence[HostStep] = (),
) -> list[HostStep]:  # fmt: skip
    """What a machine of a fleet carries out when it boots for the first time.

    Args:
        layout: The deployment's places.
        machine: The machine's processor, as `uname -m` says it.
        section: `[deploy.NAME]`.
        project: For `[serve]`.
        wanted: What is to be served.
        cache: Where wheels are kept.
        beside: The cloud's own steps, for right after the mark.
        last: Others of them, before the release starts.

    Raises:
        OutsideError: The wheels cannot be had.
    """
    host = SshSection(host="fleet", port=PORT, keep=1, start_seconds=section.start_seconds)
    facts = {"python": "3.11", "glibc": "2.36", "machine": machine}
    steps = host_steps(
        layout, host, project, wanted, gather(parse_platform(facts), cache), ssh_port=None,
        upgrades=section.upgrades, beside=beside,
    )  # fmt: skip
    return [*steps, *last, *swap_steps(layout, wanted.release.id, host)]


def console_step(layout: Layout) -> HostStep:
    """Show the log on the console: nobody logs in, so it goes where the cloud shows it.

    Args:
        layout: The deployment's places.
    """
    place = "/etc/systemd/journald.conf.d/roadworthy-console.conf"
    return file_step(
        "console", "show the log on the console", place, in_memory(_CONSOLE.encode()),
        layout.stamp("console"), after="systemctl restart systemd-journald", needs=("mark",),
    )  # fmt: skip


@contextlib.contextmanager
def opened(
    name: str, wanted: Wanted | None, make: Callable[[Wanted, Path], _Release],
    target: Callable[[_Release | None, Evidence], _Fleet],
) -> Iterator[_Fleet]:  # fmt: skip
    """The target of a fleet, closed at the end of the block.

    Args:
        name: The deployment.
        wanted: What is to be served; None where that is not asked, as in a rollback.
        make: Works out the release that is wanted, in a folder that lasts as long as the block.
        target: Makes the target of it.
    """
    evidence = user_folder("XDG_DATA_HOME", ".local/share") / "deployments" / "evidence" / name
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as folder:
        release = make(wanted, Path(folder)) if wanted is not None else None
        with contextlib.closing(target(release, Evidence(evidence))) as fleet:
            yield fleet
