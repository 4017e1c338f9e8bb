"""`[deploy.NAME]` with `target = "docker"`: containers of this machine's engine."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from roadworthy.project._range import Range
from roadworthy.project.deploy import DeploySection

_IMAGE = re.compile(r"[A-Za-z0-9][\w./:@\[\]-]*")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NETWORK = re.compile(r"[A-Za-z0-9][\w.-]*")


class DockerSection(
    DeploySection, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="docker"
):
    """`target = "docker"`: containers on the engine that `docker` or `podman` speaks to.

    Attributes:
        engine: `docker`, `podman`, or `auto` for the first that answers.
        image: The model's image: a name of this engine, or a repository with a tag or digest;
            None: the one that was last pushed of the version, or else one that is built here.
        address: The address of this machine that callers use.
        network: A network that releases join, to call out; None: they have none at all.
        memory_mb: Memory of a release, in MiB; there is no swap beyond it.
        cpus: Processors of a release; None: all.
        proxy_image: An image with Caddy, which holds the public port.
        name: What the containers are called by; None: by the deployment's name. Destinations that
            share an engine need names of their own.
    """

    engine: Literal["auto", "docker", "podman"] = "auto"
    image: str | None = None
    address: str = "127.0.0.1"
    network: str | None = None
    memory_mb: int = 512
    cpus: float | None = None
    proxy_image: str = "docker.io/library/caddy:2"
    name: str | None = None

    @property
    def place(self) -> str:
        """The engine."""
        called = f", as {self.name}" if self.name is not None else ""
        return f"this machine, engine {self.engine}{called}"

    def ranges(self) -> list[Range]:
        """What values are allowed, for messages."""
        image = self.image is None or bool(_IMAGE.fullmatch(self.image))
        network = self.network is None or bool(_NETWORK.fullmatch(self.network))
        named = self.name is None or bool(_NAME.fullmatch(self.name))
        return [
            *super().ranges(),
            Range(named, "name", "lower-case letters, digits and dashes, a letter first"),
            Range(image, "image", "a name, or a repository with a tag or digest"),
            Range(_is_address(self.address), "address", "an IP address of this machine"),
            Range(network, "network", "the name of a network of the engine"),
            Range(self.memory_mb >= 64, "memory_mb", "64 or more"),
            Range(self.cpus is None or 0 < self.cpus <= 1024, "cpus", "above 0, at most 1024"),
            Range(bool(_IMAGE.fullmatch(self.proxy_image)), "proxy_image", "an image's name"),
        ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
