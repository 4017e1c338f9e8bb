"""The runtime that a host gets: wheels of the serving set, each pinned by its SHA-256.

The wheels are gathered here, for the host's Python and machine, and sent: the host needs no package
index and no compiler. Versions are those that run here, which the parity check and the gates saw.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import msgspec

import roadworthy
from roadworthy.bundle.requirements import Package, installed, requirements_text
from roadworthy.errors import InputError, OutsideError

_MACHINES = ("x86_64", "aarch64")
_EXTRAS = ("jwt", "zstd")
_EPOCH = (2020, 1, 1, 0, 0, 0)
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
        InputError: No wheels are made for it, or its Python is too old.
    """
    machine, python = facts.get("machine", ""), facts.get("python", "")
    glibc = re.fullmatch(r"2\.(\d+)", facts.get("glibc", ""))
    if machine not in _MACHINES or glibc is None:
        raise InputError(
            f"a host of the kind {machine or 'unknown'} with glibc {facts.get('glibc') or 'none'} "
            "cannot be deployed to",
            where=facts.get("system"),
            fix=f"use a host with glibc of the kind {' or '.join(_MACHINES)}",
        )
    if not re.fullmatch(r"3\.1[1-3]", python):
        raise InputError(
            f"the host has Python {python or 'none'}, and 3.11, 3.12 or 3.13 is needed",
            where=facts.get("system"),
            fix="install one of them as python3.11, python3.12 or python3.13",
        )
    return Platform(python, machine, int(glibc[1]))


def gather(platform: Platform, cache: Path) -> Runtime:
    """The serving set of this environment as wheels for a platform.

    Args:
        platform: For what.
        cache: Where wheels are kept from one deployment to the next.

    Raises:
        OutsideError: There is no pip, or the package index is out of reach or lacks a wheel.
    """
    packages = {name: each for name, each in installed(_EXTRAS).items() if name != "roadworthy"}
    text = requirements_text(packages, "What serves a model")
    pins = "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"
    key = hashlib.sha256(repr((platform, pins)).encode()).hexdigest()[:16]
    folder = cache / "wheels" / key
    if not folder.is_dir():
        _download(platform, pins, packages, folder)
    wheels = sorted(folder.glob("*.whl"))
    own = own_wheel(cache / "wheels")
    lines = [_pinned(wheel) for wheel in [*wheels, own]]
    return Runtime(platform, "\n".join(sorted(lines)) + "\n", (*wheels, own))


def own_wheel(folder: Path) -> Path:
    """Roadworthy as it is installed here, as a wheel; the same files give the same bytes.

    It is made from the installed files, so that a checkout is deployed like a release.
    """
    source = Path(roadworthy.__path__[0])
    distribution = importlib.metadata.distribution("roadworthy")
    info = f"roadworthy-{distribution.version}.dist-info"
    files = {
        f"roadworthy/{path.relative_to(source).as_posix()}": path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{info}/METADATA"] = (distribution.read_text("METADATA") or "").encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: roadworthy\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    record = f"{info}/RECORD"
    rows = [f"{name},sha256={_encoded(data)},{len(data)}" for name, data in files.items()]
    files[record] = ("\n".join([*rows, f"{record},,"]) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"roadworthy-{distribution.version}-py3-none-any.whl"
    with (
        tempfile.NamedTemporaryFile(dir=folder, prefix=".draft-", delete=False) as draft,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    Path(draft.name).replace(target)
    return target


def _download(platform: Platform, pins: str, packages: Mapping[str, Package], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        listed = draft / "requirements.txt"
        listed.write_text(pins)
        command = [*_pip(), "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
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
        if len(list(draft.glob("*.whl"))) != len(packages):
            raise OutsideError("the package index gave other files than wheels", where=str(draft))
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


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
