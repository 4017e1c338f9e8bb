"""The build context: everything that an image is made of, in one folder.

Only what is written here can get into the image; it is the same for every engine.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.errors import InputError, OutsideError
from roadworthy.image.dockerfile import HOME, MODEL, dockerfile
from roadworthy.image.locks import requirements
from roadworthy.image.sbom import DRAFT, contents
from roadworthy.image.secrets import mounted
from roadworthy.image.settings import settings_text
from roadworthy.image.wheel import own_wheel
from roadworthy.project import Project, ServeSection

_IGNORED = "Dockerfile\n.dockerignore\n"
_HERE = ("host", "port", "canary", "shadow")
"""Keys of `[serve]` that are decided where the container runs."""


class Context(NamedTuple):
    """A build context.

    Attributes:
        folder: Where it lies.
        labels: The image's labels.
        epoch: Seconds since 1970 that stand for the time of everything in it.
        model: What `ROADWORTHY_MODEL` says in the image; empty when a model is to be mounted.
        base: The base image, as the engine is to find it.
    """

    folder: Path
    labels: dict[str, str]
    epoch: int
    model: str
    base: str


def write_context(bundle: Bundle, project: Project, folder: Path, base: str) -> Context:
    """Write the build context of a bundle's image.

    Args:
        bundle: The verified bundle.
        project: `[image]`, `[serve]`, and `[registry] trusted_keys`.
        folder: A new or empty folder, or one that was written before.
        base: The base image as it stands in the Dockerfile.

    Raises:
        InputError: The folder holds something else, a key cannot be read, or the bundle has no
            core.
        OutsideError: The folder cannot be written.
    """
    if not bundle.has_core:
        raise InputError(
            "the bundle has no core: its image would have to run the estimator itself",
            where=str(bundle.path),
            fix="roadworthy serve it where it may run, or package an estimator of docs/formats.md",
        )
    labels, epoch = _labels(bundle, project, base), moment(bundle)
    model = _model(bundle, project)
    _check_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        draft.chmod(0o755)
        name, wheel = own_wheel()
        keys = _keys(project)
        (draft / "keys").mkdir()
        for key, content in keys.items():
            (draft / "keys" / key).write_bytes(content)
        (draft / "keys" / "README").write_text("Public keys that bundles are verified with.\n")
        (draft / name).write_bytes(wheel)
        (draft / DRAFT).write_bytes(contents(bundle.manifest, base))
        (draft / "requirements.txt").write_text(requirements(_extras(project)))
        shutil.copyfile(Path(__file__).parent / "probe.py", draft / "probe.py")
        (draft / "roadworthy.toml").write_text(_settings(project.serve, sorted(keys)))
        (draft / ".dockerignore").write_text(_IGNORED)
        (draft / "Dockerfile").write_text(dockerfile(base, labels, model))
        if model == MODEL:
            _copy(Path(bundle.path), draft / "model")
        _settle(draft, epoch)
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
    except OSError as error:
        raise OutsideError(
            f"the build context cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return Context(folder, labels, epoch, model, base)


def moment(bundle: Bundle) -> int:
    """SOURCE_DATE_EPOCH, or else when the bundle was made: not the clock, so builds are equal."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told:
        if not told.isdecimal():
            raise InputError("SOURCE_DATE_EPOCH is not a number of seconds", where=told)
        return int(told)
    return int(datetime.datetime.fromisoformat(bundle.manifest.created).timestamp())


def _model(bundle: Bundle, project: Project) -> str:
    """Where the server finds its model: in the image, in the registry, or where it is mounted."""
    manifest = bundle.manifest
    fetched = f"{manifest.name}:{manifest.version}"
    return {"inside": MODEL, "fetched": fetched, "mounted": ""}[project.image.model]


def _extras(project: Project) -> tuple[str, ...]:
    """What is installed besides the server: who fetches needs the registry's libraries."""
    more = ("registry",) if project.image.model == "fetched" else ()
    return tuple(dict.fromkeys((*project.image.extras, *more)))


def _labels(bundle: Bundle, project: Project, base: str) -> dict[str, str]:
    manifest, options = bundle.manifest, project.image
    created = datetime.datetime.fromtimestamp(moment(bundle), datetime.UTC)
    prefix = "org.opencontainers.image"
    name, _, digest = base.partition("@")
    labels = {
        f"{prefix}.title": manifest.name,
        f"{prefix}.description": f"Predicts {bundle.contract.target.name} over HTTP",
        f"{prefix}.version": manifest.short_version,
        f"{prefix}.created": created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        f"{prefix}.base.name": name,
        "roadworthy.model": manifest.name,
        "roadworthy.version": manifest.version,
    }
    more = {
        f"{prefix}.base.digest": digest,
        f"{prefix}.revision": manifest.lineage.get("commit", ""),
        f"{prefix}.source": options.source or "",
        f"{prefix}.licenses": options.licence or "",
    }
    return labels | {key: text for key, text in more.items() if text}


def _check_folder(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "probe.py").is_file():
        raise InputError(
            "the folder holds something else", where=str(folder), fix="name a new folder"
        )


def _keys(project: Project) -> dict[str, bytes]:
    keys = {}
    for place, reference in enumerate(project.registry.trusted_keys):
        file = Path(reference)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(
                f"the trusted key cannot be read: {error.strerror}", where=reference
            ) from None
        if b"PRIVATE KEY" in content:
            raise InputError(
                "a trusted key is a public key, this is a private one", where=reference
            )
        keys[f"{place}-{file.name}"] = content
    return keys


def _settings(serve: ServeSection, keys: list[str]) -> str:
    """The project file of the image: what differs from the defaults, and the trusted keys."""
    usual = ServeSection()
    changed: dict[str, Any] = {
        field.name: value
        for field in msgspec.structs.fields(serve)
        if field.name not in _HERE
        and (value := getattr(serve, field.name)) != getattr(usual, field.name)
    }
    changed |= mounted(serve)
    trusted = [f"{HOME}/keys/{name}" for name in keys]
    told = settings_text({"serve": changed, "registry": {"trusted_keys": trusted} if keys else {}})
    return f"# What this image serves with. Variables ROADWORTHY_SECTION_KEY come first.\n{told}"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
        return
    target.mkdir()
    shutil.copyfile(source, target / source.name)


def _settle(folder: Path, epoch: int) -> None:
    """Give everything the same time and plain rights: neither is to make a difference."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))
