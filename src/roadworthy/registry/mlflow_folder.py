"""A bundle as an MLflow model: the folder that `mlflow models serve` and its registry take.

The flavour `python_function` holds the whole bundle and checks rows by its contract; the flavour
`onnx` is the portable graph, where the bundle has one. The layout is that of MLflow's "MLmodel"
file, written as JSON, which is YAML.
"""

from __future__ import annotations

import importlib.metadata
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.bundle.container import open_container, unpack
from roadworthy.bundle.manifest import Manifest, to_json, verify_container
from roadworthy.contract import Column, Contract
from roadworthy.errors import InputError
from roadworthy.registry.exporting import new_folder

_PORTABLE = "portable.onnx"
_NEEDED = ("cryptography", "httptools", "msgspec", "numpy", "onnxruntime")


def export_mlflow(source: Path, target: Path, trusted_keys: Sequence[str] = ()) -> Manifest:
    """Write a bundle as an MLflow model.

    Args:
        source: The bundle.
        target: A new folder.
        trusted_keys: Keys, one of which must have signed it.

    Returns:
        Its manifest.

    Raises:
        InputError: The target is there already.
        CheckFailed: The bundle is damaged.
        OutsideError: The target cannot be written.
    """
    if target.exists():
        raise InputError("the target is there already", where=str(target), fix="name a new one")
    with open_container(source) as container:
        wanted = {"contract.json", _PORTABLE}
        manifest, contents = verify_container(
            container, str(source), trusted_keys=trusted_keys, keep=wanted
        )
        contract = msgspec.json.decode(contents["contract.json"], type=Contract)
        with new_folder(target) as folder:
            (folder / "bundle").mkdir()
            unpack(container, folder / "bundle")
            python = manifest.environment["python"]
            requirements = _requirements(manifest)
            flavors: dict[str, Any] = {
                "python_function": {
                    "loader_module": "roadworthy.bundle.mlflow_loader",
                    "data": "bundle",
                    "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                    "python_version": python,
                }
            }
            if _PORTABLE in contents:
                flavors["onnx"] = {
                    "data": f"bundle/{_PORTABLE}",
                    "onnx_version": manifest.environment["onnx"],
                    "providers": ["CPUExecutionProvider"],
                    "code": None,
                }
            files = {
                "MLmodel": {
                    "flavors": flavors,
                    "model_uuid": uuid.UUID(manifest.version[:32]).hex,
                    "signature": _signature(contract),
                    "utc_time_created": manifest.created.replace("T", " ")[:19],
                },
                "conda.yaml": {
                    "name": "mlflow-env",
                    "channels": ["conda-forge"],
                    "dependencies": [f"python={python}", "pip", {"pip": requirements}],
                },
                "python_env.yaml": {"python": python, "dependencies": ["-r requirements.txt"]},
            }
            for name, content in files.items():
                (folder / name).write_bytes(to_json(content))
            (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    return manifest


def _requirements(manifest: Manifest) -> list[str]:
    known = manifest.environment
    needed = [f"roadworthy=={known['roadworthy']}", "pandas"]
    for name in _NEEDED:
        version = known.get(name) or importlib.metadata.version(name)
        needed.append(f"{name}=={version}")
    return needed


def _signature(contract: Contract) -> dict[str, Any]:
    """MLflow's signature: columns by name and type, as JSON in texts."""
    inputs = [
        {"name": column.name, "type": _type(column), "required": True}
        for column in contract.columns
    ]
    kinds = {bool: "boolean", int: "long", str: "string"}
    target = contract.target
    answer = kinds[type(target.classes[0])] if target.classes else "double"
    outputs = [{"name": "prediction", "type": answer, "required": True}]
    more = [f"probability_{name}" for name in target.class_names]
    more += ["low", "high"] if target.interval is not None else []
    outputs += [{"name": name, "type": "double", "required": True} for name in more]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _type(column: Column) -> str:
    if column.kind == "number" or (column.kind == "category" and column.dtype != "string"):
        return "double"
    return "boolean" if column.kind == "boolean" and not column.nullable else "string"
