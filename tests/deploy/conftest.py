"""A real host, and versions of a model to deploy to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.project import Project, SshSection
from tests.conftest import Trained, train_example
from tests.deploy.hosts import Host
from tests.installing import CACHE
from tests.registry.conftest import registry_project


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    """Two versions of one model."""
    folder = tmp_path_factory.mktemp("versions")
    return [
        train_example(folder, "adult.csv", "income", "linear", rows=rows) for rows in (500, 600)
    ]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    running = Host()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's folders for data, without which journals would be in the developer's own."""
    folder = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("SERVER_TOKEN", "very-secret-value")
        yield folder


def ssh_project(folder: Path, host: Host, user: str = "root", **options: object) -> Project:
    section = SshSection(
        host=f"{user}@{host.address}",
        identity=str(host.identity),
        known_hosts=str(host.known_hosts),
        **options,  # type: ignore[arg-type]
    )
    project = registry_project(folder, cache=str(CACHE / "deploy"))
    import msgspec

    return msgspec.structs.replace(project, deploy={"prod": section})


class Load:
    """Callers who ask all the time, each on a connection that stays open.

    Attributes:
        answers: Version -> answers.
        failures: What went wrong.
    """

    def __init__(self, address: str, row: dict[str, object], callers: int = 4) -> None:
        self.address = address
        self.body = json.dumps(row)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def _call(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        while not self._stop.wait(0.005):
            try:
                connection.request(
                    "POST", "/predict", self.body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                content = answer.read()
                if answer.status == 200:
                    self.answers[json.loads(content)["version"]] += 1
                else:
                    self.failures.append(f"{answer.status}: {content[:200]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
