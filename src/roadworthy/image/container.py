"""A running container of an image, with every restriction, for the tests that ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from roadworthy.errors import CheckFailed, OutsideError
from roadworthy.image.dockerfile import HEALTH, PORT
from roadworthy.image.engines.commands import run
from roadworthy.image.hardening import GRACE_SECONDS, run_options
from roadworthy.image.secrets import FOLDER

MOUNT = "/opt/ml/model"
"""Where the image expects a model that is not inside: where SageMaker puts it."""
_READY_SECONDS = 120.0
_LAST_LINES = 5

PROBE = r"""
import glob, importlib.util, json, os, shutil, tempfile
status = dict(line.split(":\t", 1) for line in open("/proc/1/status") if ":\t" in line)
def writable(folder):
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
memory = 0
for path in glob.glob("/proc/[0-9]*/smaps_rollup"):
    if path.split("/")[2] == str(os.getpid()):
        continue
    try:
        with open(path) as file:
            memory += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    except OSError:
        pass
tools = ("pip", "pip3", "gcc", "cc", "g++", "make")
print(json.dumps({
    "user": int(status["Uid"].split()[0]),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": status["NoNewPrivs"].strip() == "1",
    "writable": [folder for folder in ("/", "/opt/roadworthy", "/usr", "/etc", "/var/tmp")
                 if writable(folder)],
    "tools": [name for name in tools if shutil.which(name)]
    + ["pip"] * (importlib.util.find_spec("pip") is not None),
    "memory_kb": memory,
}))
"""
"""What a process in the container sees of its own restrictions."""


class Container:
    """A container of an image, removed at the end.

    Args:
        engine: `docker` or `podman`.
        reference: The image.
        memory_mb: Its memory.
        model: A bundle to mount where the image expects one; None: it is inside.
        place: The folder that it is mounted at.
        environment: Further variables; nothing secret.
        arguments: What comes after the entry point, in place of the image's own.
        secrets: Files by their names in the folder of secrets.
        token: What opens a locked server.
    """

    def __init__(
        self,
        engine: str,
        reference: str,
        memory_mb: int,
        model: Path | None = None,
        *,
        place: str = MOUNT,
        environment: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
        secrets: Mapping[str, Path] | None = None,
        token: str | None = None,
    ) -> None:
        self.engine = engine
        self.reference = reference
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        mounts = [_mount(file, f"{FOLDER}/{name}") for name, file in (secrets or {}).items()]
        if model is not None:
            mounts.append(_mount(model, place if model.is_dir() else f"{place}/{model.name}"))
        variables = [f"--env={name}={text}" for name, text in (environment or {}).items()]
        command = ["run", "--detach", f"--publish=127.0.0.1::{PORT}", *run_options(memory_mb)]
        self.id = self._run(*command, *mounts, *variables, reference, *arguments)
        self.id = self.id.splitlines()[-1]
        self.port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OutsideError):
            self._run("rm", "--force", "--volumes", self.id)

    @property
    def url(self) -> str:
        """Address of the server in it."""
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self) -> float:
        """Wait until it can be asked; returns how many seconds that took.

        Raises:
            CheckFailed: It ended, or does not become ready.
        """
        start = time.monotonic()
        while time.monotonic() - start < _READY_SECONDS:
            state = self.state()
            if not state["Running"]:
                raise CheckFailed(
                    f"the container ended with code {state['ExitCode']}: {self.last_words()}",
                    where=self.reference,
                )
            with contextlib.suppress(OSError, http.client.HTTPException, OutsideError):
                self.port = self._port()
                if self.ask("GET", "/readyz")[0] == 200:
                    return time.monotonic() - start
            time.sleep(0.2)
        raise CheckFailed(
            f"the container is not ready after {_READY_SECONDS:g} s: {self.last_words()}",
            where=self.reference,
        )

    def ask(self, method: str, path: str, content: Any = None) -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = None if content is None else json.dumps(content).encode()
        try:
            connection.request(
                method, path, body, {"Content-Type": "application/json"} | self._headers
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def look(self) -> dict[str, Any]:
        """What `PROBE` sees inside."""
        found: dict[str, Any] = json.loads(self._run("exec", self.id, "python", "-c", PROBE))
        return found

    def is_healthy(self) -> bool:
        """Whether the image's own health check says so."""
        try:
            self._run("exec", self.id, *HEALTH)
        except OutsideError:
            return False
        return True

    def stop(self) -> int:
        """Ask it to end, as engines do; returns its exit code."""
        self._run("stop", f"--time={GRACE_SECONDS}", self.id)
        return int(self.state()["ExitCode"])

    def start(self) -> None:
        """Start it again."""
        self._run("start", self.id)

    def state(self) -> dict[str, Any]:
        """What the engine knows of it."""
        found: dict[str, Any] = json.loads(self._run("inspect", self.id))[0]["State"]
        return found

    def last_words(self) -> str:
        """The end of its log."""
        done = subprocess.run(
            [self.engine, "logs", "--tail", str(_LAST_LINES), self.id],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        return " / ".join(line.strip() for line in done.stdout.splitlines() if line.strip())[-600:]

    def _port(self) -> int:
        shown = self._run("port", self.id, f"{PORT}/tcp").splitlines()
        return int(shown[0].rpartition(":")[2]) if shown else 0

    def _run(self, *arguments: str) -> str:
        return run([self.engine, *arguments], where=self.reference)


def _mount(source: Path, place: str) -> str:
    return f"--mount=type=bind,src={source.resolve()},dst={place},readonly"
