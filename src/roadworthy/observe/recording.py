"""Recording: rows wait in shared memory of a file until they are counted in bulk.

A request costs what it takes to copy its vector. The copy outlives the process: when a worker is
killed, the next one counts what it left. Two halves take turns, so that one is filled while the
other is counted; each filling has a number, and the window says up to which number it holds, so
that no filling is counted twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from roadworthy.contract import Contract
from roadworthy.observe.buffer import CODES, NOTE, Half, Shape, pack_fill, told_in
from roadworthy.observe.counting import Noticed, RowCounter, go_on
from roadworthy.observe.counts import Counts
from roadworthy.observe.reference import Reference
from roadworthy.observe.store import HOUR, Window, WindowStore
from roadworthy.prepare.plan import FeaturePlan
from roadworthy.prepare.rows import Note

ROWS_FOLDER = ".rows"
_ROWS = 4096
_BYTES = 8 << 20
_PAUSE = 0.0005
"""Seconds for requests between two steps of counting: whoever shares a core with it waits no more
than a step, and not for all of it."""
_pack_note = struct.Struct("<IHH").pack_into


def writer_name() -> str:
    """A name that no other process has, on this host or another."""
    host = "".join(letter if letter.isalnum() else "_" for letter in socket.gethostname())[:40]
    return f"{host}_{os.getpid()}_{secrets.token_hex(4)}"


class Recorder:
    """Records what one version of a model is asked and answers, in one process.

    `drain`, `count_many` and `recover` may run in any thread; everything else is for one.

    Args:
        model: The model's name.
        version: The bundle's version.
        contract: The columns.
        plan: What the vectors are.
        reference: How they are counted.
        store: Where windows go.
        writer: The name of this process among writers.

    Attributes:
        rows: Rows recorded.
        small: Rows up to which `add_many` is the shorter way, and `count_many` from there on.
        unwritten: Why the last window could not be written; None when it was.
        on_full: Called when one half is full, by who adds: what waits should be drained soon.
    """

    def __init__(
        self,
        model: str,
        version: str,
        contract: Contract,
        plan: FeaturePlan,
        reference: Reference,
        store: WindowStore,
        writer: str,
    ) -> None:
        self.model, self.version, self.writer = model, version, writer
        self.store = store
        self.layout = reference.layout
        self.rows = 0
        self.unwritten: str | None = None
        self.on_full: Callable[[], object] | None = None
        self._counter = RowCounter(contract, plan, self.layout)
        self._vector = plan.width
        self._scores = len(contract.target.classes) or 1
        self._places = {name: place for place, name in enumerate(contract.names)}
        self._lock = threading.Lock()
        self._urgent = threading.Event()
        self._extra = np.zeros(self.layout.size, dtype=np.int64)
        self._handed: NDArray[np.int64] | None = None
        self._windows: dict[int, Counts] = {}
        self._generation, self._counted = 1, 0
        self._at = self._noted = 0
        width = self._vector + self._scores
        room = max(64, min(_ROWS, _BYTES // (8 * width)))
        self._shape = Shape(room, width, room + max(room, 2 * len(contract.columns)))
        self._room = room
        self.small = room // 4
        self._file, self._memory = self._open(2 * self._shape.size)
        self._halves = self._split(self._memory)
        self._stride = 8 * width
        self._pack = struct.Struct(f"<{width}d").pack_into
        self._turn = 0
        self._full: Half | None = None
        self._begin(self._halves[0])

    def add(
        self, vector: Sequence[float], scores: Sequence[float], notes: Sequence[Note] | None
    ) -> None:
        """Record one row: about a microsecond.

        Args:
            vector: Its vector.
            scores: Its answer.
            notes: What was noticed in it.
        """
        at = self._at
        if at == self._room or self._noted > self._room:
            self._make_room()
            at = self._at
        memory = self._memory
        self._pack(memory, self._first + at * self._stride, *vector, *scores)
        if notes is not None:
            self._note(at, notes)
        self._at = at = at + 1
        pack_fill(memory, self._start, at, self._noted)

    def _note(self, row: int, notes: Sequence[Note]) -> None:
        for name, place in notes:
            code = CODES.get(name)
            if code is None:
                continue  # the bins tell what is out of range
            _pack_note(self._memory, self._notes_at + 8 * self._noted, row, code, place)
            self._noted += 1

    def add_many(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float64], noticed: Noticed
    ) -> None:
        """Record some rows at once.

        Args:
            matrix: Vectors `[N, width]`.
            scores: Answers `[N, K]` or `[N, 1]`.
            noticed: What was noticed, with the numbers of the rows.
        """
        told = told_in(noticed)
        answers = scores.reshape(len(matrix), -1)
        row = 0
        while row < len(matrix):
            if self._at == self._room or self._noted > self._room:
                self._make_room()
            end = min(len(matrix), row + self._room - self._at)
            first, last = np.searchsorted(told["row"], (row, end))
            if last - first > self._room - self._noted:  # the last row may have many notes
                end = int(told["row"][first + self._room - self._noted]) + 1
                last = np.searchsorted(told["row"], end)
            self._write_rows(matrix[row:end], answers[row:end], told[first:last], row)
            row = end

    def _write_rows(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float64], told: NDArray[Any], row: int
    ) -> None:
        """Record rows that have room; what was told of them counts rows from `row` on."""
        width = self._shape.width
        at = self._first + self._at * self._stride
        rows = np.frombuffer(self._memory, np.float64, len(matrix) * width, at)
        rows = rows.reshape(-1, width)
        rows[:, : self._vector], rows[:, self._vector :] = matrix, scores
        notes = np.frombuffer(self._memory, NOTE, len(told), self._notes_at + 8 * self._noted)
        notes[:] = told
        notes["row"] += np.uint32(self._at)
        notes["row"] -= np.uint32(row)
        self._noted += len(told)
        self._at += len(matrix)
        pack_fill(self._memory, self._start, self._at, self._noted)  # last: it makes them count

    def count_many(
        self, matrix: NDArray[np.float64], scores: NDArray[np.float64], noticed: Noticed
    ) -> None:
        """Count many rows at once, past the buffer; arguments as `add_many`."""
        with self._lock:
            self._put(self._counter.count(matrix, noticed, scores), _hour())
            self._write_all()
        self.rows += len(matrix)

    def refuse(self, columns: Sequence[str | None]) -> None:
        """Count cells that were refused, by column."""
        for name in columns:
            place = self._places.get(name or "")
            if place is not None:
                self._extra[self.layout.blocks[place].refused] += 1

    def serve(self, latencies: Sequence[int], refused: int, failed: int) -> None:
        """Count requests by duration, and those that were refused or failed."""
        self._extra[self.layout.latencies] += latencies
        self._extra[2] += refused
        self._extra[3] += failed

    def swap(self) -> bool:
        """Let the other half be filled; True when there is something to count."""
        if not self._at and self._halves[self._turn].header()[3] != _hour():
            self._begin(self._halves[self._turn])  # what comes after a quiet hour is not of it
        if self._at and self._full is None:
            self._full = self._halves[self._turn]
            self.rows += self._at
            self._turn = 1 - self._turn
            self._generation += 1
            self._begin(self._halves[self._turn])
        if self._handed is None and self._extra.any():
            self._handed, self._extra = self._extra, np.zeros_like(self._extra)
        return self._full is not None or self._handed is not None

    def drain(self) -> None:
        """Count what waits, and write the window."""
        with self._lock:
            self._drain()

    def close(self) -> None:
        """Count everything, and remove the buffer."""
        self._urgent.set()
        for _ in range(2):
            self.swap()
            self.drain()
        if self.unwritten is None and self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file.name)

    def recover(self) -> int:
        """Count what writers left behind that were killed; the number of rows."""
        found = 0
        place = self.store.folder / ROWS_FOLDER / self.model / self.version[:12]
        for path in sorted(place.glob("*.rows")):
            if path.stem != self.writer:
                with contextlib.suppress(OSError, ValueError), self.store.alone(wait=True):
                    found += self._recover(path)
        return found

    def _begin(self, half: Half) -> None:
        half.begin(self._generation, _hour())
        self._start, self._first, self._notes_at = half.start, half.first, half.notes_at
        self._at = self._noted = 0

    def _make_room(self) -> None:
        self.swap()
        if self._at:  # the other half still waits: count it now
            self._urgent.set()
            self.drain()
            self._urgent.clear()
            self.swap()
        if self.on_full is not None:
            self.on_full()

    def _drain(self) -> None:
        half, handed = self._full, self._handed
        if half is not None:
            rows, noticed = half.content()
            _, _, self._counted, hour = half.header()
            self._put(self._count(rows, noticed, self._pause), hour)
        if handed is not None:
            self._put(Counts(handed, Counts.empty(0).sketch), _hour())
        self._write_all()
        if half is not None:
            half.begin(0, 0)
            self._full = None
        if handed is not None:
            self._handed = None

    def _count(
        self,
        rows: NDArray[np.float64],
        noticed: Noticed,
        pause: Callable[[], object] = go_on,
    ) -> Counts:
        vectors, scores = rows[:, : self._vector], rows[:, self._vector :]
        return self._counter.count(np.ascontiguousarray(vectors), noticed, scores, pause)

    def _pause(self) -> None:
        """Let requests pass, unless one waits for what is being counted."""
        self._urgent.wait(_PAUSE)

    def _put(self, counts: Counts, hour: int) -> None:
        """Add counts to the window of an hour."""
        if hour not in self._windows:
            self._windows[hour] = self._known(hour, self.writer)
        self._windows[hour] = self._windows[hour].merged(counts)

    def _write_all(self) -> None:
        """Write the windows; what cannot be written is kept for the next time."""
        last = next(reversed(self._windows), None)
        for hour, counts in list(self._windows.items()):
            self._write(hour, counts, self._counted, self.writer)
            if self.unwritten is None and hour != last:
                del self._windows[hour]

    def _write(self, hour: int, counts: Counts, generation: int, writer: str) -> None:
        window = Window(
            model=self.model, version=self.version, hour=hour, writer=writer,
            generation=generation, counts=counts.packed(),
        )  # fmt: skip
        try:
            self.store.write(window)
            self.unwritten = None
        except OSError as error:
            self.unwritten = error.strerror or str(error)

    def _split(self, memory: mmap.mmap) -> list[Half]:
        return [Half(memory, turn * self._shape.size, self._shape) for turn in (0, 1)]

    def _known(self, hour: int, writer: str) -> Counts:
        """What a writer counted in an hour before: a clock may go back."""
        window = self.store.pending(self.model, self.version, hour, writer)
        with contextlib.suppress(ValueError):
            if window is not None and window.counts.size == self.layout.size:
                return window.unpacked()
        return Counts.empty(self.layout.size)

    def _open(self, size: int) -> tuple[BinaryIO | None, mmap.mmap]:
        """Shared memory of a locked file; plain memory where the disk is full or gone."""
        place = self.store.folder / ROWS_FOLDER / self.model / self.version[:12]
        try:
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{self.writer}.rows"
            file = open(path, "x+b", opener=lambda name, how: os.open(name, how, 0o600))  # noqa: SIM115 (held)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(file.fileno(), 0, size)  # a hole on a full disk would kill us later
            return file, mmap.mmap(file.fileno(), size)
        except OSError as error:
            self.unwritten = error.strerror or str(error)
            return None, mmap.mmap(-1, size)

    def _recover(self, path: Path) -> int:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner lives
            size = 2 * self._shape.size
            if os.fstat(file.fileno()).st_size != size:
                path.unlink()  # its owner died before it was ready
                return 0
            rows = 0
            with mmap.mmap(file.fileno(), size) as memory:
                for half in sorted(self._split(memory), key=lambda one: one.header()[2]):
                    rows += self._recover_half(half, path.stem)
                    if self.unwritten is not None:
                        return rows  # the disk is full: the file stays for who comes after us
            path.unlink()
        return rows

    def _recover_half(self, half: Half, writer: str) -> int:
        """Add what a half holds to its writer's own window, as that writer would have."""
        self.unwritten = None
        count, _, generation, hour = half.header()
        if not count:
            return 0
        if self.store.counted(self.model, self.version, hour, writer) >= generation:
            return 0  # it was counted, and its owner died before it could say so
        rows, noticed = half.content()
        counts = self._known(hour, writer).merged(self._count(rows, noticed))
        self._write(hour, counts, generation, writer)
        return len(rows)


def _hour() -> int:
    return int(time.time() // HOUR)
