"""The shipper: a process of its own that brings whole segments of the log where they go.

It has nothing to do with requests: while a store is slow or away segments stay in the folder, until
it is back or the folder holds `log_spool_mb`. Segments that killed workers left behind are taken
up: what stands in them is whole but for its last line.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import sys
from pathlib import Path

import msgspec

from roadworthy.errors import CheckFailed, InputError, OutsideError
from roadworthy.serve.orders import Orders, Word
from roadworthy.serve.prediction_log.entries import Kinds
from roadworthy.serve.prediction_log.targets import Target, open_target

log = logging.getLogger("roadworthy.serve")
_LOOK = 1.0
_MAX_PAUSE = 60.0


def main() -> int:
    """Ship until the standard input ends, then once more; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the supervisor closes our input, after the workers
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    target = open_target(orders.options)
    assert target is not None
    shipper = Shipper(Path(str(orders.options.log_folder)), target)
    os.write(1, msgspec.json.encode(Word("ready")) + b"\n")
    pause = _LOOK
    while not select.select([0], [], [], pause)[0]:
        pause = _LOOK if shipper.ship() else min(2 * pause, _MAX_PAUSE)
        with contextlib.suppress(OSError):
            os.write(1, msgspec.json.encode(Word("alive")) + b"\n")
    return 0 if shipper.ship() else 3


class Shipper:
    """Brings segments from a folder to a target.

    Args:
        folder: The folder of the segments.
        target: Where they go.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self._folder = folder
        self._target = target
        self._said = ""

    def ship(self) -> bool:
        """Bring what is whole; False when the target does not take it, and it stays."""
        for file in sorted(self._folder.glob("*.open")):
            _take_up(file)
        for file in sorted(self._folder.glob("*.jsonl")):
            try:
                self._bring(file)
            except OutsideError as error:
                if str(error) != self._said:
                    log.error("the prediction log waits in its folder: %s", error)
                    self._said = str(error)
                return False
        if self._said:
            log.warning("the prediction log is on its way again")
            self._said = ""
        return True

    def _bring(self, file: Path) -> None:
        try:
            if file.stat().st_size:
                self._target.take(file, _kinds(file))
        except (InputError, CheckFailed) as error:
            log.error("a segment is set aside: %s", error)
            file.rename(file.with_suffix(".bad"))
        else:
            file.unlink(missing_ok=True)


def _take_up(file: Path) -> None:
    """Finish a segment that a killed worker left behind; one that is being written is locked."""
    with contextlib.suppress(OSError), file.open("r+b") as segment:
        fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment.truncate(_whole_lines(segment.read()))
        file.rename(file.with_suffix(".jsonl"))


def _whole_lines(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _kinds(file: Path) -> Kinds:
    """What the columns hold, as the worker wrote it down."""
    beside = file.with_name(f"{file.name.partition('.')[0]}.columns.json")
    try:
        return msgspec.json.decode(beside.read_bytes(), type=Kinds)
    except (OSError, msgspec.DecodeError):
        what = "the file that says what its columns hold is gone"
        raise CheckFailed(what, where=str(beside)) from None
