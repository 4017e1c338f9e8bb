"""Build a bundle's image: context, engine, image."""

from __future__ import annotations

import tempfile
from pathlib import Path

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError
from roadworthy.image.context import Context, write_context
from roadworthy.image.engines import Engine, Image
from roadworthy.image.names import check_tag
from roadworthy.project import Project


def build(
    bundle: Bundle, tag: str, project: Project, engine: Engine, *, replace: bool = False
) -> Image:
    """Build the image of a bundle.

    Args:
        bundle: The bundle, opened and so verified.
        tag: Name and tag of the image.
        project: `[image]`, `[serve]`, `[registry] trusted_keys`.
        engine: What builds, from `find_engine`.
        replace: Whether a tag, or a folder, that is another's may be taken over.

    Raises:
        InputError: The tag is no name for an image, or another's.
        OutsideError: The engine, a registry or an index failed; nothing is tagged then.
    """
    name = check_tag(tag)
    base = engine.pin(_plain(project.image.base))
    with tempfile.TemporaryDirectory(prefix="roadworthy-image-") as scratch:
        context = write_context(bundle, project, Path(scratch, "context"), base)
        return engine.build(context, name, replace=replace)


def write_only(bundle: Bundle, project: Project, folder: Path) -> Context:
    """Write the Dockerfile and all it needs, and build nothing.

    Args:
        bundle: The bundle, opened and so verified.
        project: As for `build`.
        folder: A new folder, or one that this wrote before.
    """
    return write_context(bundle, project, folder, _plain(project.image.base))


def _plain(base: str) -> str:
    """The base's name, which becomes a line of the Dockerfile."""
    if base != base.strip() or any(not part.isprintable() or part.isspace() for part in base):
        raise InputError(f"{base!r} is no name for an image", where="image.base")
    return base
