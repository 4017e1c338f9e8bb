"""Follow names and aliases: a symbolic link for each, led anew when another version is meant.

A server follows the link and never has to know the registry, its database or its credentials.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.errors import RoadworthyError
from roadworthy.registry.references import is_path, parse_reference, resolve

if TYPE_CHECKING:
    from roadworthy.project import Project

log = logging.getLogger("roadworthy.registry")


def moves(text: str) -> bool:
    """Whether what a reference names can come to be another version."""
    return not is_path(text) and parse_reference(text).version is None


@contextlib.contextmanager
def followed(texts: Sequence[str], project: Project, seconds: float) -> Iterator[list[Path]]:
    """Bundles of references, and links to those that can move, kept up to date meanwhile.

    A version is fetched and verified before its link leads there. While the registry is out of
    reach links stay as they are.

    Args:
        texts: Paths and references.
        project: For `[registry]`.
        seconds: Between two looks.

    Yields:
        A path for each.

    Raises:
        RoadworthyError: As `resolve` at the first look.
    """
    with tempfile.TemporaryDirectory(prefix="roadworthy-links-") as folder:
        links = {}
        paths = []
        for number, text in enumerate(texts):
            path = resolve(text, project)
            if moves(text):
                links[text] = link = Path(folder) / str(number)
                link.symlink_to(path.absolute())
                path = link
            paths.append(path)
        ended = threading.Event()
        looking = threading.Thread(target=_look, args=(links, project, seconds, ended), daemon=True)
        if links:
            looking.start()
        try:
            yield paths
        finally:
            ended.set()
            if links:
                looking.join(seconds + 10.0)


def _look(links: dict[str, Path], project: Project, seconds: float, ended: threading.Event) -> None:
    said: dict[str, str] = {}
    known: dict[str, str] = {}
    while not ended.wait(seconds):
        for text, link in links.items():
            try:
                if (version := _version(text, project)) != known.get(text):
                    _lead(link, resolve(text, project).absolute())
                    known[text] = version
                said.pop(text, None)
            except (RoadworthyError, OSError) as error:
                if said.get(text) != str(error):
                    log.error("%s stays the version that it is: %s", text, error)
                    said[text] = str(error)


def _version(text: str, project: Project) -> str:
    from roadworthy.registry.opening import open_registry

    with open_registry(project, create=False) as registry:
        return registry.find(parse_reference(text)).version


def _lead(link: Path, path: Path) -> None:
    if link.readlink() == path:
        return
    draft = link.with_name(f"{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(path)
    os.replace(draft, link)
