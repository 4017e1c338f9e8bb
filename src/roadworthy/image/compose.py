"""`compose.yaml` for a laptop: the service and, if wanted, Prometheus and Grafana beside it."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.dashboard import dashboard
from roadworthy.image.hardening import GRACE_SECONDS, PIDS, TMPFS
from roadworthy.image.names import check_tag
from roadworthy.image.secrets import FOLDER, mounted
from roadworthy.project import Project

PROMETHEUS = "docker.io/prom/prometheus:v3.5.0"
GRAFANA = "docker.io/grafana/grafana:12.1.0"
"""Releases with long support that the files were written for."""
_TEMPLATES = Path(__file__).parent / "monitoring"


def compose_files(reference: str, project: Project, name: str = "roadworthy") -> dict[str, str]:
    """The files of a laptop's set-up, by their paths in one folder.

    Args:
        reference: The image.
        project: `[image] memory_mb` and `model`, `[serve] port` and the files that it names.
        name: The name that compose gives the set-up: the model's.

    Raises:
        InputError: The reference is no image's name.
    """
    image = reference if "@sha256:" in reference else check_tag(reference)
    values: dict[str, Any] = {
        "name": json.dumps(_plain(name)),
        "image": json.dumps(image),
        "port": project.serve.port or 8080,
        "tmpfs": TMPFS,
        "memory": project.image.memory_mb,
        "pids": PIDS,
        "grace": GRACE_SECONDS,
        "volumes": _given(project),
        "prometheus": PROMETHEUS,
        "grafana": GRAFANA,
    }
    template = string.Template((_TEMPLATES / "compose.yaml").read_text("utf-8"))
    return {
        "compose.yaml": template.substitute(values),
        "prometheus.yml": (_TEMPLATES / "prometheus.yml").read_text("utf-8"),
        "grafana/datasource.yml": (_TEMPLATES / "datasource.yml").read_text("utf-8"),
        "grafana/dashboards.yml": (_TEMPLATES / "dashboards.yml").read_text("utf-8"),
        "grafana/roadworthy.json": json.dumps(dashboard(), indent=2) + "\n",
    }


def write_compose(files: dict[str, str], folder: Path, *, replace: bool = False) -> list[Path]:
    """Write the files; returns their paths.

    Args:
        files: From `compose_files`.
        folder: Where they go.
        replace: Whether files that are there with other content may be overwritten.

    Raises:
        InputError: A file is there with other content.
        OutsideError: The folder cannot be written.
    """
    paths = {folder / name: text for name, text in files.items()}
    try:
        for path, text in paths.items():
            if not replace and path.exists() and path.read_text("utf-8", "replace") != text:
                raise InputError(
                    "this file is there and was changed", where=str(path), fix="--replace, or --to"
                )
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.draft")
            draft.write_text(text, "utf-8")
            draft.replace(path)
    except OSError as error:
        raise OutsideError(
            f"the files cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return list(paths)


def _given(project: Project) -> str:
    """What the service gets of this machine: a model, secrets, where the registry is."""
    places = ["./model:/opt/ml/model:ro"] if project.image.model == "mounted" else []
    if files := mounted(project.serve):
        places.append(f"./secrets:{FOLDER}:ro")
    lines = []
    if places:
        wanted = ["the bundle in model"] if project.image.model == "mounted" else []
        wanted += [f"secrets/{name}" for name in files]
        lines += [f"# put here before the start: {', '.join(wanted)}"]
        lines += [f"volumes: {json.dumps(places)}"]
    if project.image.model == "fetched":
        names = ["ROADWORTHY_REGISTRY_URL", "ROADWORTHY_REGISTRY_STORE"]
        lines += ["# taken from the shell, or from .env", f"environment: {json.dumps(names)}"]
    return "".join(f"    {line}\n" for line in lines)


def _plain(name: str) -> str:
    """A name as compose takes it: lower case, a letter or digit first."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return kept.strip("-") or "roadworthy"
