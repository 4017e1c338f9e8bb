"""An address of this machine behind which a release on a host answers, before callers get it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from roadworthy.deploy.ssh.connection import Connection

_PART = 1 << 16


@contextlib.contextmanager
def tunnel(connection: Connection, program: str) -> Iterator[str]:
    """Open an address whose connections are joined to a program on the host.

    Args:
        connection: To the host.
        program: What joins its standard input and output to the release.

    Yields:
        `http://127.0.0.1:PORT`.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        channels: list[subprocess.Popen[bytes]] = []
        threading.Thread(
            target=_accept, args=(listening, connection, program, channels), daemon=True
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
    connection: Connection,
    program: str,
    channels: list[subprocess.Popen[bytes]],
) -> None:
    with contextlib.suppress(OSError):  # closed: the tunnel's end
        while True:
            near, _ = listening.accept()
            far = connection.channel(program)
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
