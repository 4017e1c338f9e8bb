"""Start the server: the listening socket, and a supervisor over the workers that share it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.errors import OutsideError
from roadworthy.project import Project
from roadworthy.serve.orders import Orders, Served
from roadworthy.serve.supervisor import Supervisor

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle


def serve(
    bundle: Bundle | str | os.PathLike[str],
    port: int | None = None,
    *,
    host: str | None = None,
    workers: int | None = None,
    project: Project | None = None,
    on_ready: Callable[[str, Sequence[Served]], None] | None = None,
) -> None:
    """Serve a bundle until SIGINT or SIGTERM; answers in flight are finished first.

    Args:
        bundle: The bundle, or its folder.
        port: TCP port; None takes `[serve] port`, and 0 any free one.
        host: Address to listen on; None takes `[serve] host`.
        workers: Processes; None takes `[serve] workers`.
        project: The project; None takes every default.
        on_ready: Called with the service's address and its models once every worker answers.

    Raises:
        InputError: The folder is no bundle.
        CheckFailed: The bundle is damaged, or a golden row is answered wrong.
        OutsideError: The port cannot be had.
    """
    options = (project or Project()).override("serve", host=host, port=port, workers=workers).serve
    path = Path(bundle if isinstance(bundle, (str, os.PathLike)) else bundle.path)
    share = tempfile.mkdtemp(prefix="roadworthy-")
    with _listen(options.host, options.port) as listening:
        address = _address(options.host, listening.getsockname()[1])
        orders = Orders([str(path)], options, listening.fileno(), share)
        try:
            Supervisor(orders, lambda models: on_ready(address, models) if on_ready else None).run()
        finally:
            shutil.rmtree(share, ignore_errors=True)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise OutsideError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            fix="choose another --port, or stop what uses this one",
        ) from None
    return listening


def _address(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
