"""Real Prometheus, promtool and Alertmanager: Debian's packages, unpacked into the user's cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

TEMPLATES = Path("/usr/share/prometheus/alertmanager")
PACKAGES = ("prometheus", "prometheus-alertmanager")


def program(name: str) -> str:
    """The path of a program of the packages."""
    found = shutil.which(name)
    if found is not None:
        return found
    folder = Path.home() / ".cache" / "roadworthy" / "prometheus"
    path = folder / "usr" / "bin" / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, check=False)
        if got.returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, check=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
    if name == "prometheus-alertmanager" and not TEMPLATES.exists():
        TEMPLATES.parent.mkdir(parents=True, exist_ok=True)  # where Debian's build looks for them
        shutil.copytree(folder / TEMPLATES.relative_to("/"), TEMPLATES)
    return str(path)
