"""Join standard input and output to a balancer by TLS, whose certificate must be for a given name.

    python -m roadworthy.deploy.cloud.relay HOST PORT NAME

The balancer's own name is not the one that its certificate is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

_PART = 1 << 16


async def relay(host: str, port: int, name: str) -> None:
    """Relay until the far side ends."""
    opening = asyncio.open_connection(
        host, port, ssl=ssl.create_default_context(), server_hostname=name
    )
    far, writer = await asyncio.wait_for(opening, 30)
    near = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(near), sys.stdin.buffer
    )
    sending = asyncio.create_task(_send(near, writer))
    while part := await far.read(_PART):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    sending.cancel()
    writer.close()


async def _send(near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await near.read(_PART):
            writer.write(part)
            await writer.drain()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
