"""What builds, runs and pushes images: one file an engine, behind one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from roadworthy.errors import OutsideError
from roadworthy.image.context import Context


class Image(NamedTuple):
    """An image that was built.

    Attributes:
        reference: Its name and tag, or the folder of its OCI layout.
        id: The digest of its configuration: what the engine calls it.
        size: Bytes of its layers, uncompressed.
    """

    reference: str
    id: str
    size: int


class Engine(Protocol):
    """Something that builds images."""

    name: str

    def trouble(self) -> str | None:
        """Why this engine cannot be used now; None when it can."""

    def pin(self, base: str) -> str:
        """The base image with its digest, when that can be known; raises OutsideError."""

    def build(self, context: Context, tag: str, *, replace: bool) -> Image:
        """Build an image; raises OutsideError, and InputError when the tag is another model's."""

    def push(self, reference: str) -> str:
        """Push an image; returns its digest there; raises OutsideError."""


def find_engine(wanted: str, layout: Path | None = None) -> Engine:
    """The engine to use.

    Args:
        wanted: `docker`, `podman`, `buildah`, `none`, or `auto` for the first that answers.
        layout: Where `none` writes its OCI layout.

    Raises:
        OutsideError: It is not here, or does not answer.
    """
    from roadworthy.image.engines.buildah import Buildah
    from roadworthy.image.engines.docker import Docker, Podman
    from roadworthy.image.engines.none import NoEngine

    if wanted == "none":
        return NoEngine(layout or Path("image"))
    known: dict[str, Engine] = {"docker": Docker(), "podman": Podman(), "buildah": Buildah()}
    asked = list(known.values()) if wanted == "auto" else [known[wanted]]
    troubles = []
    for engine in asked:
        trouble = engine.trouble()
        if trouble is None:
            return engine
        troubles.append(f"{engine.name}: {trouble}")
    raise OutsideError(
        f"no container engine can be used ({'; '.join(troubles)})",
        fix="install and start docker, podman or buildah (Debian: apt-get install docker.io), "
        "or build without one: --engine none",
    )
