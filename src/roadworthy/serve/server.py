"""Start the server: the listening socket, and a supervisor over the workers that share it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from roadworthy.errors import OutsideError
from roadworthy.project import Project, ServeSection
from roadworthy.serve.orders import Orders, Served
from roadworthy.serve.prediction_log.targets import open_target
from roadworthy.serve.supervisor import Supervisor

if TYPE_CHECKING:
    from roadworthy.bundle import Bundle

    Source = Bundle | str | os.PathLike[str]


def serve(
    bundles: Source | list[Source],
    port: int | None = None,
    *,
    host: str | None = None,
    workers: int | None = None,
    project: Project | None = None,
    on_ready: Callable[[str, Sequence[Served]], None] | None = None,
) -> None:
    """Serve bundles until SIGINT or SIGTERM; answers in flight are finished first.

    Args:
        bundles: A bundle or its path (folder, `.rwb`, sealed `.rwb`), or several; the first
            answers where none is named. Each is verified anew, with `[registry] trusted_keys`.
        port: TCP port; None takes `[serve] port`, and 0 any free one.
        host: Address to listen on; None takes `[serve] host`.
        workers: Processes, 0 for one a core; None takes `[serve] workers`.
        project: The project; None takes every default.
        on_ready: Called with the service's address and its models once every worker answers.

    Raises:
        InputError: The folder is no bundle.
        CheckFailed: The bundle is damaged, or a golden row is answered wrong.
        OutsideError: The port cannot be had.
    """
    wanted = (project or Project()).override("serve", host=host, port=port, workers=workers)
    options, trusted = wanted.serve, wanted.registry.trusted_keys
    if options.workers == 0:
        options = msgspec.structs.replace(options, workers=len(os.sched_getaffinity(0)))
    open_target(options)  # a library that the prediction log needs may be missing
    several = bundles if isinstance(bundles, list) else [bundles]
    paths = [_path(one) for one in several]
    share = tempfile.mkdtemp(prefix="roadworthy-")
    with _listen(options.host, options.port) as listening:
        address = _address(options, listening.getsockname()[1])
        monitor = wanted.monitor
        orders = Orders(
            paths, options, listening.fileno(), share, trusted, monitor.counts,
            monitor.counts_seconds, monitor.hours_days,
        )  # fmt: skip
        try:
            Supervisor(orders, lambda models: on_ready(address, models) if on_ready else None).run()
        finally:
            shutil.rmtree(share, ignore_errors=True)


def _path(bundle: Source) -> str:
    return os.fspath(bundle if isinstance(bundle, (str, os.PathLike)) else bundle.path)


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


def _address(options: ServeSection, port: int) -> str:
    scheme = "https" if options.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
