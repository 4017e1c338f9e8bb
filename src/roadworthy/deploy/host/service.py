"""What systemd starts on a host: serve a release on a Unix socket.

    python -m roadworthy.deploy.host.service RELEASE SOCKET

Callers reach the socket through the proxy, which connects to whichever release's socket a symbolic
link names: a swap is one rename of that link, and no connection is closed for it. The secrets come
as a credential of systemd, so that neither the unit nor the process list shows them.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import msgspec

from roadworthy.errors import InputError, RoadworthyError
from roadworthy.project import ServeSection, load_project
from roadworthy.serve.orders import Orders
from roadworthy.serve.supervisor import Supervisor

BUNDLES = ("model.rwb", "model.rwb.sealed")
SETTINGS = "roadworthy.toml"
CREDENTIAL = "secrets"


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; returns the exit code."""
    release, place = Path(arguments[0]), Path(arguments[1])
    try:
        os.environ.update(read_secrets())
        project = load_project(release / SETTINGS, environment={})
        share = tempfile.mkdtemp(prefix="roadworthy-")
        with listen(place) as listening:
            trusted = project.registry.trusted_keys
            options = with_cores(project.serve)
            orders = Orders([_bundle(release)], options, listening.fileno(), share, trusted)
            try:
                Supervisor(orders, lambda _: notify("READY=1")).run()
            finally:
                shutil.rmtree(share, ignore_errors=True)
    except RoadworthyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def listen(place: Path) -> socket.socket:
    """A listening socket that the owner and the group may connect to."""
    draft = place.with_suffix(".new")
    draft.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(draft))
    draft.chmod(0o660)
    listening.listen(4096)
    draft.replace(place)
    return listening


def with_cores(options: ServeSection) -> ServeSection:
    """The options with 0 workers made one a core."""
    if options.workers:
        return options
    return msgspec.structs.replace(options, workers=len(os.sched_getaffinity(0)))


def read_secrets() -> dict[str, str]:
    """Environment variables that systemd hands over as a credential."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None or not Path(folder, CREDENTIAL).exists():
        return {}
    content = Path(folder, CREDENTIAL).read_bytes()
    return msgspec.json.decode(content, type=dict[str, str])


def notify(word: str) -> None:
    """Tell systemd, when it is there (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(word.encode(), address.replace("@", "\0", 1))


def _bundle(release: Path) -> str:
    for name in BUNDLES:
        if (release / name).exists():
            return str(release / name)
    if inside := os.environ.get("ROADWORTHY_MODEL"):  # in a container: the image's own
        if Path(inside, "manifest.json").is_file():
            return inside
        archives = [str(file) for file in sorted(Path(inside).glob("*.rwb*"))]
        if len(archives) == 1:
            return archives[0]
    raise InputError("the release holds no bundle", where=str(release))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
