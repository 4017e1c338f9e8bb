"""Commands on a host, by way of the system's `ssh`.

The system's client is used, and no library, because it knows what the user has set up: hosts,
jumps, agents, hardware keys, known host keys. One connection is kept and shared by all commands. A
host key that is unknown or has changed is never accepted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, NamedTuple

from roadworthy.deploy.wanted import Content
from roadworthy.errors import OutsideError, RoadworthyError
from roadworthy.project import SshSection

_FAILED = 255
_KEPT_OUTPUT = 4000
_CAUSES = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "the host's key is not the one that is known: it was made anew, or someone is in between",
        "ask who runs the host for its key's fingerprint; when it is right, take the old key away "
        "with ssh-keygen -R HOST and accept the new one",
    ),
    (
        r"Host key verification failed|No .*host key is known",
        "the host's key is not known here",
        "compare its fingerprint while you connect once with ssh, or name known_hosts",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "the host refuses the user or the key",
        "check host, identity and what is in the host's authorized_keys",
    ),
    (
        r"Identity file .* not accessible|UNPROTECTED PRIVATE KEY",
        "the private key cannot be used",
        "check identity, and that nobody else may read the file",
    ),
    (
        r"SessionManagerPlugin is not found|aws: (command )?not found",
        "the AWS command line or its Session Manager plugin is missing here",
        'install both, or reach the machine with access = "ssh"',
    ),
    (
        r"TargetNotConnected",
        "Systems Manager does not know the machine: its agent has not come up yet",
        "wait some minutes, then run the same again; else look at the machine's console",
    ),
    (r"Could not resolve hostname", "the host's name is not known", "correct host"),
)
_NO_ROOT = re.compile(r"sudo: (a password|a terminal|sorry)|is not in the sudoers|sudo: not found"
                      r"|sudo: command not found")  # fmt: skip
_FULL = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC", re.IGNORECASE)


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    output: str
    errors: str


class Connection:
    """A connection to a host, opened by its first command.

    Args:
        section: How the host is reached.
    """

    def __init__(self, section: SshSection) -> None:
        self.host = section.host
        # Unix sockets have short names, so not below a deep TMPDIR
        self._folder = tempfile.mkdtemp(prefix="rw-", dir="/tmp")
        self._arguments = [
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
            "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
            "-o", f"ControlPath={self._folder}/master", "-o", "LogLevel=ERROR", "-T",
        ]  # fmt: skip
        if section.ssh_port is not None:
            self._arguments += ["-p", str(section.ssh_port)]
        if section.identity is not None:
            self._arguments += ["-i", section.identity, "-o", "IdentitiesOnly=yes"]
        if section.proxy is not None:
            self._arguments += ["-o", f"ProxyCommand={section.proxy}"]
        if section.known_hosts is not None:
            self._arguments += ["-o", f"UserKnownHostsFile={section.known_hosts}"]
            self._arguments += ["-o", "GlobalKnownHostsFile=/dev/null"]

    def close(self) -> None:
        """End the connection."""
        if self._is_open():
            with contextlib.suppress(subprocess.TimeoutExpired):
                command = ["ssh", *self._arguments, "-O", "exit", "--", self.host]
                subprocess.run(command, capture_output=True, timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_open(self) -> bool:
        return os.path.exists(f"{self._folder}/master")

    def _open(self) -> None:
        """Open the connection that the others share; it ends when it idles, or with `close`."""
        options = ["-o", "ControlMaster=yes", "-o", "ControlPersist=120", "-f", "-N"]
        # not a pipe: the connection goes on in the background, and would hold it open
        with tempfile.TemporaryFile() as errors:
            command = ["ssh", *self._arguments, *options, "--", self.host]
            try:
                code = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
                ).returncode
            except FileNotFoundError:
                raise OutsideError("there is no ssh", fix="install an OpenSSH client") from None
            if code:
                errors.seek(0)
                raise self._refusal(errors.read().decode(errors="replace"))

    def shown(self, program: str) -> str:
        """The command line that runs a program by hand."""
        return shlex.join(["ssh", self.host, _as_root(program)])

    def ask(self, script: str) -> str:
        """Run a script that reads nothing, and give its output; it is in no process list.

        Raises:
            OutsideError: The host cannot be reached or the script failed.
        """
        said = self.run("exec sh -s", script.encode())
        if said.code:
            raise self.failure(said, "the host cannot be looked at")
        return said.output

    def run(self, program: str, content: bytes | Content | None = None) -> Said:
        """Run a program for `sh` as root.

        Args:
            program: The program.
            content: What it reads on standard input; of a Content, first a line with its SHA-256.

        Raises:
            OutsideError: The host cannot be reached, or refuses.
        """
        process = self._start(program, subprocess.PIPE)
        assert process.stdin is not None
        sender = threading.Thread(target=_send, args=(process.stdin, content), daemon=True)
        sender.start()
        assert process.stdout is not None
        assert process.stderr is not None
        kept: list[bytes] = []
        reader = threading.Thread(target=lambda: kept.append(process.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        output = process.stdout.read()
        reader.join()
        code = process.wait()
        said = Said(code, output.decode(errors="replace"), kept[0].decode(errors="replace"))
        if code == _FAILED:
            raise self._refusal(said.errors)
        if code and _NO_ROOT.search(said.errors):
            raise OutsideError(
                "the user may not act as root on the host",
                where=self.host,
                fix="let the user run sudo without a password, or connect as root",
            )
        return said

    def channel(self, program: str) -> subprocess.Popen[bytes]:
        """A program whose standard input and output are ours, until it ends."""
        return self._start(program, subprocess.DEVNULL)

    def lines(self, program: str) -> Iterator[str]:
        """What a program prints, line by line, until it ends or is no longer asked."""
        process = self._start(program, subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            for line in process.stdout:
                yield line.decode(errors="replace").rstrip("\n")
            if process.wait() == _FAILED:
                assert process.stderr is not None
                raise self._refusal(process.stderr.read().decode(errors="replace"))
        finally:
            process.kill()
            process.wait()

    def failure(self, said: Said, what: str) -> RoadworthyError:
        """The error for a program that failed."""
        text = (said.errors.strip() or said.output.strip())[-_KEPT_OUTPUT:]
        if _FULL.search(said.errors):
            return OutsideError(
                f"{what}: the host's disk is full",
                where=self.host,
                fix="make room there, or keep fewer releases; then run the same again",
            )
        last = "\n    ".join(text.splitlines()[-5:]) or "it said nothing"
        return OutsideError(
            f"{what}: {last}", where=self.host, fix="correct that, then run the same again"
        )

    def _start(self, program: str, errors: int) -> subprocess.Popen[bytes]:
        if not self._is_open():
            self._open()
        command = ["ssh", *self._arguments, "--", self.host, _as_root(program)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )

    def _refusal(self, errors: str) -> OutsideError:
        for pattern, what, fix in _CAUSES:
            if re.search(pattern, errors):
                return OutsideError(what, where=self.host, fix=fix)
        lines = [line for line in errors.strip().splitlines() if line]
        return OutsideError(
            f"the host cannot be reached: {lines[-1] if lines else 'the connection was cut'}",
            where=self.host,
            fix="check host and the network; what was done stays: run the same again",
        )


def _as_root(program: str) -> str:
    """A command line for whatever shell the user has: as root already, or by sudo."""
    run = f"sh -c {shlex.quote(program)}"
    sudo = f'sudo -n env SSH_CONNECTION="$SSH_CONNECTION" {run}'
    return f'if [ "$(id -u)" = 0 ]; then exec {run}; else exec {sudo}; fi'


def _send(sink: IO[bytes], content: bytes | Content | None) -> None:
    # a broken pipe: the other side ended early, and its exit code says so
    with contextlib.suppress(OSError), sink:
        if isinstance(content, Content):
            sink.write(f"{content.sha256}\n".encode())
            for part in content.parts():
                sink.write(part)
        elif content is not None:
            sink.write(content)
