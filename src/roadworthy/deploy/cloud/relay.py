"""Join standard input and output to a balancer by TLS, whose certificate must be for a given name.

    python -m roadworthy.deploy.cloud.relay HOST PORT NAME

The balancer's own name is not the one that its certificate is for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading

_PART = 1 << 16


def main(host: str, port: str, name: str) -> None:
    """Relay until either side ends."""
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=name) as far,
    ):
        far.settimeout(None)
        threading.Thread(target=_send, args=(far,), daemon=True).start()
        while part := far.recv(_PART):
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()


def _send(far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := os.read(0, _PART):
            far.sendall(part)


if __name__ == "__main__":
    main(*sys.argv[1:4])
