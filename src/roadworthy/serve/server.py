"""Start the server: Granian's processes and signals around the application."""

from __future__ import annotations

import functools
import gc
import http.client
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from roadworthy.bundle import Bundle
from roadworthy.errors import OutsideError
from roadworthy.project import Project, ServeSection

_HEADER_DEADLINE_MS = 10_000
_DRAIN_SECONDS = 30


def serve(
    bundle: Bundle | str | os.PathLike[str],
    port: int | None = None,
    *,
    host: str | None = None,
    workers: int | None = None,
    project: Project | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a bundle until SIGINT or SIGTERM; answers in flight are finished first.

    Args:
        bundle: The bundle, or its path; it is verified anew, with `[registry] trusted_keys`.
        port: TCP port; None takes `[serve] port`.
        host: Address to listen on; None takes `[serve] host`.
        workers: Processes; None takes `[serve] workers`.
        project: The project; None takes every default.
        on_ready: Called with the service's address once it answers.

    Raises:
        InputError: The folder is no bundle.
        CheckFailed: The bundle is damaged, or a golden row is answered wrong.
        OutsideError: The port cannot be had.
    """
    wanted = (project or Project()).override("serve", host=host, port=port, workers=workers)
    options, trusted = wanted.serve, wanted.registry.trusted_keys
    path = bundle.path if isinstance(bundle, Bundle) else Path(bundle)
    Bundle(path, absent=options.absent, trusted_keys=trusted).check_golden()
    _check_port(options.host, options.port)
    share = Path(tempfile.mkdtemp(prefix="roadworthy-")) if options.workers > 1 else None
    server = Granian(
        "roadworthy",
        address=options.host,
        port=options.port,
        interface=Interfaces.RSGI,
        workers=options.workers,
        loop=Loops.asyncio,
        websockets=False,
        log_level=LogLevels.warning,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_DEADLINE_MS),
        respawn_failed_workers=True,
        workers_kill_timeout=_DRAIN_SECONDS,
    )
    if on_ready is not None:
        waiter = threading.Thread(target=_announce, args=(options, on_ready), daemon=True)
        server.on_startup(waiter.start)
    try:
        server.serve(
            target_loader=functools.partial(load_app, path, options, share, trusted),
            wrap_loader=False,
        )
    finally:
        if share is not None:
            shutil.rmtree(share, ignore_errors=True)


def load_app(
    path: Path, options: ServeSection, share: Path | None, trusted_keys: Sequence[str] = ()
) -> Any:
    """Load the application in a worker process."""
    from roadworthy.serve.app import App

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app = App(Bundle(path, absent=options.absent, trusted_keys=trusted_keys), options, share)
    gc.collect()
    gc.freeze()  # what is loaded stays: the collector need not walk it again and again
    return app


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OutsideError(
                f"cannot listen on {host} port {port}: {error.strerror or error}",
                fix="choose another --port, or stop what uses this one",
            ) from None


def _announce(options: ServeSection, on_ready: Callable[[str], None]) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
    shown = f"[{host}]" if ":" in host else host
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection(host, options.port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                on_ready(f"http://{shown}:{options.port}")
                return
        except OSError:
            pass
        time.sleep(0.05)
