"""The same model served by Roadworthy and by others, with the same rows, on one core each.

    python -m benchmarks.serve_peers [--peers mlflow,mlserver,bentoml,fastapi] [--rounds 3]

Peers get environments of their own, made once. Every answer is compared with ours before anything
is measured. Rounds are interleaved, medians count; on a busy machine read the ratios alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import roadworthy as rw
from benchmarks.environments import ROOT, environment
from benchmarks.model import make_bundle, whole_rows
from benchmarks.serve_one_row import (
    FLOOR,
    Load,
    free_port,
    lua,
    on_core,
    resident,
    wait,
    wrk,
)

BATCH = 1000
HERE = Path(__file__).parent
Rows = list[dict[str, Any]]


class Way(NamedTuple):
    """How one server is started and asked.

    Attributes:
        command: Without the port.
        path: Where one row is asked.
        body: Rows -> JSON.
        shares: Answer -> probabilities of each row.
        many: Where many rows are asked.
        environment: Further environment variables.
    """

    command: Callable[[int], list[Any]]
    path: str
    body: Callable[[Rows], Any]
    shares: Callable[[Any], list[list[float]]]
    many: str = ""
    environment: Mapping[str, str] = MappingProxyType({})


class Running(NamedTuple):
    """A server that answers: its process, port, seconds to the first answer."""

    process: subprocess.Popen[bytes]
    port: int
    seconds: float


def ours(bundle: rw.Bundle) -> Way:
    """Roadworthy."""

    def shares(answer: Any) -> list[list[float]]:
        rows = answer.get("predictions") or [answer]
        return [list(row["probabilities"].values()) for row in rows]

    command = [sys.executable, "-m", "roadworthy", "serve", bundle.path, "--quiet", "--port"]
    return Way(
        lambda port: [*command, port], "/predict", lambda r: r[0] if len(r) == 1 else r, shares
    )


def fastapi(bundle: rw.Bundle, _: Path) -> Way:
    """FastAPI and a data frame, as tutorials have it."""

    def shares(answer: Any) -> list[list[float]]:
        found: list[Any] = answer["probabilities"]
        return found if isinstance(found[0], list) else [found]

    command = [sys.executable, HERE / "plain_app.py", bundle.path]
    return Way(
        lambda port: [*command, port],
        "/predict",
        lambda rows: rows[0] if len(rows) == 1 else rows,
        shares,
        many="/predict_many",
    )


def mlflow(bundle: rw.Bundle, folder: Path) -> Way:
    """MLflow's scoring server."""
    python = environment("peer-mlflow", f"{ROOT}[train]", "mlflow==3.17.2")
    place = folder / "mlflow"
    source = Path(bundle.path) / "model.joblib"
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    told = {**os.environ, **quiet}
    save = [python, HERE / "peers" / "save_mlflow.py", source, place]
    subprocess.run(save, check=True, env=told, cwd=folder)
    command = [python, "-m", "mlflow", "models", "serve", "-m", place, "--env-manager", "local"]
    return Way(
        lambda port: [*command, "-h", "127.0.0.1", "-w", "1", "-p", port],
        "/invocations",
        lambda rows: {"dataframe_records": rows},
        lambda answer: answer["predictions"],
        environment={**quiet, "PATH": f"{python.parent}:{os.environ['PATH']}"},
    )


def mlserver(bundle: rw.Bundle, folder: Path) -> Way:
    """MLServer, without its worker pool, which costs more than it gives on one core."""
    needs = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22")
    python = environment("peer-mlserver", f"{ROOT}[train]", *needs)
    place = folder / "mlserver"
    place.mkdir()
    about = {
        "name": "adult",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(Path(bundle.path) / "model.joblib"), "version": "1"},
    }
    (place / "model-settings.json").write_text(json.dumps(about))
    texts = {name for name, cell in whole_rows(bundle)[0].items() if isinstance(cell, str)}

    def command(port: int) -> list[Any]:
        settings = {
            "debug": False, "parallel_workers": 0, "host": "127.0.0.1", "http_port": port,
            "grpc_port": free_port(), "metrics_port": free_port(),
        }  # fmt: skip
        (place / "settings.json").write_text(json.dumps(settings))
        return [python.parent / "mlserver", "start", place]

    def body(rows: Rows) -> Any:
        inputs = [
            {
                "name": name,
                "shape": [len(rows), 1],
                "datatype": "BYTES" if name in texts else "FP64",
                "data": [row[name] for row in rows],
                **({"parameters": {"content_type": "str"}} if name in texts else {}),
            }
            for name in rows[0]
        ]
        asked = [{"name": "predict_proba"}]
        return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": asked}

    def shares(answer: Any) -> list[list[float]]:
        flat = answer["outputs"][0]["data"]
        return [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]

    return Way(command, "/v2/models/adult/infer", body, shares)


def bentoml(bundle: rw.Bundle, folder: Path) -> Way:
    """BentoML."""
    python = environment("peer-bentoml", f"{ROOT}[train]", "bentoml==1.4.39", "pandas>=2.3")
    told = {
        "MODEL": str(Path(bundle.path) / "model.joblib"),
        "BENTOML_HOME": str(folder / "bento"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    service = [python, "-m", "bentoml", "serve", "bento_service:Rows", "--host", "127.0.0.1"]
    place = ["--working-dir", HERE / "peers", "--port"]
    return Way(
        lambda port: [*service, *place, port],
        "/predict",
        lambda rows: {"rows": rows},
        lambda answer: answer,
        environment=told,
    )


PEERS = {"fastapi": fastapi, "mlflow": mlflow, "mlserver": mlserver, "bentoml": bentoml}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--families", nargs="+", default=list(FLOOR), choices=list(FLOOR))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    wanted = [name for name in options.peers.split(",") if name]
    for family in options.families:
        with tempfile.TemporaryDirectory() as folder:
            compare(family, Path(folder), wanted, options)


def compare(family: str, folder: Path, peers: list[str], options: argparse.Namespace) -> None:
    bundle = make_bundle(folder / "bundles", family)
    rows = whole_rows(bundle)
    many = (rows * (BATCH // len(rows) + 1))[:BATCH]
    ways = {"ours": ours(bundle)}
    ways |= {name: PEERS[name](bundle, folder) for name in peers}
    running: dict[str, Running] = {}
    try:
        for name, way in ways.items():
            running[name] = start(way, rows[:1], folder / f"{name}.log")
        check(ways, running, rows[:20])
        loads: dict[tuple[int, str], list[Load]] = defaultdict(list)
        batches: dict[str, list[float]] = defaultdict(list)
        for number in range(options.rounds):
            names = list(ways) if number % 2 == 0 else list(reversed(ways))
            for name in names:
                way, port = ways[name], running[name].port
                script = folder / f"{name}.lua"
                script.write_text(lua([json.dumps(way.body([row])) for row in rows], way.path))
                for connections in options.connections:
                    load = wrk(port, connections, options.seconds, script)
                    loads[connections, name].append(load)
                batches[name] += [ask(way, port, many)[1] for _ in range(3)]
        show(family, ways, running, loads, batches)
    finally:
        for server in running.values():
            server.process.terminate()
        for server in running.values():
            server.process.wait(60)


def start(way: Way, row: Rows, log: Path) -> Running:
    """Start a server and wait for its first answer."""
    port = free_port()
    command = on_core(0, [str(word) for word in way.command(port)])
    began = time.monotonic()
    told = {**os.environ, "OMP_NUM_THREADS": "1", **way.environment}
    with log.open("wb") as into:
        process = subprocess.Popen(command, env=told, stdout=into, stderr=into)
    try:
        wait(port, json.dumps(way.body(row)).encode(), way.path)
    except SystemExit as error:
        process.terminate()
        process.wait(60)
        raise SystemExit(f"{error}: {command}\n{log.read_text()[-2000:]}") from None
    return Running(process, port, time.monotonic() - began)


def ask(way: Way, port: int, rows: Rows) -> tuple[list[list[float]], float]:
    """Probabilities of rows, and the seconds that they took."""
    body = json.dumps(way.body(rows)).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.connect()
    path = way.many if way.many and len(rows) > 1 else way.path
    began = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    taken = time.perf_counter() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"port {port} {path}: {answer.status} {content[:300]!r}")
    return way.shares(json.loads(content)), taken


def check(ways: dict[str, Way], running: dict[str, Running], rows: Rows) -> None:
    """Every server must answer the same."""
    wanted = ask(ways["ours"], running["ours"].port, rows)[0]
    for name, way in ways.items():
        given = ask(way, running[name].port, rows)[0]
        pairs = zip(wanted, given, strict=True)
        worst = max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))
        if worst > 1e-6:
            raise SystemExit(f"{name} answers otherwise: a probability differs by {worst:.2g}")


def show(
    family: str,
    ways: dict[str, Way],
    running: dict[str, Running],
    loads: dict[tuple[int, str], list[Load]],
    batches: dict[str, list[float]],
) -> None:
    print(f"\n{family}: one row, medians over the rounds")
    for (connections, name), found in sorted(loads.items()):
        rate, p50, p99 = (statistics.median(values) for values in zip(*found, strict=True))
        mine = statistics.median(load.rate for load in loads[connections, "ours"])
        print(
            f"{connections:>4} connections  {name:<10}{rate:>10,.0f} requests/s"
            f"{p50:>9.2f} ms p50{p99:>9.2f} ms p99   ours is {mine / rate:,.1f} x"
        )
    mine = statistics.median(batches["ours"])
    for name in ways:
        middle, server = statistics.median(batches[name]), running[name]
        print(
            f"{name:<10} {BATCH} rows of JSON {1000 * middle:>8.1f} ms, ours is"
            f" {middle / mine:.1f} x; first answer after {server.seconds:.1f} s,"
            f" {resident(server.process.pid) / 1e6:,.0f} MB"
        )


if __name__ == "__main__":
    main()
