"""The runtime that a host gets: wheels of the serving set, each pinned by its SHA-256.

The wheels are gathered here, for the host's Python and machine, and sent: the host needs no package
index and no compiler. Versions and digests are those of the container image.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from roadworthy.errors import OutsideError, UnfitError
from roadworthy.image.locks import requirements
from roadworthy.image.wheel import own_wheel

_MACHINES = ("x86_64", "aarch64")
_EXTRAS = ("jwt", "zstd")
_GLIBC_OLDEST = 17


class Platform(msgspec.Struct, frozen=True):
    """What wheels are for: `3.11`, `x86_64`, minor version of glibc 2."""

    python: str
    machine: str
    glibc: int


class Runtime(msgspec.Struct, frozen=True):
    """Wheels, and the `requirements.txt` that pins each of them."""

    platform: Platform
    requirements: str
    wheels: tuple[Path, ...]

    @property
    def id(self) -> str:
        """The same wheels for the same Python have the same id."""
        text = f"{self.platform.python}\n{self.platform.machine}\n{self.requirements}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse_platform(facts: Mapping[str, str]) -> Platform:
    """The platform that a host says it is.

    Raises:
        UnfitError: No wheels are made for it, or its Python is too old.
    """
    machine, python = facts.get("machine", ""), facts.get("python", "")
    glibc = re.fullmatch(r"2\.(\d+)", facts.get("glibc", ""))
    if machine not in _MACHINES or glibc is None:
        raise UnfitError(
            f"a host of the kind {machine or 'unknown'} with glibc {facts.get('glibc') or 'none'} "
            "cannot be deployed to",
            where=facts.get("system"),
            fix=f"use a host with glibc of the kind {' or '.join(_MACHINES)}",
        )
    if not re.fullmatch(r"3\.1[1-3]", python):
        raise UnfitError(
            f"the host has Python {python or 'none'}, and 3.11, 3.12 or 3.13 is needed",
            where=facts.get("system"),
            fix="install one of them as python3.11, python3.12 or python3.13",
        )
    return Platform(python, machine, int(glibc[1]))


def gather(platform: Platform, cache: Path) -> Runtime:
    """The serving set as wheels for a platform.

    Args:
        platform: For what.
        cache: Where wheels are kept from one deployment to the next.

    Raises:
        OutsideError: There is no pip, or the package index is out of reach or lacks a wheel.
    """
    pins = requirements(_EXTRAS)
    key = hashlib.sha256(repr((platform, pins)).encode()).hexdigest()[:16]
    folder = cache / "wheels" / key
    if not folder.is_dir():
        _download(platform, pins, folder)
    wheels = sorted(folder.glob("*.whl"))
    own = _own(cache / "wheels")
    lines = [_pinned(wheel) for wheel in [*wheels, own]]
    return Runtime(platform, "\n".join(sorted(lines)) + "\n", (*wheels, own))


def _own(cache: Path) -> Path:
    """Our own wheel, in a folder of its digest: another installation may share the cache."""
    name, content = own_wheel()
    folder = cache / f"own-{hashlib.sha256(content).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".draft-", delete=False) as draft:
        draft.write(content)
    Path(draft.name).replace(folder / name)
    return folder / name


def _download(platform: Platform, pins: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        listed = draft / "requirements.txt"
        listed.write_text(pins)
        command = [
            *_pip(),
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
        ]
        command += ["--only-binary", ":all:", "--implementation", "cp"]
        command += ["--python-version", platform.python, "--dest", str(draft)]
        for tag in _tags(platform):
            command += ["--platform", tag]
        done = subprocess.run(
            [*command, "-r", str(listed)], capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            raise OutsideError(
                f"the wheels of the runtime cannot be had: {(said or ['pip failed'])[-1]}",
                where=f"Python {platform.python}, {platform.machine}, glibc 2.{platform.glibc}",
                fix="look at the package index that pip is set up with, then run the same again",
            )
        listed.unlink()
        if not folder.is_dir():
            draft.rename(folder)
    except OSError as error:
        raise OutsideError(
            f"the wheels cannot be kept: {error.strerror or error}", where=str(folder.parent)
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _tags(platform: Platform) -> list[str]:
    minors = range(platform.glibc, _GLIBC_OLDEST - 1, -1)
    return [
        *(f"manylinux_2_{minor}_{platform.machine}" for minor in minors),
        f"manylinux2014_{platform.machine}",
    ]


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise OutsideError("there is no pip, which fetches the runtime's wheels", fix="install pip")


def _pinned(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{digest}"
