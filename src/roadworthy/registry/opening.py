"""Open the registry that a project names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadworthy.project import Project
from roadworthy.registry.catalogue import Catalogue
from roadworthy.registry.registry import Registry
from roadworthy.registry.stores import open_store


@contextmanager
def open_registry(project: Project, *, create: bool = True) -> Iterator[Registry]:
    """The registry of `[registry]`; by default embedded in the user's data folder.

    Args:
        project: The project.
        create: Whether an embedded catalogue may be made where there is none.

    Raises:
        InputError: There is none, or it is newer than this Roadworthy.
        OutsideError: It is out of reach.
    """
    section = project.registry
    home = user_folder("XDG_DATA_HOME", ".local/share")
    catalogue = Catalogue(section.url or f"sqlite:///{home / 'catalogue.db'}", create=create)
    try:
        store = open_store(section.store or str(home / "blobs"))
        cache = Path(section.cache) if section.cache else user_folder("XDG_CACHE_HOME", ".cache")
        yield Registry(catalogue, store, cache, section.trusted_keys, section.recipients)
    finally:
        catalogue.close()


def user_folder(variable: str, default: str) -> Path:
    """Roadworthy's folder in the one that a variable of the XDG specification names."""
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / default) / "roadworthy"
