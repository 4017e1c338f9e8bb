"""One row over HTTP: Roadworthy, the plain way, and the floor of an empty handler.

    python -m benchmarks.serve_one_row [--seconds 2] [--rounds 3]

All three run at once and are loaded in turn by the same wrk script with the same rows, so that a
noisy machine is noisy for each. Medians over the rounds; the ratios are what to read.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.model import make_bundle, whole_rows

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Load(NamedTuple):
    """Requests a second, and milliseconds at the median and the 99th percentile."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", default="boosting")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder), options.family)
        script = Path(folder) / "rows.lua"
        script.write_text(lua([json.dumps(row) for row in whole_rows(bundle)]))
        here = Path(__file__).parent
        ports = {name: free_port() for name in ("roadworthy", "plain way", "empty handler")}
        commands: dict[str, list[object]] = {
            "roadworthy": ["-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"],
            "plain way": [here / "plain_app.py", bundle.path],
            "empty handler": [here / "empty_app.py"],
        }
        servers = [
            subprocess.Popen([sys.executable, *[str(word) for word in words], str(ports[name])])
            for name, words in commands.items()
        ]
        try:
            for port in ports.values():
                wait(port)
            found = measure(ports, script, options.seconds, options.rounds)
            show(found)
            judge(found)
        finally:
            for server in servers:
                server.terminate()
            for server in servers:
                server.wait(40)


def measure(
    ports: dict[str, int], script: Path, seconds: int, rounds: int
) -> dict[tuple[int, str], Load]:
    found: dict[tuple[int, str], list[Load]] = defaultdict(list)
    for number in range(rounds):
        for connections in (1, 8, 64):
            names = list(ports) if number % 2 == 0 else list(reversed(ports))
            for name in names:
                load = wrk(ports[name], connections, seconds, script)
                found[connections, name].append(load)
    return {
        key: Load(
            statistics.median(load.rate for load in loads),
            statistics.median(load.p50 for load in loads),
            statistics.median(load.p99 for load in loads),
        )
        for key, loads in found.items()
    }


def show(found: dict[tuple[int, str], Load]) -> None:
    print(f"{'connections':>11}  {'server':<14}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}  ratio")
    for connections in (1, 8, 64):
        ours = found[connections, "roadworthy"]
        for name in ("roadworthy", "plain way", "empty handler"):
            load = found[connections, name]
            ratio = "" if name == "roadworthy" else f"roadworthy is {ours.rate / load.rate:.2f} x"
            print(
                f"{connections:>11}  {name:<14}{load.rate:>11,.0f}{load.p50:>9.2f}{load.p99:>9.2f}"
                f"  {ratio}"
            )


def judge(found: dict[tuple[int, str], Load]) -> None:
    """End with an error where the claim does not hold at 8 connections."""
    ours = found[8, "roadworthy"].rate
    plain, empty = ours / found[8, "plain way"].rate, ours / found[8, "empty handler"].rate
    if plain < 30 or empty < 0.5:
        raise SystemExit("the claim does not hold: 30 x the plain way, half the empty handler")


def wrk(port: int, connections: int, seconds: int, script: Path) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/predict"], capture_output=True, text=True, check=True
    )
    if "Non-2xx" in run.stdout:
        raise SystemExit(f"port {port} answered with errors:\n{run.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
    assert rate is not None
    return Load(float(rate[1]), latency(run.stdout, 50), latency(run.stdout, 99))


def latency(text: str, percent: int) -> float:
    """Milliseconds of a line of wrk's latency distribution."""
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)\b", text)
    assert found is not None
    return float(found[1]) * UNITS[found[2]]


def lua(bodies: list[str]) -> str:
    rows = ",".join(f"[==[{body}]==]" for body in bodies)
    return (
        f"local rows = {{{rows}}}\nlocal i = 0\n"
        "local headers = {['Content-Type'] = 'application/json'}\n"
        "request = function() i = i % #rows + 1\n"
        "return wrk.format('POST', '/predict', headers, rows[i]) end\n"
    )


def wait(port: int) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/readyz", b"{}")
            connection.getresponse()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
