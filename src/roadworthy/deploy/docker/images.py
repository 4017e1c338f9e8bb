"""The image of a release: which one, and how it gets onto the engine, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

import roadworthy
from roadworthy.bundle import Bundle
from roadworthy.deploy.docker.engine import Engine
from roadworthy.errors import InputError, OutsideError
from roadworthy.image.building import build
from roadworthy.image.registry_client import Registry, parse_place
from roadworthy.image.signing import verify_image
from roadworthy.project import DockerSection, Project


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a release is to run from.

    Attributes:
        reference: What the engine is asked for; empty: it is built here.
        digest: Its digest in a registry; None: it is in none.
        key: The same for the same image.
    """

    reference: str
    digest: str | None
    key: str


def choose(
    section: DockerSection, project: Project, pushed: Callable[[], str | None], engine: Engine
) -> Choice:
    """The image to use: the one that is named, the one that was pushed, or one to build.

    Args:
        section: `[deploy.NAME]`.
        project: For `[image]`.
        pushed: Repository and digest of the version's image, if it was ever pushed.
        engine: For images that only it has.

    Raises:
        InputError: There is no image of that name.
        OutsideError: The registry cannot be reached.
    """
    named = section.image or pushed()
    if named is None:
        recipe = (roadworthy.__version__, msgspec.json.encode(project.image))
        return Choice(reference="", digest=None, key=repr(recipe))
    if "@" in named:
        return Choice(reference=named, digest=named.partition("@")[2], key=named)
    first = named.partition("/")[0]
    here = engine.image(named) if first == "localhost" else None  # what Podman calls its own
    if here is None and "/" in named and ("." in first or ":" in first or first == "localhost"):
        place = parse_place(named)
        found = Registry(place).manifest(place.reference)
        if found is None:
            raise InputError("there is no such image in the registry", where=named)
        pinned = f"{place.host}/{place.repository}@{found[0]}"
        return Choice(reference=pinned, digest=found[0], key=pinned)
    here = here or engine.image(named)
    if here is None:
        raise InputError(
            "the engine has no such image",
            where=named,
            fix="build it, or name its registry, like registry.example/team/churn:1",
        )
    return Choice(reference=here["Id"], digest=None, key=here["Id"])


def provide(choice: Choice, tag: str, bundle: Bundle, project: Project, engine: Engine) -> None:
    """Have the image on the engine: built, or verified and pulled.

    Raises:
        InputError: It is another model's image.
        CheckFailed: Keys are trusted, and none of them signed it.
        OutsideError: The registry or the engine refused.
    """
    keys = project.registry.trusted_keys
    if not choice.reference:
        build(bundle, tag, project, engine.builder, replace=True)
        return
    if keys and choice.digest is None:
        raise InputError(
            "an image of no registry has no signature, and keys are trusted",
            where=choice.reference,
            fix="roadworthy image push, or leave image out",
        )
    if keys and choice.digest is not None:
        verify_image(parse_place(choice.reference), choice.digest, keys)
    if engine.image(choice.reference) is None:
        engine.run("pull", choice.reference)
    _check(choice.reference, bundle, project, engine)


def is_there(image: str, bundle: Bundle, engine: Engine) -> bool:
    """Whether the engine has an image of a bundle's version."""
    found = engine.image(image)
    return found is not None and _labels(found).get("roadworthy.version") == bundle.version


def settings_key(section: DockerSection, choice: Choice) -> str:
    """Digits for all that makes a container other than the release's own files."""
    return digits((choice.key, section.memory_mb, section.cpus, section.network))


def digits(parts: object) -> str:
    """Digits for plain data, the same for the same."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _check(reference: str, bundle: Bundle, project: Project, engine: Engine) -> None:
    found = engine.image(reference)
    if found is None:
        raise OutsideError("the engine has no image after the pull", where=reference)
    if _labels(found).get("roadworthy.version") != bundle.version:
        raise InputError(
            "the image is not one of this version of the model",
            where=reference,
            fix=f"build the image of {bundle.manifest.short_version}, or leave image out",
        )
    variables = (found.get("Config") or {}).get("Env") or ()
    inside = any(each.startswith("ROADWORTHY_MODEL=") for each in variables)
    if project.image.model == "inside" and not inside:
        raise InputError(
            "the image has no model inside", where=reference, fix='[image] model = "mounted"'
        )


def _labels(found: dict[str, object]) -> dict[str, str]:
    config = found.get("Config")
    labels = (config.get("Labels") if isinstance(config, dict) else None) or found.get("Labels")
    return labels if isinstance(labels, dict) else {}
