"""Open the target `docker`: the engine, the image, and the release as containers get it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.deploy.docker.description import LOGS, Names
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.images import Choice, choose, settings_key
from roadworthy.deploy.docker.rollout import Rollout
from roadworthy.deploy.docker.target import DockerTarget
from roadworthy.deploy.evidence import Evidence
from roadworthy.deploy.host.service import BUNDLES
from roadworthy.deploy.wanted import (
    Release,
    Wanted,
    check_authority,
    check_certificate,
    make_release,
)
from roadworthy.image.pushing import image_of
from roadworthy.project import DockerSection, Project
from roadworthy.registry import resolve as find
from roadworthy.registry.opening import open_registry, user_folder


@contextlib.contextmanager
def open_docker(
    project: Project, name: str, section: DockerSection, bundle: Bundle | None
) -> Iterator[DockerTarget]:
    """Containers of this machine's engine; the arguments are those of `open_target`."""
    engine = Engine(section.engine)
    folder = user_folder("XDG_DATA_HOME", ".local/share") / "deployments" / "evidence"
    names = Names(section.name or name)
    evidence = Evidence(folder / f"{names.name}-{engine.name}")
    if bundle is None:
        yield DockerTarget(Rollout(names, section, project, engine, evidence))
        return
    choice = choose(section, project, lambda: _pushed(project, bundle), engine)
    with tempfile.TemporaryDirectory(prefix="roadworthy-") as scratch:
        made = make_release(
            bundle,
            project,
            section,
            Path(scratch),
            LOGS,
            lambda reference: find(reference, project),
        )
        release = _in_container(made, section, project, choice)
        wanted = Wanted(release, bundle, check_certificate(section), check_authority(section))
        yield DockerTarget(Rollout(names, section, project, engine, evidence, wanted, choice))


def _pushed(project: Project, bundle: Bundle) -> str | None:
    with open_registry(project) as registry:
        return image_of(registry, bundle.manifest.name, bundle.version)


def _in_container(
    made: Release, section: DockerSection, project: Project, choice: Choice
) -> Release:
    """A release without what the image brings, and named for the image, too."""
    inside = project.image.model == "inside"
    files = tuple(each for each in made.files if not (inside and each.name in BUNDLES))
    version, _, settings = made.id.partition("-")
    key = settings_key(section, choice)
    name = f"{version}-{int(settings, 16) ^ int(key[:8], 16):08x}"
    return msgspec.structs.replace(made, id=name, files=files)
