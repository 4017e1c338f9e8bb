"""No engine at all: an OCI layout written file by file, the same digest every time."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from roadworthy.errors import InputError, OutsideError
from roadworthy.image.context import Context
from roadworthy.image.dockerfile import (
    COMMAND,
    ENTRYPOINT,
    HEALTH,
    HEALTH_SECONDS,
    HOME,
    PORT,
    UNUSED,
    USER,
    environment_of,
)
from roadworthy.image.engines import Image
from roadworthy.image.engines.commands import run
from roadworthy.image.layout import CONFIG, LAYER, MANIFEST, Base, Layout, read_manifest, take_base
from roadworthy.image.registry_client import parse_place, pull_into, push_layout
from roadworthy.image.sbom import DRAFT, FILE_NAME, image_sbom

_NOT_OURS = {"Dockerfile", ".dockerignore", "requirements.txt", DRAFT}


class NoEngine:
    """Writes OCI layouts.

    Args:
        folder: Where the layout goes.
    """

    name = "none"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def trouble(self) -> str | None:
        """Nothing is needed."""
        return None

    def pin(self, base: str) -> str:
        """The base as it is named: a file, a folder or an image of a registry."""
        return base

    def build(self, context: Context, tag: str, *, replace: bool) -> Image:
        """Lay the packages and the model over the base."""
        if self.folder.exists() and not replace:
            raise InputError(
                "there is something already", where=str(self.folder), fix="--replace, or another"
            )
        try:
            size = self._write(context, tag)
        except OSError as error:
            raise OutsideError(
                f"the layout cannot be written: {error.strerror or error}",
                where=str(self.folder),
                fix="free some space, or name another folder",
            ) from None
        digest, _ = read_manifest(self.folder)
        return Image(str(self.folder), digest, size)

    def _write(self, context: Context, tag: str) -> int:
        """Make the layout beside its place, and move it there whole."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=".image-") as scratch:
            layout = Layout(Path(scratch, "layout"))
            found = self._base(context.base, layout)
            size = self._lay(context, found, layout, tag, Path(scratch))
            if self.folder.exists():
                shutil.rmtree(self.folder)
            Path(scratch, "layout").replace(self.folder)
        return size

    def push(self, reference: str) -> str:
        """Push the layout."""
        return push_layout(self.folder, parse_place(reference))

    def _base(self, base: str, layout: Layout) -> Base:
        source = Path(base)
        if source.exists():
            return take_base(source, layout)
        _, config, layers = pull_into(parse_place(base), layout)
        return Base(config, layers)

    def _lay(self, context: Context, base: Base, layout: Layout, tag: str, scratch: Path) -> int:
        python = _python_of(base)
        packages, files, removed = scratch / "packages", scratch / "files", scratch / "removed"
        _install(context.folder, packages / "site", python)
        files.mkdir()
        for path in context.folder.iterdir():
            if path.name in _NOT_OURS or path.suffix == ".whl":
                continue
            copy: Any = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, files / path.name)
        bill = image_sbom((context.folder / DRAFT).read_bytes(), packages / "site", python)
        (files / FILE_NAME).write_bytes(bill)
        _white_out(removed, python)
        layers, diffs, total = list(base.layers), list(base.config["rootfs"]["diff_ids"]), 0
        history = list(base.config.get("history", []))
        for tree, target in ((removed, "/"), (packages, HOME), (files, HOME)):
            blob, diff, size = layout.add_layer(tree, target, context.epoch)
            layers.append(blob.describe(LAYER))
            diffs.append(diff)
            total += size
            history.append({"created": context.labels["org.opencontainers.image.created"],
                            "created_by": f"roadworthy image build: {tree.name}"})  # fmt: skip
        config = _config(base.config, context) | {
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": history,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.put_json(config).describe(CONFIG),
            "layers": layers,
            "annotations": context.labels,
        }
        layout.finish(layout.put_json(manifest), tag)
        return total


def _config(base: dict[str, Any], context: Context) -> dict[str, Any]:
    old = base.get("config") or {}
    variables = dict(text.split("=", 1) for text in old.get("Env") or ())
    variables |= environment_of(context.model)
    nano = {key: seconds * 1_000_000_000 for key, seconds in HEALTH_SECONDS.items()}
    return {
        "architecture": base.get("architecture", "amd64"),
        "os": "linux",
        "created": context.labels["org.opencontainers.image.created"],
        "config": {
            "Env": [f"{key}={text}" for key, text in variables.items()],
            "User": f"{USER}:{USER}",
            "WorkingDir": HOME,
            "Entrypoint": list(ENTRYPOINT),
            "Cmd": list(COMMAND),
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "StopSignal": "SIGTERM",
            "Labels": (old.get("Labels") or {}) | context.labels,
            # Docker's own addition to the format: engines without it pass over it
            "Healthcheck": {"Test": ["CMD", *HEALTH], "Interval": nano["interval"],
                            "Timeout": nano["timeout"], "StartPeriod": nano["start-period"]},
        },
    }  # fmt: skip


def _python_of(base: Base) -> str:
    """Major and minor version of the base's Python, as its images of Docker's library tell it."""
    for text in (base.config.get("config") or {}).get("Env") or ():
        key, _, value = text.partition("=")
        if key == "PYTHON_VERSION":
            return ".".join(value.split(".")[:2])
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _install(context: Path, target: Path, python: str) -> None:
    """Lay the wheels down, hashes checked, without running anything of them."""
    (wheel,) = context.glob("*.whl")
    pinned = ["--only-binary", ":all:", "--require-hashes", "-r", str(context / "requirements.txt")]
    own = ["--no-deps", "--no-index", str(wheel)]
    for options in (pinned, own):
        run([*_installer(python), "--target", str(target), *options], where="requirements.txt")
    for pattern in (*UNUSED, "numpy/**/tests"):
        for path in list(target.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for junk in target.glob("*.lock"):
        junk.unlink()
    _settle_records(target)
    if python == f"{sys.version_info[0]}.{sys.version_info[1]}":
        # a process of its own: what it lived through before would show in the bytes
        run([sys.executable, "-E", "-s", "-m", "compileall", "-q", "--invalidation-mode",
             "unchecked-hash", "-s", str(target.parent), "-p", HOME, str(target)],
            where="site", variables={"PYTHONHASHSEED": "0"})  # fmt: skip


def _settle_records(target: Path) -> None:
    """Take out what an installer notes of this machine."""
    for name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"):
        for file in target.glob(f"*.dist-info/{name}"):
            file.unlink()
    for record in target.glob("*.dist-info/RECORD"):
        lines = [
            line
            for line in record.read_text("utf-8").splitlines()
            if not line.startswith("../") and "/direct_url.json," not in line
            and "/INSTALLER," not in line and "/REQUESTED," not in line
            and "/uv_cache.json," not in line and not line.startswith("bin/")
        ]  # fmt: skip
        record.write_text("\n".join([*sorted(lines), ""]), "utf-8")


def _installer(python: str) -> list[str]:
    platform = "aarch64" if os.uname().machine == "aarch64" else "x86_64"
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` names itself in UV
    if uv:
        return [uv, "pip", "install", "--quiet", "--no-compile-bytecode", "--python-version",
                python, "--python-platform", f"{platform}-manylinux_2_28"]  # fmt: skip
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else []
    if not pip and (found := shutil.which("pip") or shutil.which("pip3")):
        pip = [found]  # any will do: it is told for which Python and platform
    if pip:
        names = [f"manylinux_2_{minor}" for minor in range(28, 16, -1)] + ["manylinux2014"]
        tags = [f"--platform={name}_{platform}" for name in names]
        return [*pip, "install", "--quiet", "--no-compile",
                "--disable-pip-version-check", "--python-version", python,
                "--implementation", "cp", *tags]  # fmt: skip
    raise OutsideError(
        "neither uv nor pip is here to fetch the server's packages",
        fix="python -m ensurepip, or pip install uv",
    )


def _white_out(folder: Path, python: str) -> None:
    """Files that make what lies below unseen (OCI image-spec, Whiteouts): no pip to be served."""
    library = folder / "usr" / "local" / "lib" / f"python{python}"
    (library / "site-packages").mkdir(parents=True)
    (library / "site-packages" / ".wh..wh..opq").touch()
    (library / ".wh.ensurepip").touch()
    programs = folder / "usr" / "local" / "bin"
    programs.mkdir(parents=True)
    for name in ("pip", "pip3", f"pip{python}"):
        (programs / f".wh.{name}").touch()
