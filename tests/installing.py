"""What tests need beside Python's packages is fetched once, by whichever process comes first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "roadworthy-tests"
_APT = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]


@contextlib.contextmanager
def alone(what: str = "installing") -> Iterator[None]:
    """Hold the only right to do something on this machine: groups of tests run side by side.

    What is wanted may be there once this is entered, so look again.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / what).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_debian(*packages: str) -> None:
    """Packages of Debian, for whom holds `alone`."""
    update_debian()
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [*_APT, "install", "-y", "--no-install-recommends", *packages]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)


def update_debian() -> None:
    """What packages Debian has now, for whom holds `alone`."""
    subprocess.run([*_APT, "update"], check=True)


def install_node(folder: Path, *packages: str) -> None:
    """Packages of npm into a folder, for whom holds `alone`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    command += ["--legacy-peer-deps", "--prefix", str(folder)]
    subprocess.run([*command, *packages], check=True, capture_output=True, timeout=300)
