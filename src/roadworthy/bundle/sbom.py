"""`sbom.cdx.json`: what a model is made of and runs on, as a CycloneDX 1.6 bill of materials.

Source: CycloneDX 1.6 (ECMA-424). Nothing in it depends on the clock: the same model and environment
give the same bytes.
"""

from __future__ import annotations

import platform
import re
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from roadworthy.bundle.requirements import Package

FILE_NAME = "sbom.cdx.json"
_SPACE = uuid.UUID("6f3dfb0a-4c3c-5bb0-9c55-0d0d2f7c9a61")
_SPDX = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")


def sbom(
    name: str,
    files: Mapping[str, str],
    serving: Mapping[str, Package],
    training: Mapping[str, Package],
    data: str | None,
) -> dict[str, Any]:
    """The bill of materials of a model.

    Args:
        name: The model's name.
        files: Its files -> SHA-256 in hex.
        serving: What serves it.
        training: What trained it.
        data: SHA-256 of the table it was trained on.

    Returns:
        The document, ready for JSON.
    """
    both = {**training, **serving}
    components = [_library(package, package.name in serving) for package in both.values()]
    components.append(_python())
    if data is not None:
        components.append(_data(name, data))
    model = f"model:{name}"
    needs = [_reference(package) for package in serving.values()] + ["python"]
    depends = [{"ref": model, "dependsOn": sorted(needs)}]
    for package in both.values():
        known = sorted(_reference(both[need]) for need in package.needs if need in both)
        depends.append({"ref": _reference(package), "dependsOn": known})
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "bom-ref": model,
                "name": name,
                "components": [
                    {
                        "type": "file",
                        "bom-ref": f"file:{file}",
                        "name": file,
                        "hashes": [{"alg": "SHA-256", "content": digest}],
                    }
                    for file, digest in sorted(files.items())
                ],
            }
        },
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
        "dependencies": sorted(depends, key=lambda each: str(each["ref"])),
    }
    content = msgspec.json.encode(document, order="sorted").decode()
    return {**document, "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, content)}"}


def _reference(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _library(package: Package, serves: bool) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(package),
        "purl": _reference(package),
        "name": package.name,
        "version": package.version,
        "scope": "required" if serves else "optional",
        "properties": [
            {"name": "roadworthy:environment", "value": "serve, train" if serves else "train"}
        ],
    }
    if _SPDX.fullmatch(package.license):
        component["licenses"] = [{"expression": package.license}]
    elif package.license:
        component["licenses"] = [{"license": {"name": package.license}}]
    return component


def _python() -> dict[str, Any]:
    return {
        "type": "platform",
        "bom-ref": "python",
        "name": platform.python_implementation(),
        "version": platform.python_version(),
        "properties": [
            {"name": "roadworthy:machine", "value": f"{platform.system()} {platform.machine()}"}
        ],
    }


def _data(name: str, digest: str) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": "data",
        "name": f"table that {name} was trained on",
        "hashes": [{"alg": "SHA-256", "content": digest}],
        "data": [{"type": "dataset", "name": "training and holdout rows, as they were read"}],
    }
