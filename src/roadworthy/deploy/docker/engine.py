"""The engine: its command line, with what is read from standard input and what it answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, Any
from urllib.parse import urlsplit

from roadworthy.errors import OutsideError
from roadworthy.image.engines import Engine as Builder
from roadworthy.image.engines import find_engine
from roadworthy.image.engines.commands import explain, run

_CHANNEL = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}


class Engine:
    """Docker or Podman.

    Args:
        wanted: `docker`, `podman`, or `auto` for the first that answers.

    Raises:
        OutsideError: None of them answers; from every method: the engine refused.
    """

    def __init__(self, wanted: str) -> None:
        self.builder = _find(wanted)
        self.name = self.builder.name

    @property
    def host(self) -> str | None:
        """The machine that it runs on; None: this one."""
        address = os.environ.get("DOCKER_HOST" if self.name == "docker" else "CONTAINER_HOST", "")
        return urlsplit(address).hostname if address.startswith(("tcp:", "ssh:", "http")) else None

    def run(self, *arguments: str) -> str:
        """Run a command that reads nothing; returns what it printed."""
        return run([self.name, *arguments], where=self.name)

    def feed(self, arguments: Sequence[str], content: IO[bytes]) -> None:
        """Run a command that reads a file."""
        command = [self.name, *arguments]
        done = subprocess.run(
            command, stdin=content, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            raise explain(f"{done.stdout}\n{done.stderr}", command, self.name)

    def channel(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """A command whose standard input and output are ours, until it ends."""
        return subprocess.Popen([self.name, *arguments], **_CHANNEL)  # type: ignore[call-overload,no-any-return]

    def lines(self, arguments: Sequence[str]) -> Iterator[str]:
        """What a command prints, line by line, until it ends or is no longer asked."""
        process = subprocess.Popen(
            [self.name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield line.decode(errors="replace").rstrip("\n")
        finally:
            process.kill()
            process.wait()

    def containers(self, label: str) -> dict[str, dict[str, Any]]:
        """What the engine knows of the containers with a label, by name."""
        listed = self.run("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
        found: list[dict[str, Any]] = []
        if listed:
            found = json.loads(self.run("inspect", *listed.split()))
        return {each["Name"].removeprefix("/"): each for each in found}

    def volumes(self, label: str) -> list[str]:
        """The names of the volumes with a label."""
        return sorted(self.run("volume", "ls", "--quiet", "--filter", f"label={label}").split())

    def has_network(self, name: str) -> bool:
        """Whether there is a network of that name."""
        return name in self.run("network", "ls", "--format={{.Name}}").split()

    def labelled_volumes(self, label: str) -> dict[str, dict[str, str]]:
        """The labels of the volumes with a label, by name."""
        names = self.volumes(label)
        found = json.loads(self.run("volume", "inspect", *names)) if names else []
        return {each["Name"]: each.get("Labels") or {} for each in found}

    def tags(self) -> list[str]:
        """Every tag of this engine."""
        listed = self.run("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        return sorted(each.removeprefix("localhost/") for each in listed)

    def images(self, repository: str) -> list[str]:
        """The tags of a repository of this engine."""
        return [each for each in self.tags() if each.startswith(f"{repository}:")]

    def image(self, reference: str) -> dict[str, Any] | None:
        """What the engine knows of an image; None: it has none of that name."""
        try:
            found: dict[str, Any] = json.loads(self.run("image", "inspect", reference))[0]
        except OutsideError as error:
            if "not known there" in error.what:
                return None
            raise
        return found

    def folder(self, container: str, path: str) -> dict[str, str]:
        """The files of a folder in a container, which need not run: name -> content or target."""
        done = subprocess.run(
            [self.name, "cp", f"{container}:{path}", "-"],
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        if done.returncode:
            return {}
        found: dict[str, str] = {}
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            for entry in archive:
                name = entry.name.partition("/")[2]
                if entry.issym():
                    found[name] = entry.linkname
                elif (held := archive.extractfile(entry)) is not None:
                    found[name] = held.read().decode(errors="replace")
        return found

    def log(self, container: str, lines: int) -> str:
        """The last lines of a container's log."""
        return "\n".join(self.lines(["logs", "--tail", str(lines), container]))


def _find(wanted: str) -> Builder:
    if wanted != "auto":
        return find_engine(wanted)
    try:
        return find_engine("docker")
    except OutsideError as first:
        try:
            return find_engine("podman")
        except OutsideError:
            raise first from None
