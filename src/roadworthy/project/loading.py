"""The project file: `roadworthy.toml` (or `[tool.roadworthy]`) into a typed Project.

Every key has a default, an unknown key is an error that names the nearest valid one, a
destination overlays `roadworthy.NAME.toml`, and `ROADWORTHY_SECTION_KEY` in the environment
overrides both.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import InputError, ProjectError
from roadworthy.project.data import DataSection, ProjectSection
from roadworthy.project.deployment import Deployment
from roadworthy.project.gates import BehaviourSection, GatesSection
from roadworthy.project.guard import GuardSection
from roadworthy.project.image import ImageSection
from roadworthy.project.monitor import MonitorSection
from roadworthy.project.pipeline import PipelineSection
from roadworthy.project.prepare import PrepareSection
from roadworthy.project.registry import RegistrySection
from roadworthy.project.serve import PackageSection, ServeSection
from roadworthy.project.train import TrainSection

FILE_NAME = "roadworthy.toml"


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a project file can say, with its defaults."""

    project: ProjectSection = ProjectSection()
    data: DataSection = DataSection()
    guard: GuardSection = GuardSection()
    prepare: PrepareSection = PrepareSection()
    train: TrainSection = TrainSection()
    gates: GatesSection = GatesSection()
    behaviour: BehaviourSection = BehaviourSection()
    package: PackageSection = PackageSection()
    registry: RegistrySection = RegistrySection()
    serve: ServeSection = ServeSection()
    monitor: MonitorSection = MonitorSection()
    image: ImageSection = ImageSection()
    pipeline: PipelineSection = PipelineSection()
    deploy: dict[str, Deployment] = {}

    def override(self, section: str, **values: Any) -> Project:
        """A copy in which the given keys of one section are set; None leaves a key as it is."""
        wanted = {key: value for key, value in values.items() if value is not None}
        if not wanted:
            return self
        merged = _merge(msgspec.to_builtins(self), {section: wanted})
        return _convert(merged, f"option for [{section}]")


def load_project(
    path: str | os.PathLike[str] | None = None,
    destination: str | None = None,
    environment: dict[str, str] | None = None,
) -> Project:
    """Read the project file.

    Args:
        path: The file; None looks for `roadworthy.toml`, then `[tool.roadworthy]` in
            `pyproject.toml`, in the current folder, and takes the defaults when neither is there.
        destination: Overlay `roadworthy.DESTINATION.toml` beside the file.
        environment: Variables to read overrides from; None takes the process's own.

    Returns:
        The project, complete with defaults.

    Raises:
        ProjectError: The file is not TOML, has an unknown key or a wrong value.
    """
    file = Path(path) if path is not None else _find()
    values: dict[str, Any] = _read(file) if file else {}
    source = str(file) if file else "defaults"
    if destination is not None:
        overlay = (file.parent if file else Path()) / f"roadworthy.{destination}.toml"
        if not overlay.exists():
            raise ProjectError(
                f"there is no overlay for destination {destination!r}",
                where=str(overlay),
                fix="create the file or leave out -d",
            )
        over = _read(overlay)
        _check_keys(over, Project, (), str(overlay))
        values = _merge(values, over)
    _check_keys(values, Project, (), source)
    values = _merge(values, _from_environment(os.environ if environment is None else environment))
    return _convert(values, source)


def parse_duration(value: str | float, key: str = "budget") -> float:
    """Seconds in `90`, `"90s"`, `"5m"` or `"1h30m"`.

    Raises:
        InputError: The text is not a duration above zero.
    """
    seconds = 0.0
    text = str(value).strip().lower()
    if isinstance(value, (int, float)) or re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text if isinstance(value, str) else value)
    elif re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        unit = {"h": 3600.0, "m": 60.0, "s": 1.0}
        for amount, _, letter in re.findall(r"(\d+(\.\d+)?)([hms])", text):
            seconds += float(amount) * unit[letter]
    if not 0 < seconds < float("inf"):
        raise InputError(
            f"{key} {value!r} is not a duration", fix="write seconds (90) or 90s, 5m, 1h30m"
        )
    return seconds


def _find() -> Path | None:
    if Path(FILE_NAME).exists():
        return Path(FILE_NAME)
    pyproject = Path("pyproject.toml")
    if pyproject.exists() and _read(pyproject):
        return pyproject
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ProjectError("the project file does not exist", where=str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"the project file cannot be read: {error}", where=str(file)) from None
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"not valid TOML: {error}", where=str(file)) from None
    if file.name == "pyproject.toml":
        values = values.get("tool", {}).get("roadworthy", {})
    return values


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _fields(section: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section)}


def _check_keys(
    values: dict[str, Any], section: type[msgspec.Struct], path: tuple[str, ...], source: str
) -> None:
    known = _fields(section)
    if section.__struct_config__.tag_field is not None:
        known[section.__struct_config__.tag_field] = str
    for key, value in values.items():
        dotted = ".".join((*path, key))
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(known)}"
            raise ProjectError(f"unknown key {dotted!r}", where=source, fix=hint)
        kind = known[key]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
            _check_keys(value, kind, (*path, key), source)
        elif typing.get_origin(kind) is dict and isinstance(value, dict):
            for name, options in value.items():
                entry = _entry(typing.get_args(kind)[1], options, (*path, key, name), source)
                if entry is not None and isinstance(options, dict):
                    _check_keys(options, entry, (*path, key, name), source)


def _entry(
    kind: Any, options: Any, path: tuple[str, ...], source: str
) -> type[msgspec.Struct] | None:
    """The section that an entry of a table is: of several, the one that its tag names."""
    kinds = {
        each.__struct_config__.tag: each
        for each in (typing.get_args(kind) or (kind,))
        if isinstance(each, type) and issubclass(each, msgspec.Struct)
    }
    if None in kinds or not kinds or not isinstance(options, dict):
        return kinds.get(None)
    field = str(next(iter(kinds.values())).__struct_config__.tag_field)
    found = kinds.get(options.get(field))
    if found is None:
        known = ", ".join(sorted(str(tag) for tag in kinds))
        dotted = ".".join((*path, field))
        raise ProjectError(f"{dotted} is not allowed", where=source, fix=f"it must be {known}")
    return found


def _from_environment(environment: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, kind in _fields(Project).items():
        for key in _fields(kind) if isinstance(kind, type) else ():
            text = environment.get(f"ROADWORTHY_{name}_{key}".upper())
            if text is not None:
                values.setdefault(name, {})[key] = _parse_text(text)
    return values


def _parse_text(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(values: dict[str, Any], source: str) -> Project:
    try:
        project = msgspec.convert(values, Project, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        place = place.rstrip("`")
        fix = None
        if message.startswith("Invalid enum value"):
            allowed = sorted(_allowed(Project, re.findall(r"\[.*?\]|[^.\[\]]+", place)))
            fix = f"it must be one of {', '.join(allowed)}"
        raise ProjectError(f"{place or 'value'}: {message}", where=source, fix=fix) from None
    _check_ranges(project, source)
    return project


def _allowed(kind: Any, way: list[str]) -> set[str]:
    """The words that may stand at a place of the project, where they are a fixed few."""
    if not way:
        inner = set[str]().union(*(_allowed(one, way) for one in typing.get_args(kind)))
        return set(map(str, typing.get_args(kind))) if _is_literal(kind) else inner
    found: set[str] = set()
    for one in (kind, *typing.get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            known = _fields(one)
            found |= _allowed(known[way[0]], way[1:]) if way[0] in known else set()
        elif way[0].startswith("[") and typing.get_origin(one) in (tuple, list, dict):
            found |= _allowed(
                typing.get_args(one)[-1 if typing.get_origin(one) is dict else 0], way[1:]
            )
    return found


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


def _fault(section: object, key: str) -> str:
    empty = getattr(section, key, key) in (None, "", ())
    return "is not set" if empty else "is not allowed"


def _check_ranges(project: Project, source: str) -> None:
    sections = {name: getattr(project, name) for name in _fields(Project) if name != "deploy"}
    sections |= {f"deploy.{name}": each for name, each in project.deploy.items()}
    for name, section in sections.items():
        wrong = [each for each in section.ranges() if not each.good]
        if wrong:
            said = [f"{name}.{each.key} {_fault(section, each.key)}" for each in wrong]
            rules = [f"{each.key} must be {each.rule}" for each in wrong]
            fix = "; ".join(rules) if len(wrong) > 1 else f"it must be {wrong[0].rule}"
            raise ProjectError("; ".join(said), where=source, fix=fix)
    parse_duration(project.train.budget, "train.budget")
