"""The image's bill of materials: the packages that are really in it, the base and the model.

CycloneDX 1.6. It is made where the packages are installed (`python -m roadworthy.image.sbom SITE`
in the Dockerfile), from their own metadata; the model's bill, which also says what trained it, lies
in the bundle.
"""

from __future__ import annotations

import email
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.bundle.manifest import Manifest, to_json
from roadworthy.bundle.requirements import Package, license_of
from roadworthy.bundle.sbom import sbom

FILE_NAME = "sbom.cdx.json"
MEDIA_TYPE = "application/vnd.cyclonedx+json"
DRAFT = "contents.json"
"""What is known of an image before its packages are installed; in the build context."""


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image holds besides packages.

    Attributes:
        model: The model's name.
        version: Its version.
        files: The bundle's files -> SHA-256.
        base: The base image.
    """

    model: str
    version: str
    files: dict[str, str]
    base: str


def contents(manifest: Manifest, base: str) -> bytes:
    """What the bill will say of the model and the base."""
    files = {name: entry.sha256 for name, entry in manifest.files.items()}
    return to_json(Contents(manifest.name, manifest.version, files, base))


def image_sbom(known: bytes, site: Path, python: str) -> bytes:
    """The bill of materials of an image.

    Args:
        known: From `contents`.
        site: The folder in which the packages are installed.
        python: Version of the Python that runs them.
    """
    said = msgspec.json.decode(known, type=Contents)
    packages = {each.name: each for each in map(_package, _distributions(site))}
    document = sbom(said.model, said.files, packages, {}, None)
    document["metadata"]["component"]["version"] = said.version
    kept = [each for each in document["components"] if each["bom-ref"] != "python"]
    name, _, digest = said.base.partition("@")
    base: dict[str, Any] = {"type": "container", "bom-ref": "base", "name": name}
    if digest:
        base["version"] = digest
    interpreter = {"type": "platform", "bom-ref": "python", "name": "CPython", "version": python}
    document["components"] = [base, interpreter, *kept]
    return to_json(document)


def _distributions(site: Path) -> list[importlib.metadata.Distribution]:
    found = importlib.metadata.distributions(path=[str(site)])
    return sorted(found, key=lambda each: each.name.lower())


def _package(found: importlib.metadata.Distribution) -> Package:
    name = re.sub(r"[-_.]+", "-", found.name).lower()
    metadata = email.message_from_string(found.read_text("METADATA") or "")
    return Package(name, found.version, (), license_of(metadata), ())


def main() -> None:
    """Print the bill of the packages in a folder; the rest is read from standard input."""
    python = ".".join(map(str, sys.version_info[:2]))
    sys.stdout.buffer.write(image_sbom(sys.stdin.buffer.read(), Path(sys.argv[1]), python))


if __name__ == "__main__":
    main()
