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
from pathlib import Path
from typing import Any, Literal

import msgspec

from roadworthy.errors import InputError, ProjectError

FILE_NAME = "roadworthy.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "letters, digits, dots, dashes and underscores, at most 64, no dot or dash first"
"""What a model may be called: it becomes a folder, a label and a part of addresses."""
DEFAULT_BLANKS = ("", "na", "n/a", "nan", "null", "none", "?")

Kind = Literal["number", "category", "boolean", "date", "text", "identifier", "constant"]


class ColumnOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user says about one column (`[data.columns.NAME]`).

    Attributes:
        kind: The column's kind, in place of the inferred one.
        blank: What a blank does at prediction time: `impute` (with a warning) or `error`.
        unseen: What an unseen category does: `warn` (treated as no known level) or `error`.
        date_format: A strptime format for dates that are ambiguous or unusual.
    """

    kind: Kind | None = None
    blank: Literal["impute", "error"] = "impute"
    unseen: Literal["warn", "error"] = "warn"
    date_format: str | None = None


class ProjectSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[project]`: what the model is called."""

    name: str | None = None


class DataSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[data]`: the table and how to read and split it."""

    path: str | None = None
    target: str | None = None
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    header: bool | None = None
    blanks: tuple[str, ...] = DEFAULT_BLANKS
    drop: tuple[str, ...] = ()
    columns: dict[str, ColumnOptions] = msgspec.field(default_factory=dict)
    holdout: float = 0.2
    group: str | None = None
    time: str | None = None


class PrepareSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prepare]`: what a blank number becomes and how many levels a category keeps."""

    number_blank: Literal["mean", "median"] = "mean"
    max_levels: int = 10_000


class TrainSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[train]`: budget, candidates and validation."""

    budget: str | float = "60s"
    candidates: tuple[str, ...] = ("linear", "forest", "boosting")
    metric: Literal["auto", "roc_auc", "log_loss", "accuracy", "f1", "rmse", "mae"] = "auto"
    folds: int = 5
    seed: int = 0
    n_jobs: int | None = None


class PackageSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[package]`: where bundles go and which formats they hold."""

    formats: tuple[Literal["onnx", "joblib"], ...] = ("onnx",)
    directory: str = "bundles"


class ServeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve]`: the prediction server."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    absent: Literal["error", "blank"] = "error"
    max_body_mb: float = 16.0
    max_rows: int = 20_000


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a project file can say, with its defaults."""

    project: ProjectSection = ProjectSection()
    data: DataSection = DataSection()
    prepare: PrepareSection = PrepareSection()
    train: TrainSection = TrainSection()
    package: PackageSection = PackageSection()
    serve: ServeSection = ServeSection()

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
    if isinstance(value, (int, float)) or re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        seconds = float(value)
    elif re.fullmatch(r"(\d+(\.\d+)?[hms])+", value.strip().lower()):
        unit = {"h": 3600.0, "m": 60.0, "s": 1.0}
        for amount, _, letter in re.findall(r"(\d+(\.\d+)?)([hms])", value.lower()):
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
    for key, value in values.items():
        dotted = ".".join((*path, key))
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(known)}"
            raise ProjectError(f"unknown key {dotted!r}", where=source, fix=hint)
        kind = known[key]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
            _check_keys(value, kind, (*path, key), source)
        elif section is DataSection and key == "columns" and isinstance(value, dict):
            for name, options in value.items():
                if isinstance(options, dict):
                    _check_keys(options, ColumnOptions, (*path, key, name), source)


def _from_environment(environment: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, kind in _fields(Project).items():
        for key in _fields(kind):
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
        raise ProjectError(f"{place.rstrip('`') or 'value'}: {message}", where=source) from None
    _check_ranges(project, source)
    return project


def _check_ranges(project: Project, source: str) -> None:
    name = project.project.name
    checks = [
        (name is None or NAME.fullmatch(name) is not None, "project.name", NAME_RULE),
        (0.01 <= project.data.holdout <= 0.9, "data.holdout", "a share between 0.01 and 0.9"),
        (2 <= project.train.folds <= 20, "train.folds", "between 2 and 20"),
        (project.train.n_jobs is None or project.train.n_jobs >= 1, "train.n_jobs", "1 or more"),
        (2 <= project.prepare.max_levels <= 1_000_000, "prepare.max_levels", "2 to 1000000"),
        (0 <= project.serve.port <= 65535, "serve.port", "between 0 and 65535"),
        (1 <= project.serve.workers <= 256, "serve.workers", "between 1 and 256"),
        (project.serve.max_body_mb > 0, "serve.max_body_mb", "above 0"),
        (project.serve.max_rows >= 1, "serve.max_rows", "1 or more"),
        (
            project.data.delimiter is None or len(project.data.delimiter.encode()) == 1,
            "data.delimiter",
            "one ASCII character",
        ),
    ]
    for good, key, rule in checks:
        if not good:
            raise ProjectError(f"{key} is not allowed", where=source, fix=f"it must be {rule}")
    parse_duration(project.train.budget, "train.budget")
