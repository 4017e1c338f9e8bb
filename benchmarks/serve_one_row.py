"""One row over HTTP: Roadworthy, the plain way, and the floor of an empty handler.

    python -m benchmarks.serve_one_row [--seconds 2] [--rounds 3] [--quiet]

All run at once and are loaded in turn by the same wrk script with the same rows, so that a noisy
machine is noisy for each. Servers are bound to one core and the client to another. Medians over
the rounds; the ratios are what to read. With --quiet a load counts only when everybody else took
less than a tenth of one core meanwhile: what another program does is the slowest hundredth of
everything. Cold start is from the command to the first prediction.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
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
CONNECTIONS = (1, 8, 64)
_QUIET, _TRIES = 0.1, 60
FLOOR = {"linear": 1.2, "boosting": 0.8}
"""What each model must reach of the empty handler's rate at 8 connections."""


class Load(NamedTuple):
    """Requests a second, and milliseconds at the median and the 99th percentile."""

    rate: float
    p50: float
    p99: float


class Started(NamedTuple):
    """A server process, its port, and the seconds until it first answered."""

    process: subprocess.Popen[bytes]
    port: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", action="store_true", help="again when others were busy")
    options = parser.parse_args()
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        bundles = {family: make_bundle(Path(folder), family) for family in FLOOR}
        rows = [json.dumps(row).encode() for row in whole_rows(bundles["linear"])]
        script = Path(folder) / "rows.lua"
        script.write_text(lua([row.decode() for row in rows]))
        commands: dict[str, list[object]] = {
            family: ["-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"]
            for family, bundle in bundles.items()
        }
        commands["plain way"] = [here / "plain_app.py", bundles["linear"].path]
        commands["empty"] = [here / "empty_app.py"]
        servers = {name: start(words, rows[0]) for name, words in commands.items()}
        try:
            ports = {name: server.port for name, server in servers.items()}
            found = measure(ports, script, options.seconds, options.rounds, options.quiet)
            show(found)
            for name, server in servers.items():
                memory = resident(server.process.pid) / 1e6
                print(f"{name:<12} cold start {server.seconds:.2f} s, resident {memory:.0f} MB")
            judge(found)
        finally:
            for server in servers.values():
                server.process.terminate()
            for server in servers.values():
                server.process.wait(40)


def start(words: list[object], row: bytes) -> Started:
    """Start a server and wait for its first prediction."""
    port = free_port()
    began = time.monotonic()
    command = [sys.executable, *[str(word) for word in words], str(port)]
    process = subprocess.Popen(on_core(0, command))
    wait(port, row)
    return Started(process, port, time.monotonic() - began)


def measure(
    ports: dict[str, int], script: Path, seconds: int, rounds: int, quiet: bool = False
) -> dict[tuple[int, str], Load]:
    found: dict[tuple[int, str], list[Load]] = defaultdict(list)
    for number in range(rounds):
        for connections in CONNECTIONS:
            names = list(ports) if number % 2 == 0 else list(reversed(ports))
            for name in names:
                for _ in range(_TRIES if quiet else 1):
                    before = others()
                    load = wrk(ports[name], connections, seconds, script)
                    if others() - before < _QUIET * seconds:
                        break
                    time.sleep(1)
                else:
                    if quiet:
                        raise SystemExit("this machine has other things to do: try again later")
                found[connections, name].append(load)
    return {
        key: Load(*(statistics.median(values) for values in zip(*loads, strict=True)))
        for key, loads in found.items()
    }


def show(found: dict[tuple[int, str], Load]) -> None:
    print(f"{'connections':>11}  {'server':<12}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}  ratio")
    for (connections, name), load in sorted(found.items()):
        empty, plain = found[connections, "empty"].rate, found[connections, "plain way"].rate
        print(
            f"{connections:>11}  {name:<12}{load.rate:>11,.0f}{load.p50:>9.2f}{load.p99:>9.2f}"
            f"  {load.rate / empty:.2f} x empty, {load.rate / plain:,.0f} x plain way"
        )


def judge(found: dict[tuple[int, str], Load]) -> None:
    """End with an error where the claim does not hold at 8 connections."""
    for family, wanted in FLOOR.items():
        ratio = found[8, family].rate / found[8, "empty"].rate
        if ratio < wanted:
            raise SystemExit(f"{family}: {ratio:.2f} x the empty handler, claimed {wanted} x")


def wrk(port: int, connections: int, seconds: int, script: Path) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    run = subprocess.run(
        on_core(1, [*command, f"http://127.0.0.1:{port}/predict"]),
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    if "Non-2xx" in run.stdout:
        raise SystemExit(f"port {port} answered with errors:\n{run.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
    assert rate is not None
    return Load(float(rate[1]), latency(run.stdout, 50), latency(run.stdout, 99))


def on_core(number: int, command: list[str]) -> list[str]:
    """A command bound to one core, where there are two."""
    return ["taskset", "-c", str(number), *command] if (os.cpu_count() or 1) > 1 else command


def latency(text: str, percent: int) -> float:
    """Milliseconds of a line of wrk's latency distribution."""
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)\b", text)
    assert found is not None
    return float(found[1]) * UNITS[found[2]]


def others() -> float:
    """Processor seconds that everybody but us has used since the machine started."""
    tick = os.sysconf("SC_CLK_TCK")
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    everybody = sum(fields[:3]) + sum(fields[5:8])  # all but idling and waiting for a disk
    return (everybody - ticks(os.getpid())) / tick


def ticks(pid: int) -> int:
    """Processor time of a process and of all below it, ended ones included."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) + sum(ticks(int(child)) for child in children)


def resident(pid: int) -> int:
    """Bytes of a process and of all below it, shared pages by their share."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    assert own is not None
    return int(own[1]) * 1024 + sum(resident(int(child)) for child in children)


def lua(bodies: list[str], path: str = "/predict") -> str:
    rows = ",".join(f"[==[{body}]==]" for body in bodies)
    return (
        f"local rows = {{{rows}}}\nlocal i = 0\n"
        "local headers = {['Content-Type'] = 'application/json'}\n"
        "request = function() i = i % #rows + 1\n"
        f"return wrk.format('POST', '{path}', headers, rows[i]) end\n"
    )


def wait(
    port: int,
    row: bytes,
    path: str = "/predict",
    patience: float = 300,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait for an answer, for as long as the process lives and the patience lasts."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", path, row, {"Content-Type": "application/json"})
            if connection.getresponse().status == 200:
                return
            time.sleep(0.01)
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
    raise SystemExit(f"nothing answers on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
