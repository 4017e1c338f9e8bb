"""The study file: every finished fit, so that a search which was ended can be taken up.

The first line says what the fits are of; each further line is one fit. Lines are written whole
and forced to disk; a last line that was only half written is dropped.
"""

from __future__ import annotations

import base64
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from roadworthy.errors import InputError, OutsideError
from roadworthy.train.cost import Size
from roadworthy.train.fits import Fit

_FORMAT = 1


class Heading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a study's fits are of: only the same search over the same rows takes them up."""

    format: int
    digest: str
    metric: str
    seed: int
    options: str


class _Line(msgspec.Struct, frozen=True):
    key: str
    score: float | None
    seconds: float
    rounds: int | None
    size: tuple[int, ...]
    complete: bool
    note: str | None
    shape: tuple[int, ...]
    margin: str


class Study:
    """Fits on disk.

    Args:
        path: The file; it is made when it is not there.
        heading: What the fits are of.

    Raises:
        InputError: The file is of another table, metric, seed or options, or no study.
        OutsideError: The file cannot be read or written.
    """

    def __init__(self, path: str | Path, heading: Heading) -> None:
        self.path = Path(path)
        self.taken_up = 0
        self._known: dict[str, Fit] = {}
        self._lock = threading.Lock()
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            whole = self._read(content, heading)
            self._file = self.path.open("r+b" if content else "wb")
            self._file.truncate(whole)
            self._file.seek(whole)
            if not whole:
                self._write(msgspec.json.encode(heading))
        except OSError as error:
            raise OutsideError(
                f"the study cannot be kept: {error.strerror or error}", where=str(self.path)
            ) from None

    def get(self, key: Any) -> Fit | None:
        """The fit of a key, if it is there."""
        found = self._known.get(repr(key))
        self.taken_up += found is not None
        return found

    def add(self, key: Any, fit: Fit) -> None:
        """Keep a fit that was not cut short."""
        if not fit.complete:
            return
        margin = np.ascontiguousarray(fit.margin, dtype=np.float64)
        line = _Line(
            repr(key),
            float(fit.score) if np.isfinite(fit.score) else None,
            fit.seconds,
            fit.rounds,
            tuple(fit.size),
            fit.complete,
            fit.note,
            margin.shape,
            base64.b85encode(zlib.compress(margin.tobytes(), 1)).decode(),
        )
        with self._lock:
            self._write(msgspec.json.encode(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, content: bytes, heading: Heading) -> int:
        """Take up the lines; returns how many bytes are whole lines."""
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        if content and not lines:  # not even the heading was written whole
            if b"digest" not in content and not content.startswith(b"{"):
                raise self._refuse("it is no study")
            return 0
        for number, line in enumerate(lines):
            try:
                if number == 0:
                    found = msgspec.json.decode(line, type=Heading)
                    if found != heading:
                        raise self._refuse(_difference(found, heading))
                else:
                    entry = msgspec.json.decode(line, type=_Line)
                    self._known[entry.key] = _fit(entry)
            except (msgspec.DecodeError, zlib.error, ValueError) as error:
                raise self._refuse(f"line {number + 1} is damaged: {error}") from None
        return whole

    def _refuse(self, reason: str) -> InputError:
        return InputError(
            f"the study cannot be taken up: {reason}",
            where=str(self.path),
            fix="name another [train] study, or delete the file",
        )

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _difference(found: Heading, wanted: Heading) -> str:
    words = {
        "format": "it is of another version of Roadworthy",
        "digest": "it is of other training rows",
        "metric": f"it went by {found.metric} and not by {wanted.metric}",
        "seed": f"its seed is {found.seed} and not {wanted.seed}",
        "options": "its [prepare] or [train] options are others",
    }
    return next(
        text for name, text in words.items() if getattr(found, name) != getattr(wanted, name)
    )


def _fit(line: _Line) -> Fit:
    bits = zlib.decompress(base64.b85decode(line.margin))
    margin = np.frombuffer(bits, dtype=np.float64).reshape(line.shape)
    score = np.nan if line.score is None else line.score
    return Fit(score, margin, line.seconds, line.rounds, Size(*line.size), line.complete, line.note)
