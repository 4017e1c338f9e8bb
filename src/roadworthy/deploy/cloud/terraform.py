"""Terraform and OpenTofu: the infrastructure of a deployment for teams that own their state.

The document is JSON, which both read as they read HCL (`*.tf.json`), made of the very parts that
`deploy apply` makes. It carries other tags, so that neither ever takes the other's away.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from roadworthy.bundle.manifest import to_json
from roadworthy.deploy.cloud.opening import open_provider
from roadworthy.deploy.wanted import Wanted
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import CloudSection, DeploySection, Project

FILE = "main.tf.json"
Resources = dict[str, dict[str, Any]]
"""Type and name, with a dot between -> arguments."""


class Beside(NamedTuple):
    """What a fleet's machines are to serve.

    Attributes:
        wanted: The release.
        cache: Where wheels are kept.
        folder: Where files beside the document are written.
    """

    wanted: Wanted
    cache: Path
    folder: Path


@runtime_checkable
class Exporting(Protocol):
    """A provider that can say what it makes in Terraform's words."""

    def terraform(self, beside: Beside | None) -> dict[str, Any]:
        """The document: `terraform`, `provider`, `data`, `resource`, `output`.

        Args:
            beside: What a fleet's machines are to serve; None: nothing yet.
        """
        ...


def apart(deployment: str) -> str:
    """The name under which a deployment is exported: nothing of it is called as what is made."""
    return f"{deployment}-terraform"


def escaped(text: str) -> str:
    """A text that Terraform takes as it is, without looking for templates in it."""
    return text.replace("${", "$${").replace("%{", "%%{")


def gathered(
    found: Resources, name: str, source: str, version: str, provider: dict[str, Any]
) -> dict[str, Any]:
    """What Terraform reads, but for outputs.

    Args:
        found: The resources; the type of what is only looked up begins with `data-`.
        name: The provider's name.
        source: Where it comes from.
        version: Which versions of it are taken.
        provider: Its settings.
    """
    resources: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for place, arguments in found.items():
        kind, _, own = place.partition(".")
        owner = data if kind.startswith("data-") else resources
        owner.setdefault(kind.removeprefix("data-"), {})[own] = arguments
    needed = {name: {"source": source, "version": version}}
    return {
        "terraform": {"required_version": ">= 1.5", "required_providers": needed},
        "provider": provider,
        "data": data,
        "resource": resources,
    }


def write_terraform(
    project: Project, name: str, section: DeploySection, out: Path,
    release: tuple[Wanted, Path] | None = None,
) -> Path:  # fmt: skip
    """Write `main.tf.json`, and beside it what a fleet's machines begin with.

    Args:
        project: The project.
        name: The deployment.
        section: Its `[deploy.NAME]`.
        out: Folder to write.
        release: What a fleet's machines are to serve, and where wheels are kept.

    Returns:
        The file.

    Raises:
        InputError: The target makes nothing that Terraform could.
        OutsideError: The folder cannot be written.
    """
    if not isinstance(section, CloudSection):
        raise InputError("Terraform is written for clouds", where=f"deploy.{name}.target")
    provider = open_provider(project, name, section, name)
    try:
        if not isinstance(provider, Exporting):
            raise InputError(
                f"Terraform is not written for {provider.name}", where=f"deploy.{name}.target"
            )
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".draft-") as draft:
            folder = Path(draft)
            beside = Beside(*release, folder) if release is not None else None
            document = to_json(provider.terraform(beside))
            (folder / FILE).write_bytes(document)
            for each in sorted(folder.iterdir(), key=lambda each: each.name == FILE):
                each.chmod(0o644)
                each.replace(out / each.name)  # the document last, for it names the others
    except OSError as error:
        raise OutsideError(
            f"the file cannot be written: {error.strerror or error}", where=str(out)
        ) from None
    finally:
        provider.close()
    return out / FILE
