"""An address of this machine behind which a release answers, before callers get it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.project import Project

_PART = 1 << 16


def without_latency(project: Project) -> Project:
    """The project without gates on latency: through a tunnel, the way there would be measured."""
    gates = msgspec.structs.replace(project.gates, latency_p50_ms=None, latency_p99_ms=None)
    return msgspec.structs.replace(project, gates=gates)


def version_at(url: str, bundle: Bundle) -> str:
    """Where a server answers by that very version: elsewhere a canary answers, too."""
    manifest = bundle.manifest
    return f"{url}/models/{manifest.name}/versions/{manifest.short_version}"


@contextlib.contextmanager
def tunnel(open_channel: Callable[[], subprocess.Popen[bytes]]) -> Iterator[str]:
    """Open an address whose connections are joined to programs.

    Args:
        open_channel: Starts a program that joins its standard input and output to the release.

    Yields:
        `http://127.0.0.1:PORT`.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        channels: list[subprocess.Popen[bytes]] = []
        threading.Thread(
            target=_accept, args=(listening, open_channel, channels), daemon=True
        ).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for channel in channels:
                channel.kill()
                channel.wait()


def _accept(
    listening: socket.socket,
    open_channel: Callable[[], subprocess.Popen[bytes]],
    channels: list[subprocess.Popen[bytes]],
) -> None:
    with contextlib.suppress(OSError):  # closed: the tunnel's end
        while True:
            near, _ = listening.accept()
            far = open_channel()
            channels.append(far)
            threading.Thread(target=_to_host, args=(near, far), daemon=True).start()
            threading.Thread(target=_from_host, args=(far, near), daemon=True).start()


def _to_host(near: socket.socket, far: subprocess.Popen[bytes]) -> None:
    assert far.stdin is not None
    with contextlib.suppress(OSError, ValueError):
        while part := near.recv(_PART):
            far.stdin.write(part)
            far.stdin.flush()
    with contextlib.suppress(OSError, ValueError):
        far.stdin.close()


def _from_host(far: subprocess.Popen[bytes], near: socket.socket) -> None:
    assert far.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        while part := far.stdout.read1(_PART):  # type: ignore[attr-defined]
            near.sendall(part)
    near.close()
