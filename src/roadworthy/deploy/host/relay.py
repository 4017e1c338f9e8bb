"""Join standard input and output with a Unix socket.

    python -m roadworthy.deploy.host.relay SOCKET

By this a release that callers do not get yet is asked from the machine that deploys, through SSH.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_PART = 1 << 16


def main(place: str) -> int:
    """Copy both ways until either side ends."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(place)
        threading.Thread(target=_send, args=(channel,), daemon=True).start()
        while part := channel.recv(_PART):
            while part:
                part = part[os.write(1, part) :]
    return 0


def _send(channel: socket.socket) -> None:
    while part := os.read(0, _PART):
        channel.sendall(part)
    channel.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
