"""An hour's traffic in minutes: memory stays flat, and nothing is answered with a fault.

    python -m benchmarks.soak [--requests 360000]

Single rows as fast as they are answered, and in between bad bodies, every format and dialect,
clients that go away while they ask or before they are answered, and floods of half requests.
360,000 requests are an hour of a hundred a second.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.model import make_bundle, whole_rows
from benchmarks.serve_batches import JSON, bodies
from benchmarks.serve_one_row import lua, on_core, resident, start

ALLOWED = 10_000_000
"""Bytes that memory may grow after the first quarter."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=360_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder), "boosting")
        rows = whole_rows(bundle)
        script = Path(folder) / "rows.lua"
        script.write_text(lua([json.dumps(row) for row in rows]))
        command = ["-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"]
        server = start([*command], json.dumps(rows[0]).encode())
        try:
            soak(server.port, server.process.pid, script, rows, options.requests)
        finally:
            server.process.terminate()
            server.process.wait(40)


def soak(port: int, pid: int, script: Path, rows: list[dict[str, object]], wanted: int) -> None:
    """Ask until so many requests were answered; SystemExit when memory grew."""
    began = time.monotonic()
    memory: list[int] = []
    requests = 0
    others = mixed(rows)
    while requests < wanted:
        command = ["wrk", "-t1", "-c32", "-d5s", "-s", str(script)]
        run = subprocess.run(
            on_core(1, [*command, f"http://127.0.0.1:{port}/predict"]),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        requests += int(run.stdout.split(" requests in")[0].split()[-1]) + len(others)
        for path, headers, body in others:
            ask(port, path, headers, body)
            go_away(port, path, headers, body)
        flood(port)
        memory.append(resident(pid))
        passed = time.monotonic() - began
        print(f"{passed:>6.0f} s {requests:>12,} requests {memory[-1] / 1e6:>8.1f} MB", flush=True)
    early = max(memory[: max(1, len(memory) // 4)])
    grown = (memory[-1] - early) / 1e6
    if memory[-1] - early > ALLOWED:
        raise SystemExit(f"memory grew by {grown:.1f} MB")
    print(f"after the first quarter memory grew by {grown:.1f} MB")


def mixed(rows: list[dict[str, object]]) -> list[tuple[str, dict[str, str], bytes]]:
    """Path, headers and body of what is asked beside single rows, good and bad."""
    many = (rows * 40)[:1000]
    good = [("/predict", {"Content-Type": media}, body) for media, body in bodies(many).values()]
    texts = json.dumps(many).encode()
    zipped = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    good += [
        ("/predict", zipped, gzip.compress(texts)),
        ("/invocations", {"Content-Type": JSON}, b'{"dataframe_records":' + texts + b"}"),
        ("/score", {"Content-Type": JSON}, b'{"data":' + texts + b"}"),
    ]
    bad = [b"", b"{", b"[" * 99_999, b'{"age": "x"}', b"\xff" * 1000, b'{"age":NaN}', texts[:-9]]
    bomb = gzip.compress(b" " * 10_000_000)
    refused = [("/predict", {"Content-Type": JSON}, body) for body in bad]
    return [*good, *refused, ("/predict", zipped, bomb), ("/predict", zipped, texts)]


def ask(port: int, path: str, headers: dict[str, str], body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, headers)
    status = connection.getresponse().status
    connection.close()
    if status >= 500:
        raise SystemExit(f"{path} was answered with {status}")


def go_away(port: int, path: str, headers: dict[str, str], body: bytes) -> None:
    """Ask twice, and leave in the middle of the body and before the answer."""
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    whole = "\r\n".join([*head, "", ""]).encode() + body
    for content in (whole[: len(whole) - len(body) // 2], whole):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(content)


def flood(port: int) -> None:
    """Connections that begin a request and go away."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Le")


if __name__ == "__main__":
    main()
