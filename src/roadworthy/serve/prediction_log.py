"""The prediction log: what was asked and answered, in segments of JSON lines.

It never delays or fails a prediction: rows wait in memory, a thread writes them once a second, and
rows that find no room are counted instead of kept. A crash loses what came since the last write: a
second's worth, at most `log_rows` rows. Rows stand in it as the model saw them, redacted columns
left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from roadworthy.errors import OutsideError
from roadworthy.prepare.plan import Feature
from roadworthy.project import ServeSection
from roadworthy.serve.predictions import Predictor

log = logging.getLogger("roadworthy.serve")
_SEGMENT_BYTES = 64_000_000
_SEGMENT_SECONDS = 300.0


class Entry(NamedTuple):
    """The rows of one request, as they wait to be written."""

    moment: float
    request_id: str
    predictor: Predictor
    vectors: Sequence[Sequence[float]]
    scores: Sequence[Sequence[float]]


class PredictionLog:
    """Writes what a worker predicted.

    Args:
        options: `[serve]`: `log_folder`, `log_sample`, `log_redact`, `log_rows`.

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
        self._room = options.log_rows
        self._waiting: list[Entry] = []
        self._rows = 0
        self._file: BinaryIO | None = None
        self._path = self._folder
        self._until = 0.0
        self._number = 0
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
        vectors: Sequence[Sequence[float]],
        scores: Sequence[Sequence[float]],
    ) -> None:
        """Keep a request's rows until they are written; a sample goes by the request id."""
        if zlib.crc32(request_id.encode()) >= self._limit:
            return
        if self._rows + len(vectors) > self._room:
            self.dropped += len(vectors)
            return
        self._rows += len(vectors)
        self._waiting.append(Entry(time.time(), request_id, predictor, vectors, scores))

    async def flush(self) -> None:
        """Write what waits, in a thread."""
        entries, self._waiting = self._waiting, []
        rows, self._rows = self._rows, 0
        await asyncio.to_thread(self._write, entries, rows)

    def close(self) -> None:
        """Write what waits, and finish the segment."""
        self._write(self._waiting, self._rows)
        self._waiting, self._rows = [], 0
        self._finish()

    def _write(self, entries: list[Entry], rows: int) -> None:
        try:
            if self._file is not None and time.monotonic() > self._until:
                self._finish()
            if not entries:
                return
            file = self._file or self._begin()
            for entry in entries:
                file.write(b"".join(_line(entry, place, self._redact) for place in _places(entry)))
            file.flush()
            if file.tell() > _SEGMENT_BYTES:
                self._finish()
            self.written += rows
        except OSError as error:
            self.dropped += rows
            log.error("the prediction log lost %d rows: %s", rows, error.strerror)

    def _begin(self) -> BinaryIO:
        self._number += 1
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._path = self._folder / f"predictions-{moment}-{os.getpid()}-{self._number}.jsonl"
        self._file = open(self._path.with_suffix(".open"), "ab")  # noqa: SIM115 (held over writes)
        self._until = time.monotonic() + _SEGMENT_SECONDS
        return self._file

    def _finish(self) -> None:
        """Give the segment its name: whole segments end in `.jsonl`."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._path.with_suffix(".open").replace(self._path)


def _places(entry: Entry) -> range:
    return range(len(entry.vectors))


def _line(entry: Entry, place: int, redact: frozenset[str]) -> bytes:
    predictor, scores = entry.predictor, entry.scores[place]
    features = predictor.bundle.plan.features
    row = {
        feature.name: _cell(feature, number)
        for feature, number in zip(features, entry.vectors[place], strict=True)
        if feature.column not in redact
    }
    content = {
        "time": entry.moment,
        "request_id": entry.request_id,
        "row_number": place,
        "model": predictor.bundle.manifest.name,
        "version": predictor.bundle.version,
        "row": row,
        **predictor.plain_answer(scores),
    }
    return msgspec.json.encode(content) + b"\n"


def _cell(feature: Feature, number: float) -> Any:
    """A feature's value for people: the level of a code, None for a blank or an unknown level."""
    if number != number:
        return None
    if feature.read != "category":
        return number
    levels = [level for level, value in feature.table().items() if value == number]
    if len(levels) == 1:
        return levels[0]
    return number if levels else None  # one number for several levels is all the model saw
