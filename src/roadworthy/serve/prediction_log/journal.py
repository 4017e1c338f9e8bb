"""A worker's part of the prediction log: segments of JSON lines in a folder.

It never delays or fails a prediction: rows wait in memory, a thread writes them once a second, and
rows that find no room are counted instead of kept. A crash loses what came since the last write: a
second's worth, and never more than may wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import time
import zlib
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import msgspec

from roadworthy.errors import OutsideError
from roadworthy.project import ServeSection
from roadworthy.serve.columns import Inputs
from roadworthy.serve.prediction_log.entries import Entry, Kinds, logged, size_of
from roadworthy.serve.predictions import Predictor

log = logging.getLogger("roadworthy.serve")
_SEGMENT_BYTES = 64_000_000
_BREATH = 16


class PredictionLog:
    """Writes what a worker predicted.

    Args:
        options: `[serve]`: the keys that begin with `log_`.

    Attributes:
        dropped: Rows that found no room or could not be written.
        written: Rows that were.

    Raises:
        OutsideError: The folder cannot be had.
    """

    def __init__(self, options: ServeSection) -> None:
        self._folder = Path(str(options.log_folder))
        self._limit = int(options.log_sample * 2**32)
        self._redact = frozenset(options.log_redact)
        self._seconds = options.log_seconds
        self._room = options.log_rows
        self._bytes_room = int(options.log_memory_mb * 1_000_000)
        self._spool = int(options.log_spool_mb * 1_000_000) if options.ships_log else None
        self._waiting: list[Entry] = []
        self._rows = self._bytes = 0
        self._segments: dict[tuple[str, str], _Segment] = {}
        self.dropped = 0
        self.written = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the folder of the prediction log cannot be had: {error.strerror}"
            raise OutsideError(what, where=str(self._folder)) from None

    def add(
        self,
        request_id: str,
        predictor: Predictor,
        inputs: Inputs,
        scores: Sequence[Sequence[float]],
    ) -> None:
        """Keep a request's rows until they are written; a sample goes by the request id."""
        if zlib.crc32(request_id.encode()) >= self._limit:
            return
        rows = len(scores)
        size = size_of(inputs, rows, len(predictor.contract.columns))
        if self._rows + rows > self._room or self._bytes + size > self._bytes_room:
            self.dropped += rows
            return
        self._rows += rows
        self._bytes += size
        self._waiting.append(Entry(time.time(), request_id, predictor, inputs, scores, size))

    async def flush(self) -> None:
        """Write what waits, in a thread; until it is written it takes its room."""
        entries, self._waiting = self._waiting, []
        await asyncio.to_thread(self._write, entries)
        self._rows -= sum(len(entry.scores) for entry in entries)
        self._bytes -= sum(entry.size for entry in entries)

    def close(self) -> None:
        """Write what waits, and finish the segments."""
        self._write(self._waiting)
        self._waiting, self._rows, self._bytes = [], 0, 0
        self._finish(list(self._segments))

    def _write(self, entries: list[Entry]) -> None:
        now = time.monotonic()
        self._finish([key for key, segment in self._segments.items() if now > segment.until])
        by_version: dict[tuple[str, str], list[Entry]] = {}
        for entry in entries:
            manifest = entry.predictor.bundle.manifest
            by_version.setdefault((manifest.name, manifest.version), []).append(entry)
        full = self._spool is not None and _size(self._folder) > self._spool
        for key, its in by_version.items():
            rows = sum(len(entry.scores) for entry in its)
            if full:
                self.dropped += rows
                continue
            try:
                segment = self._segments.get(key) or self._begin(key, its[0].predictor)
                if segment.write(its, self._redact) > _SEGMENT_BYTES:
                    self._finish([key])
                self.written += rows
            except OSError as error:
                self.dropped += rows
                log.error("the prediction log lost %d rows: %s", rows, error.strerror)

    def _begin(self, key: tuple[str, str], predictor: Predictor) -> _Segment:
        made = _Segment(self._folder, predictor, self._redact, time.monotonic() + self._seconds)
        self._segments[key] = made
        return made

    def _finish(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            try:
                self._segments.pop(key).finish()
            except OSError as error:
                log.error("a segment of the prediction log stays open: %s", error.strerror)


def _size(folder: Path) -> int:
    """Bytes of the segments that wait in the folder to be brought away."""
    total = 0
    for file in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # it was brought away meanwhile
            total += file.stat().st_size
    return total


class _Segment:
    """One file of one version's predictions: whole ones end in `.jsonl`, others in `.open`.

    A worker holds a lock on the file that it writes, so that others can tell one that was left
    behind by a worker that was killed.
    """

    _numbers = count(1)

    def __init__(
        self, folder: Path, predictor: Predictor, redact: frozenset[str], until: float
    ) -> None:
        manifest = predictor.bundle.manifest
        named = f"{re.sub(r'[^A-Za-z0-9_-]', '_', manifest.name)}-{manifest.short_version}"
        kinds = folder / f"{named}.columns.json"
        if not kinds.exists():
            draft = kinds.with_name(f".{kinds.name}.{os.getpid()}")
            draft.write_bytes(msgspec.json.encode(Kinds.of(predictor, redact)))
            draft.replace(kinds)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = f"{named}.{moment}-{os.getpid()}-{next(self._numbers)}.open"
        self.until = until
        self._path = folder / name
        draft = folder / f".{name}"
        self._file = open(draft, "ab", buffering=0)  # noqa: SIM115 (held over writes)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(self._path)  # only now: nobody sees it without its lock

    def write(self, entries: list[Entry], redact: frozenset[str]) -> int:
        """Write requests' rows, all or none; returns the file's size."""
        lines = bytearray()
        for number, row in enumerate(chain.from_iterable(logged(one, redact) for one in entries)):
            lines += msgspec.json.encode(row) + b"\n"
            if number % _BREATH == 0:
                time.sleep(0)  # let the loop answer: a thread keeps Python to itself for 5 ms
        before = self._file.tell()
        try:
            view = memoryview(lines)
            while view:
                view = view[self._file.write(view) :]
        except OSError:  # a full disk: half a line would spoil the next one
            self._file.truncate(before)
            self._file.seek(before)
            raise
        return before + len(lines)

    def finish(self) -> None:
        """Give the segment the name of a whole one."""
        self._path.rename(self._path.with_suffix(".jsonl"))
        self._file.close()
