"""What the engine has of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadworthy.deploy._base import There
from roadworthy.deploy.docker.description import MODEL, PART, RELEASE_LABEL, SETTINGS, Names
from roadworthy.deploy.docker.engine import Engine
from roadworthy.deploy.docker.inside import ACCEPTED, BEFORE, CURRENT, STATE


def look(engine: Engine, names: Names) -> There:
    """Ask the engine what there is of a deployment; its facts are names, with blanks between."""
    found = engine.containers(names.label)
    state = _state(engine, found, names)
    link = state.get(CURRENT, "")
    serving = Path(link).stem if link else None
    kept = releases_of(found)
    before = [each for each in state.get(BEFORE, "").split() if each in kept and each != serving]
    proxy = found.get(names.proxy)
    # one that dies again and again is called running in between
    up = proxy is not None and proxy["State"]["Status"] == "running"
    passed = [name.partition("/")[2] for name in state if name.startswith(f"{ACCEPTED}/")]
    facts = {
        "model": [_label(each, MODEL) for each in found.values()][:1],
        "releases": kept,
        "running": [each for each in kept if kept[each]["State"]["Running"]],
        "accepted": passed,
        "proxy": [_label(proxy, SETTINGS)] if proxy is not None and up else [],
        "containers": found,
        "volumes": engine.volumes(names.label),
        "images": engine.images(names.repository),
    }
    return There(
        serving=serving,
        before=tuple(before),
        facts={key: " ".join(listed) for key, listed in facts.items()},
    )


def releases_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Release -> its container."""
    return {
        release: each
        for each in found.values()
        if _label(each, PART) == "release" and (release := _label(each, RELEASE_LABEL))
    }


def _state(engine: Engine, found: Mapping[str, Any], names: Names) -> dict[str, str]:
    # any container that shares the volume will do, running or not
    for name in sorted(found, key=lambda name: name != names.proxy):
        if state := engine.folder(name, str(STATE)):
            return state
    return {}


def _label(container: Mapping[str, Any], label: str) -> str:
    return str((container["Config"].get("Labels") or {}).get(label, ""))
