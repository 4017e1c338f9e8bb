"""Write a system's files, or say how they differ from what the project asks for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from roadworthy.errors import InputError, OutsideError
from roadworthy.pipeline.clouds import with_clouds
from roadworthy.pipeline.parts import Difference, State, merge
from roadworthy.pipeline.rules import Finding
from roadworthy.pipeline.systems import System
from roadworthy.project import Project

_WORDS: dict[State, str] = {
    "missing": "is not written yet",
    "outdated": "is not what the project asks for",
    "edited": "was changed by hand",
    "removed": "was taken out by hand",
    "surplus": "belongs to a stage that is off",
    "foreign": "is a file of your own",
}
_WRITTEN = {"missing", "outdated", "surplus"}


class Change(NamedTuple):
    """How a part of a file differs.

    Attributes:
        path: The file.
        part: The part; "" for the whole file.
        state: How; see `parts.Difference`.
        what: The same in words.
        fix: What to do about it.
    """

    path: str
    part: str
    state: State
    what: str
    fix: str

    @property
    def is_written(self) -> bool:
        """Whether writing settles it; everything else is left to a person."""
        return self.state in _WRITTEN


class Checked(NamedTuple):
    """What is to be said of a system's files.

    Attributes:
        changes: How they differ from what the project asks for.
        findings: The rules that they break.
    """

    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether there is nothing to say."""
        return not self.changes and not self.findings


def check(project: Project, system: System, folder: Path = Path()) -> Checked:
    """Compare a system's files with what the project asks for, and look at them by the rules.

    Args:
        project: The project.
        system: The CI system.
        folder: The folder of the project file, the root of the repository.

    Raises:
        InputError: A mark in a file stands without its partner, or a file is no text; a cloud lets
            in jobs that the pipeline does not have.
        OutsideError: A file cannot be read.
    """
    project = with_clouds(project, system.name)
    changes: list[Change] = []
    findings: list[Finding] = []
    for plan in system.plan(project):
        text = _read(folder / plan.path)
        merged = merge(text, plan, project.pipeline.own)
        changes += [_change(plan.path, each, system) for each in merged.differences]
        if text is not None:
            findings += system.inspect(plan.path, text, project.pipeline)
    return Checked(tuple(changes), tuple(findings))


def write(project: Project, system: System, folder: Path = Path()) -> tuple[Change, ...]:
    """Write a system's files; what a person wrote or changed stays as it is.

    Nothing is written when any of the files cannot be merged.

    Args:
        project: The project.
        system: The CI system.
        folder: The folder of the project file, the root of the repository.

    Returns:
        What differed. Those that `is_written` are settled now.

    Raises:
        InputError: A mark in a file stands without its partner, or a file is no text; a cloud lets
            in jobs that the pipeline does not have.
        OutsideError: A file cannot be read or written.
    """
    project = with_clouds(project, system.name)
    changes: list[Change] = []
    texts: dict[Path, str] = {}
    for plan in system.plan(project):
        old = _read(folder / plan.path)
        merged = merge(old, plan, project.pipeline.own)
        changes += [_change(plan.path, each, system) for each in merged.differences]
        if merged.text != old:
            texts[folder / plan.path] = merged.text
    for path, text in texts.items():
        _write(path, text)
    return tuple(changes)


def _change(path: str, difference: Difference, system: System) -> Change:
    part, state = difference
    named = f"part {part!r}" if part else "the file"
    fixes: dict[State, str] = {
        "edited": f"take its lines and marks out to get ours, or [pipeline] own = [{part!r}]",
        "removed": f"take {part!r} from the list at the head to get it back, or leave out its "
        f"stage, or [pipeline] own = [{part!r}]",
        "foreign": _FOREIGN.get(path, "move it away, or keep it and do without ours"),
    }
    fix = fixes.get(state, f"roadworthy pipeline {system.name}")
    return Change(path, part, state, f"{named} {_WORDS[state]}", fix)


_FOREIGN = {
    ".gitlab-ci.yml": "add to it: include: [{local: /.gitlab/roadworthy.yml}], and the stages",
}


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InputError("the file is not UTF-8 text", where=str(path)) from None
    except OSError as error:
        raise OutsideError(
            f"the file cannot be read: {error.strerror or error}", where=str(path)
        ) from None


def _write(path: Path, text: str) -> None:
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode if target.exists() else 0o644
        with tempfile.NamedTemporaryFile("wb", dir=target.parent, delete=False) as draft:
            draft.write(text.encode())
        os.chmod(draft.name, mode)
        os.replace(draft.name, target)
    except OSError as error:
        raise OutsideError(
            f"the file cannot be written: {error.strerror or error}", where=str(path)
        ) from None
