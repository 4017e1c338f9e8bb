"""A bundle made on one Python is served on another: real interpreters, environments of their own.

Interpreters are looked for on the path and in pyenv's folder. What an older checkout made on
Python 3.12 is stored, so that this much is tested on any machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from roadworthy.bundle import Bundle
from roadworthy.image.wheel import own_wheel
from tests.conftest import Server
from tests.installing import CACHE

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "registry" / "data" / "bundle-python-3.12"
MAKE = """
import sys
import numpy as np, polars as pl
import roadworthy as rw
random = np.random.default_rng(0)
x = random.normal(size=300)
frame = pl.DataFrame({
    "x": [None if n % 11 == 0 else float(v) for n, v in enumerate(x)],
    "c": ["u", "wé ", "v"] * 100,
    "y": np.where(x > 0.1, "yes", "no"),
})
project = rw.Project().override("train", candidates=("boosting",), folds=2)
table = rw.read_table(frame, "y", project=project, name="signs")
model = rw.train(table, "10s", project=project)
bundle = rw.package(model, rw.test(model, table.holdout), directory=sys.argv[1])
print(bundle.path)
"""


def interpreter(version: str) -> str:
    """A Python of this version; a machine that tests has it, by pyenv or on the path."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(each / "bin" / "python") for each in sorted(pyenv.glob(f"{version}.*"))]
    for candidate in [*found, shutil.which(f"python{version}")]:
        if candidate and _answers(candidate, version):
            return candidate
    pytest.fail(f"there is no Python {version}: install it, with pyenv for instance")


def _answers(candidate: str, version: str) -> bool:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([candidate, "-c", program], capture_output=True, text=True)
    return asked.returncode == 0 and asked.stdout.strip() == version


def environment(version: str, *extras: str) -> str:
    """The Python of an environment with what the lock file says, made once and kept."""
    uv = os.environ.get("UV") or str(ROOT / ".uv" / "bin" / "uv")
    options = [word for extra in extras for word in ("--extra", extra)]
    locked = subprocess.run(
        [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", *options],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    base = interpreter(version)
    key = hashlib.sha256(f"{base} {locked}".encode()).hexdigest()[:12]
    folder = CACHE / f"python-{version}-{key}"
    ready = folder / "ready"
    if not ready.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "requirements.txt").write_text(locked)
        venv = folder / "venv"
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", str(venv)]
        for command in (
            ["venv", "--quiet", "--python", base, str(venv)],
            [*install, "-r", str(folder / "requirements.txt")],
        ):
            made = subprocess.run([uv, *command], capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
        ready.touch()
    return str(folder / "venv" / "bin" / "python")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Roadworthy's own wheel, unpacked: its code and its metadata, for any Python."""
    folder = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(io.BytesIO(own_wheel()[1])).extractall(folder)
    return str(folder)


@pytest.fixture(scope="module")
def bundle(installed: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that Python 3.12 made."""
    run = subprocess.run(
        [environment("3.12", "train"), "-c", MAKE, str(tmp_path_factory.mktemp("made"))],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": installed},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_a_bundle_made_on_python_3_12_is_served_on(
    version: str, bundle: Path, installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["environment"]["python"].startswith("3.12")
    monkeypatch.setenv("PYTHONPATH", installed)
    serve_golden_rows(bundle, environment(version))


def test_a_stored_bundle_that_python_3_12_made_is_served_here() -> None:
    manifest = json.loads((STORED / "manifest.json").read_text())
    assert manifest["environment"]["python"].startswith("3.12")
    serve_golden_rows(STORED, sys.executable)


def serve_golden_rows(bundle: Path, python: str) -> None:
    """Ask a real server for every golden row: the answers are those that were written down."""
    server = Server(bundle, python=python)
    try:
        golden = Bundle(bundle).golden
        assert len(golden) > 5
        for each in golden:
            status, answer = server.predict(each.row)
            assert status == 200
            assert answer["prediction"] == each.expected["prediction"]
            assert answer["probabilities"] == pytest.approx(
                each.expected["probabilities"], abs=1e-12
            )
    finally:
        assert server.stop() == 0
