"""What trained a model and what serves it: exact versions, hashed where that can be had."""

from __future__ import annotations

import email.parser
import functools
import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement

_ROOT = "roadworthy"
SERVING: tuple[str, ...] = ()
TRAINING: tuple[str, ...] = ("train", "boost")
"""Extras of Roadworthy that a server and a training have."""


class Package(NamedTuple):
    """One installed distribution.

    Attributes:
        name: Its normalised name.
        version: As installed.
        needs: Normalised names of the installed distributions it needs.
        license: An SPDX expression or a licence's name; empty when it says none.
        hashes: SHA-256 of its published files, from `uv.lock`; empty when unknown.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    license: str
    hashes: tuple[str, ...]


def installed(extras: Iterable[str], lock: Path | None = None) -> dict[str, Package]:
    """Roadworthy and everything it needs here, by name.

    Args:
        extras: Extras of Roadworthy to follow; one that is not installed adds nothing.
        lock: A `uv.lock`; None takes the one beside this environment, if there is one.

    Returns:
        Name -> package, sorted.
    """
    hashes = _locked(Path(sys.prefix).parent / "uv.lock" if lock is None else lock)
    found: dict[str, Package] = {}
    waiting = [(_ROOT, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        metadata = _metadata(name)
        if metadata is None:
            continue  # needed by an extra that is not installed
        needs = _needs(metadata.get_all("Requires-Dist") or (), wanted)
        before = found[name].needs if name in found else ()
        here = {need for need, _ in needs if _metadata(need) is not None}
        found[name] = Package(
            name,
            metadata["Version"],
            tuple(sorted({*before, *here})),
            license_of(metadata),
            hashes.get((name, metadata["Version"]), ()),
        )
        fresh = [need for need in needs if need not in seen]
        seen.update(fresh)
        waiting += fresh
    return dict(sorted(found.items()))


def requirements_text(packages: Mapping[str, Package], what: str) -> str:
    """A `requirements.txt`: exact versions, with hashes when every package has them.

    pip refuses a file in which only some lines have hashes, so it is all or none; Roadworthy
    itself, when it runs from a source tree, is then named in a comment.

    Args:
        packages: From `installed`.
        what: What the environment is for.
    """
    others = [each for name, each in packages.items() if name != _ROOT]
    lacking = [each.name for each in others if not each.hashes]
    lines = [f"# {what}: Python {platform.python_version()}, {platform.system()} "
             f"{platform.machine()}"]  # fmt: skip
    own = packages.get(_ROOT)
    if lacking:
        known = "no uv.lock beside the environment knows them" if len(lacking) == len(others) else (
            f"uv.lock does not know {', '.join(lacking)}"
        )  # fmt: skip
        lines.append(f"# Without hashes: {known}.")
        lines += [f"{each.name}=={each.version}" for each in packages.values()]
        return "\n".join(lines) + "\n"
    if own is not None and not own.hashes:
        lines.append(f"# {own.name}=={own.version} has no published hash here: install it beside.")
    for each in packages.values():
        if each.hashes:
            joined = " \\\n".join(f"    --hash=sha256:{digest}" for digest in each.hashes)
            lines.append(f"{each.name}=={each.version} \\\n{joined}")
    return "\n".join(lines) + "\n"


def _needs(requires: Iterable[str], extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """What a distribution needs in this environment: names with their extras."""
    environment: dict[str, Any] = dict(default_environment())
    found = []
    for text in requires:
        try:
            requirement = _requirement(text)
        except InvalidRequirement:
            continue  # an old distribution's metadata; pip passes over it too
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra}) for extra in {"", *extras}
        ):
            found.append((_normalised(requirement.name), frozenset(requirement.extras)))
    return found


# Two environments are listed for every bundle: each text is read once.
_requirement = functools.cache(Requirement)


@functools.cache
def _metadata(name: str) -> Message | None:
    """The headers of an installed distribution's metadata; None when it is not installed.

    The standard library's own reader parses the whole file, with the project's long
    description, anew for every value that is asked for.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    headers = email.parser.HeaderParser().parsestr(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0])
    return headers if "Version" in headers else None


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def license_of(metadata: Message) -> str:
    """An SPDX expression or a licence's name, as a distribution says it; empty for none."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    if classifiers:
        return " AND ".join(sorted(classifiers))
    first = (str(metadata.get("License") or "").splitlines() or [""])[0].strip()
    return first if len(first) <= 60 else ""


@functools.cache
def _locked(lock: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """SHA-256 of the files of every package in a `uv.lock`; empty when it cannot be read."""
    try:
        content = tomllib.loads(lock.read_text("utf-8"))
        packages: Any = content.get("package", [])
        return {
            (package["name"], package["version"]): tuple(
                sorted(
                    file["hash"].removeprefix("sha256:")
                    for file in [*package.get("wheels", []), package.get("sdist", {})]
                    if file.get("hash", "").startswith("sha256:")
                )
            )
            for package in packages
            if "version" in package
        }
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, AttributeError):
        return {}
