from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roadworthy.bundle import Bundle
from roadworthy.bundle.write import package
from roadworthy.evaluate import test as evaluate
from roadworthy.project import Project
from roadworthy.table import Table, read_table
from roadworthy.train import TrainedModel, train


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test had to be run once more: pytest-rerunfailures names it and keeps the reason."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"first run of {report.nodeid}")
        terminalreporter.line(report.longreprtext[-8000:])


DATA = Path(__file__).parent.parent / "examples" / "data"


class Trained(NamedTuple):
    table: Table
    model: TrainedModel
    bundle: Bundle


def train_example(
    folder: Path, name: str, target: str, family: str, rows: int = 3000, **options: Any
) -> Trained:
    """A bundle of one family on the first rows of a real table, in a second or two."""
    whole = read_table(DATA / name, target)
    project = Project().override("train", candidates=(family,), budget="300s", folds=2)
    for section, values in options.items():
        project = project.override(section, **values)
    import polars as pl

    frame = whole.frame.with_columns(pl.Series(target, whole.labels))
    if whole.task != "regression":
        classes = pl.Series([str(value) for value in whole.classes])
        frame = frame.with_columns(classes.gather(whole.labels.astype(int)).alias(target))
    step = max(1, frame.height // rows)
    table = read_table(frame.gather_every(step), target, project=project, name=name.split(".")[0])
    model = train(table, project=project)
    report = evaluate(model, table.holdout)
    return Trained(table, model, package(model, report, directory=folder))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """One small bundle a family and task, made once."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "binary": train_example(folder, "adult.csv", "income", "boosting"),
        "linear": train_example(folder, "adult.csv", "income", "linear"),
        "multiclass": train_example(folder, "storms.parquet", "status", "boosting"),
        "regression": train_example(folder, "hotel_rates.csv.gz", "avg_price_per_room", "forest"),
    }


class Server:
    """A real server process and a plain client."""

    def __init__(
        self,
        bundle: Path,
        *options: str,
        cwd: Path | None = None,
        python: str = sys.executable,
    ) -> None:
        self.port = free_port()
        command = [python, "-m", "roadworthy", "serve", str(bundle)]
        self.log: list[str] = []
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_ready()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.log.extend(iter(self.process.stdout.readline, ""))

    def wait_ready(self) -> None:
        for _ in range(300):
            with contextlib.suppress(OSError):
                if self.get("/readyz")[0] == 200:
                    return
            assert self.process.poll() is None, "".join(self.log)
            time.sleep(0.05)
        raise AssertionError("the server did not become ready: " + "".join(self.log))

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("GET", path)

    def predict(self, rows: Any) -> tuple[int, Any]:
        body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
        status, _, content = self.request("POST", "/predict", body, Content_Type="application/json")
        return status, json.loads(content)

    def raw(self, content: bytes, timeout: float = 10.0) -> bytes:
        """Send bytes as they are and read what comes back until the server stops."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            received = b""
            with contextlib.suppress(OSError):  # cut off while we are still sending
                connection.sendall(content)
            connection.settimeout(2.0)
            with contextlib.suppress(OSError):
                while part := connection.recv(65536):
                    received += part
            return received

    def worker_memory(self) -> int:
        """Resident bytes of the server's processes."""
        pids = [self.process.pid]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        pids += [int(pid) for pid in children.split()]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        self._reader.join(5)
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(bundle: Path, *options: str, cwd: Path | None = None) -> Iterator[Server]:
    server = Server(bundle, *options, cwd=cwd)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server(bundles: dict[str, Trained]) -> Iterator[Server]:
    """The binary model, served by a real process."""
    with serving(bundles["binary"].bundle.path) as running:
        yield running
