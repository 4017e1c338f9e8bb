"""One worker process: load, listen, answer, drain.

The supervisor starts it, hands it the listening socket and, on its standard input, what to serve;
the worker says on its standard output when it is ready, that it is alive, and why it cannot be.
When the standard input ends, so does the worker: it never outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from typing import Any

import msgspec
import uvloop

from roadworthy.errors import RoadworthyError
from roadworthy.serve.listener import SWEEP, Listener
from roadworthy.serve.orders import Orders, Word
from roadworthy.serve.tls import Certificates, certificates

_BACKLOG = 4096
_TURN = 0.0002
"""Seconds after which a thread that counts or reads many rows gives way to the one that answers:
of Python's own 5 ms each would be the longest wait of a single row."""


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too: the supervisor decides
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(_TURN)
    os.set_blocking(1, False)  # a supervisor that does not listen must not stop us
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    _allow_many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(orders))
        except RoadworthyError as error:
            say(Word("failed", error.what, error.where, error.fix, error.exit_code))
            return error.exit_code
    return 0


def say(word: Word) -> None:
    """Tell the supervisor."""
    with contextlib.suppress(OSError):  # it is gone, and we are about to notice
        os.write(1, msgspec.json.encode(word) + b"\n")


async def _serve(orders: Orders) -> None:
    from roadworthy.serve.app import load_app

    loop = asyncio.get_running_loop()
    app = await load_app(orders)
    listener = Listener(app, orders.options, loop)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(0, stop.set)  # the supervisor writes nothing more: this is its end
    secured = certificates(orders.options)
    server = await _listen(listener, orders, secured)
    remote = None
    if orders.options.grpc_port is not None:
        from roadworthy.serve.grpc_server import start_grpc

        remote = await start_grpc(app, orders.options)
    gc.collect()
    gc.freeze()  # what is loaded stays: the collector need not walk it again and again
    say(Word("ready", served=app.served()))
    ticking = loop.create_task(_tick(listener, app, secured))
    await stop.wait()
    loop.remove_reader(0)
    server.close()
    listener.drain()
    seconds = orders.options.drain_seconds
    remotely = loop.create_task(remote.stop(seconds)) if remote is not None else None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while listener.connections:
                await asyncio.sleep(0.02)
    if remotely is not None:
        await remotely
    ticking.cancel()
    app.close()


async def _listen(
    listener: Listener, orders: Orders, secured: Certificates | None
) -> asyncio.Server:
    from roadworthy.serve.connection import Connection

    listening = socket.socket(fileno=orders.socket)
    listening.setblocking(False)
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: Connection(listener),
        sock=listening,
        backlog=_BACKLOG,
        ssl=secured.context if secured else None,
        ssl_handshake_timeout=orders.options.header_seconds if secured else None,
    )


async def _tick(listener: Listener, app: Any, secured: Certificates | None) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        listener.sweep()
        app.tick()
        if secured is not None:
            secured.refresh()
        say(Word("alive"))


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: each connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
