"""Measure what a request costs one core: a real server, its own processor time."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.errors import OutsideError

_START_SECONDS = 60.0
_WARM = 200


class Cost(NamedTuple):
    """What serving costs.

    Attributes:
        microseconds: Processor time of one request of one row, all of the server counted.
        memory_mb: Resident memory of the server with one worker.
        sent_bytes: Of a request, headers included.
        received_bytes: Of an answer, headers included.
    """

    microseconds: float
    memory_mb: float
    sent_bytes: int
    received_bytes: int


def measure(bundle: Bundle, requests: int = 3000) -> Cost:
    """Serve a bundle with one worker on this machine and ask it for single rows.

    The processor's time of the server's processes is what counts, so that neither the client nor
    others who use the machine are measured with it; caches that they share are.

    Args:
        bundle: What to serve; its golden rows are sent.
        requests: How many.

    Raises:
        OutsideError: The server does not start, or this system does not tell processor times.
    """
    if not Path("/proc/self/stat").exists():
        raise OutsideError(
            "this system does not tell the processor time of another process",
            fix="measure on Linux, or give --microseconds and --memory",
        )
    bodies = [msgspec.json.encode(golden.row) for golden in bundle.golden[:50]]
    with _serving(bundle.path.resolve()) as (process, port):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        _wait_ready(client, process)
        for body in (bodies * (_WARM // len(bodies) + 1))[:_WARM]:
            _ask(client, body)
        before = _seconds(process.pid)
        sizes = [_ask(client, bodies[number % len(bodies)]) for number in range(requests)]
        used = _seconds(process.pid) - before
        memory = _memory(process.pid)
        client.close()
    sent = sum(sent for sent, _ in sizes) // requests
    received = sum(received for _, received in sizes) // requests
    return Cost(used / requests * 1e6, memory / 1e6, sent, received)


@contextlib.contextmanager
def _serving(bundle: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "roadworthy", "serve", str(bundle), "--quiet"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",  # no project file of the caller's
    )
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_ready(client: http.client.HTTPConnection, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            client.request("GET", "/readyz")
            answer = client.getresponse()
            answer.read()
            if answer.status == 200:
                return
        except (OSError, http.client.HTTPException):
            client.close()
        time.sleep(0.05)
    raise OutsideError("the server did not become ready", fix="try `roadworthy serve` by hand")


def _ask(client: http.client.HTTPConnection, body: bytes) -> tuple[int, int]:
    client.request("POST", "/predict", body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise OutsideError(f"the server answered {answer.status} to a golden row")
    heads = sum(len(name) + len(value) + 4 for name, value in answer.getheaders())
    return len(body) + 150, len(content) + heads + 17  # request line and headers; status line


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in thread.read_text().split():
            found += _family(int(child))
    return found


def _seconds(pid: int) -> float:
    ticks = 0
    for each in _family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system time
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    pages = [int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in _family(pid)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")
