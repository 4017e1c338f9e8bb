"""The same model served by Roadworthy and by others, with the same rows, on one core each.

    python -m benchmarks.serve_peers [--peers mlflow,mlserver,…] [--rounds 3] [--quick]

Peers get environments of their own, made once. Every answer is compared with ours before anything
is measured; a peer that cannot be installed, does not start or answers otherwise is left out, with
a word why. Rounds are interleaved, medians count; on a busy machine read the ratios alone, of many
rows those of processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import rich

from benchmarks.model import make_bundle, whole_rows
from benchmarks.peer_ways import PEERS, Rows, Way, ours
from benchmarks.serve_batches import bodies
from benchmarks.serve_one_row import FLOOR, Load, free_port, lua, on_core, resident, wait, wrk

BATCH = 1000
JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
EMPTY, OURS = "empty", "ours"
OTHERS = {"ours, Arrow": ("Arrow", JSON), "ours, Arrow both ways": ("Arrow", ARROW)}
"""Our other ways of many rows: how they are sent, and what is accepted for an answer."""
Loads = dict[tuple[int, str], list[Load]]
Seconds = dict[str, list[float]]


class Running(NamedTuple):
    """A server that answers: how it is asked, its process, port, seconds to the first answer."""

    way: Way
    process: subprocess.Popen[bytes]
    port: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--families", nargs="+", default=list(FLOOR), choices=list(FLOOR))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--patience", type=float, default=120, help="seconds for a peer to start")
    parser.add_argument("--quick", action="store_true", help="one short round, 8 connections")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 1, [8]
    wanted = [name for name in options.peers.split(",") if name]
    for family in options.families:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            compare(family, Path(folder), wanted, options)


def compare(family: str, folder: Path, peers: list[str], options: argparse.Namespace) -> None:
    """Start all that can be had, measure them in turn, show what was found."""
    bundle = make_bundle(folder / "bundles", family)
    rows = whole_rows(bundle)
    many = (rows * (BATCH // len(rows) + 1))[:BATCH]
    empty = [sys.executable, Path(__file__).parent / "empty_app.py"]
    floor = Way(lambda port: [*empty, port], "/predict", lambda r: r[0], lambda answer: [])
    with contextlib.ExitStack() as stack:
        running = {
            OURS: start(ours(bundle), rows[:1], folder / "ours.log", 120, stack),
            EMPTY: start(floor, rows[:1], folder / "empty.log", 120, stack),
        }
        wanted = ask(running[OURS], rows[:20])[0]
        for name in peers:
            try:
                way = PEERS[name](bundle, folder)
                log = folder / f"{name}.log"
                found = start(way, rows[:1], log, options.patience, stack)
                check(name, wanted, ask(found, rows[:20])[0])
                running[name] = found
            except (SystemExit, OSError, subprocess.SubprocessError) as error:
                print(f"{name} is left out: {str(error)[:2000]}", flush=True)
        loads: Loads = defaultdict(list)
        batches: Seconds = defaultdict(list)
        costs: Seconds = defaultdict(list)
        for number in range(options.rounds):
            for name in list(running) if number % 2 == 0 else list(reversed(running)):
                load(name, running[name], rows, folder, options, loads)
                for label, send in ways_to_send(name, running[name], many):
                    send()  # what is loaded by the first request is no cost of the others
                    before = processor(running[name].process.pid)
                    batches[label] += [send() for _ in range(5)]
                    costs[label].append((processor(running[name].process.pid) - before) / 5)
            print(f"round {number + 1} of {options.rounds}", flush=True)
        show(family, running, loads, batches, costs)


def load(
    name: str,
    server: Running,
    rows: Rows,
    folder: Path,
    options: argparse.Namespace,
    loads: Loads,
) -> None:
    """One round of single rows; a server that fails under it is not measured there."""
    script = folder / f"{name}.lua"
    way = server.way
    script.write_text(lua([json.dumps(way.body([row])) for row in rows], way.path))
    for connections in options.connections:
        try:
            loads[connections, name].append(wrk(server.port, connections, options.seconds, script))
        except (SystemExit, subprocess.SubprocessError) as error:
            print(f"{name} failed at {connections} connections: {str(error)[:300]}", flush=True)


def start(way: Way, row: Rows, log: Path, patience: float, stack: contextlib.ExitStack) -> Running:
    """Start a server and wait for its first answer; it ends with the stack.

    Raises:
        SystemExit: It does not answer in time.
    """
    port = free_port()
    command = on_core(0, [str(word) for word in way.command(port)])
    told = {**os.environ, "OMP_NUM_THREADS": "1", **way.environment}
    began = time.monotonic()
    with log.open("wb") as into:
        process = subprocess.Popen(
            command, env=told, stdout=into, stderr=into, start_new_session=True
        )
    stack.callback(stop, process)
    try:
        wait(port, json.dumps(way.body(row)).encode(), way.path, patience, process)
    except SystemExit as error:
        stop(process)
        raise SystemExit(f"{error}: {command}\n{log.read_text()[-1500:]}") from None
    return Running(way, process, port, time.monotonic() - began)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it started, by force if it must be."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(40)


def ask(server: Running, rows: Rows) -> tuple[list[list[float]], float]:
    """Probabilities of rows, and the seconds that they took."""
    way = server.way
    path = way.many if way.many and len(rows) > 1 else way.path
    content, taken = post(server.port, path, json.dumps(way.body(rows)).encode(), JSON)
    return way.shares(json.loads(content)), taken


def ways_to_send(name: str, server: Running, rows: Rows) -> list[tuple[str, Callable[[], float]]]:
    """How many rows are sent to a server: label -> what sends them and says the seconds."""
    if name == EMPTY:
        return []
    ways: list[tuple[str, Callable[[], float]]] = [(name, lambda: ask(server, rows)[1])]
    if name == OURS:
        ways += [(label, partial(ask_as, server, rows, *how)) for label, how in OTHERS.items()]
    return ways


def processor(pid: int) -> float:
    """Seconds that a process and all below it have had of a processor, ended threads included.

    Where others are at work too this says more than the time on the clock.
    """
    try:
        # Linux's clock of a process, with its threads that have ended: CPUCLOCK_SCHED is 2
        seconds = time.clock_gettime(~pid << 3 | 2)
    except OSError:  # it ended meanwhile
        return 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            seconds += sum(map(processor, map(int, (task / "children").read_text().split())))
    return seconds


def ask_as(server: Running, rows: Rows, form: str, accept: str) -> float:
    """Seconds of the same rows in another form."""
    media, body = bodies(rows)[form]
    return post(server.port, server.way.path, body, media, accept)[1]


def post(port: int, path: str, body: bytes, media: str, accept: str = JSON) -> tuple[bytes, float]:
    """The answer on a new connection, and its seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.connect()
    try:
        began = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": media, "Accept": accept})
        answer = connection.getresponse()
        content = answer.read()
        taken = time.perf_counter() - began
    finally:
        connection.close()
    if answer.status != 200:
        raise SystemExit(f"port {port} {path}: {answer.status} {content[:300]!r}")
    return content, taken


def check(name: str, wanted: list[list[float]], given: list[list[float]]) -> None:
    """Every server must answer the same."""
    pairs = zip(wanted, given, strict=True)
    worst = max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))
    if worst > 1e-6:
        raise SystemExit(f"{name} answers otherwise: a probability differs by {worst:.2g}")


def show(
    family: str, running: dict[str, Running], loads: Loads, batches: Seconds, costs: Seconds
) -> None:
    """Print two tables and the ratios that are claimed."""
    middle = {
        key: Load(*(statistics.median(values) for values in zip(*found, strict=True)))
        for key, found in loads.items()
        if found
    }
    rich.print(f"\n[bold]{family}[/bold]: one row, medians over the rounds")
    for (connections, name), one in sorted(middle.items()):
        ratio = middle[connections, OURS].rate / one.rate
        print(
            f"{connections:>4} connections  {name:<10}{one.rate:>10,.0f} requests/s"
            f"{one.p50:>9.2f} ms p50{one.p99:>9.2f} ms p99   ours is {ratio:,.2f} x"
        )
    print(f"\n{family}: {BATCH} rows a request; first answer and memory of each server")
    middles = {name: statistics.median(seconds) for name, seconds in batches.items()}
    spent = {name: statistics.median(seconds) for name, seconds in costs.items()}
    fastest = min((taken for name, taken in middles.items() if _is_peer(name)), default=0.0)
    cheapest = min((taken for name, taken in spent.items() if _is_peer(name)), default=0.0)
    for name, taken in middles.items():
        line = (
            f"{name:<22}{1000 * taken:>8.1f} ms, {fastest / taken:>5.1f} x the best peer;"
            f" {1000 * spent[name]:.1f} ms of processor, {cheapest / spent[name]:.1f} x"
        )
        if name in running:
            server = running[name]
            memory = resident(server.process.pid) / 1e6
            line += f"; first answer after {server.seconds:.1f} s, {memory:,.0f} MB"
        print(line)
    if (8, OURS) in middle and (8, EMPTY) in middle:
        peers = [one.rate for (at, name), one in middle.items() if at == 8 and _is_peer(name)]
        mine = middle[8, OURS]
        best, floor = max(peers, default=mine.rate), middle[8, EMPTY]
        print(
            f"at 8 connections: {mine.rate / floor.rate:.2f} x the empty handler"
            f" (claimed {FLOOR[family]}), {mine.rate / best:,.0f} x the best peer,"
            f" p99 is {mine.p99 / mine.p50:.1f} x p50"
            f" (the empty handler's {floor.p99 / floor.p50:.1f} x;"
            f" {mine.p99:.2f} and {floor.p99:.2f} ms)"
        )


def _is_peer(name: str) -> bool:
    return name not in (OURS, EMPTY, *OTHERS)


if __name__ == "__main__":
    main()
