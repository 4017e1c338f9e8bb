"""The journal: what a deployment was about to do is written down before it is done.

A write-ahead log of JSON lines, one file a deployment, on the machine that deploys. A step that
was begun and of which no end is written may have been done in part: the next run does it again,
unless the target itself is certain of what it holds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from roadworthy.errors import OutsideError
from roadworthy.registry.ledger import actor, now

State = Literal["begun", "done", "failed"]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: when, who, which run of which kind, which step, and what became of it."""

    at: str
    who: str
    run: str
    kind: str
    step: str
    state: State
    error: str = ""


class Journal:
    """A deployment's journal.

    Args:
        file: Where it is; its folder is made when the first line is written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, run: str, kind: str, step: str, state: State, error: str = "") -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            OutsideError: The disk is full or may not be written: nothing may be done then.
        """
        line = msgspec.json.encode(Line(now(), actor(), run, kind, step, state, error)) + b"\n"
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a+b") as sink:
                if sink.tell() and _last_byte(sink.fileno()) != b"\n":
                    line = b"\n" + line  # the one before was torn by a crash
                sink.write(line)
                sink.flush()
                os.fsync(sink.fileno())
        except OSError as problem:
            raise self._refused("written", problem) from None

    def lines(self) -> list[Line]:
        """All whole lines; OutsideError when they cannot be read."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused("read", error) from None
        found = []
        for line in content.split(b"\n"):
            try:
                found.append(msgspec.json.decode(line, type=Line))
            except msgspec.DecodeError:
                continue  # torn by a crash, or the empty rest
        return found

    def unfinished(self, kind: str) -> set[str]:
        """Ids of the steps of a kind that were begun or failed, and were not done since."""
        last = {line.step: line.state for line in self.lines() if line.kind == kind}
        return {step for step, state in last.items() if state != "done"}

    def _refused(self, what: str, error: OSError) -> OutsideError:
        return OutsideError(
            f"the journal cannot be {what}: {error.strerror or error}",
            where=str(self.file),
            fix="make room on the disk, or the folder usable; then run the same again",
        )


def _last_byte(descriptor: int) -> bytes:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1)
