"""Hours of traffic in minutes: memory stays flat under good rows, bad bodies, batches and floods.

python -m benchmarks.soak [--minutes 2]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.model import make_bundle, whole_rows
from benchmarks.serve_one_row import lua, on_core, resident, start

ALLOWED = 10_000_000
"""Bytes that memory may grow after the first quarter."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder), "boosting")
        rows = whole_rows(bundle)
        script = Path(folder) / "rows.lua"
        script.write_text(lua([json.dumps(row) for row in rows]))
        command = ["-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"]
        server = start([*command], json.dumps(rows[0]).encode())
        try:
            soak(server.port, server.process.pid, script, rows, options.minutes * 60)
        finally:
            server.process.terminate()
            server.process.wait(40)


def soak(port: int, pid: int, script: Path, rows: list[dict[str, object]], seconds: float) -> None:
    began = time.monotonic()
    memory: list[int] = []
    requests = 0
    while (passed := time.monotonic() - began) < seconds:
        command = ["wrk", "-t1", "-c32", "-d5s", "-s", str(script)]
        run = subprocess.run(
            on_core(1, [*command, f"http://127.0.0.1:{port}/predict"]),
            capture_output=True,
            text=True,
            check=True,
        )
        requests += int(run.stdout.split(" requests in")[0].split()[-1])
        for body in (b"{", b"[" * 9999, json.dumps(rows * 20).encode(), b'{"age": "x"}') * 5:
            ask(port, body)
        flood(port)
        memory.append(resident(pid))
        print(f"{passed:>6.0f} s {requests:>12,} requests {memory[-1] / 1e6:>8.1f} MB")
    early = max(memory[: max(1, len(memory) // 4)])
    if memory[-1] - early > ALLOWED:
        raise SystemExit(f"memory grew by {(memory[-1] - early) / 1e6:.1f} MB")


def ask(port: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    if status >= 500:
        raise SystemExit(f"answered with {status}")


def flood(port: int) -> None:
    """Connections that begin a request and go away."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Le")


if __name__ == "__main__":
    main()
