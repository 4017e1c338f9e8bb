"""An address of this machine behind which a pod answers, through the cluster's API."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from roadworthy.deploy.kubernetes.cluster import Cluster
from roadworthy.errors import OutsideError

_PART = 1 << 16


@contextlib.contextmanager
def forwarded(cluster: Cluster, pod: str, port: int) -> Iterator[str]:
    """Open an address whose connections lead to a pod; network policies do not stand in the way.

    Yields:
        `http://127.0.0.1:PORT`.

    Raises:
        OutsideError: The cluster does not let us.
    """
    cluster.channel(pod, port).close()  # what is forbidden is said here, and not by a thread
    with socket.create_server(("127.0.0.1", 0)) as listening:
        opened: list[socket.socket] = []
        threading.Thread(
            target=_accept, args=(listening, cluster, pod, port, opened), daemon=True
        ).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for each in opened:
                with contextlib.suppress(OSError):
                    each.close()


def _accept(
    listening: socket.socket, cluster: Cluster, pod: str, port: int, opened: list[socket.socket]
) -> None:
    with contextlib.suppress(OSError):  # closed: the end of it
        while True:
            near, _ = listening.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                far = cluster.channel(pod, port)
            except OutsideError:
                near.close()
                continue
            opened += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(_PART):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
