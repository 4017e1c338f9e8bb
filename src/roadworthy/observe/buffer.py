"""What recorded rows wait in: half a buffer in memory, a header, rows, and what was noticed."""

from __future__ import annotations

import mmap
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadworthy.observe.counting import Noticed
from roadworthy.prepare.rows import BLANK, UNSEEN, Note

HEADER = 64
CODES = {BLANK: 0, UNSEEN: 1}
NOTE = np.dtype([("row", "<u4"), ("code", "<u2"), ("place", "<u2")])
pack_fill = struct.Struct("<II").pack_into
_NAMES = (BLANK, UNSEEN)
_pack_filling = struct.Struct("<qq").pack_into


class Shape(NamedTuple):
    """How much half a buffer holds.

    Attributes:
        rows: Rows.
        width: Numbers a row: the vector and the scores.
        notes: Things noticed in them.
    """

    rows: int
    width: int
    notes: int

    @property
    def size(self) -> int:
        """Bytes."""
        return HEADER + self.rows * self.width * 8 + self.notes * NOTE.itemsize


class Half:
    """One half of the buffer: a header, rows, and what was noticed in them.

    Args:
        memory: The shared memory.
        start: Where the half begins.
        shape: How much it holds.
    """

    def __init__(self, memory: mmap.mmap, start: int, shape: Shape) -> None:
        self.start = start
        self.first = start + HEADER
        self.notes_at = self.first + shape.rows * shape.width * 8
        self._memory = memory
        self._shape = shape

    def header(self) -> tuple[int, int, int, int]:
        """Rows, notes, number of the filling, and its hour."""
        rows, notes, generation, hour = struct.unpack_from("<IIqq", self._memory, self.start)
        return rows, notes, generation, hour

    def begin(self, generation: int, hour: int) -> None:
        """Begin a filling; emptied first, for a crash between the two must not count it anew."""
        pack_fill(self._memory, self.start, 0, 0)
        _pack_filling(self._memory, self.start + 8, generation, hour)

    def content(self) -> tuple[NDArray[np.float64], dict[Note, NDArray[np.int64]]]:
        """A copy of the rows, vectors and scores side by side, and what was noticed."""
        rows, notes, _, _ = self.header()
        width = self._shape.width
        rows, notes = min(rows, self._shape.rows), min(notes, self._shape.notes)
        flat = np.frombuffer(self._memory, np.float64, rows * width, self.first).copy()
        told = np.frombuffer(self._memory, NOTE, notes, self.notes_at).copy()
        noticed: dict[Note, NDArray[np.int64]] = {}
        keys = told["place"].astype(np.int64) * 2 + told["code"] % 2
        for key in np.flatnonzero(np.bincount(keys)).tolist():  # np.unique would load 6 MB more
            its = told["row"][keys == key].astype(np.int64)
            noticed[_NAMES[key % 2], key // 2] = its[its < rows]
        return flat.reshape(rows, width), noticed


def told_in(noticed: Noticed) -> NDArray[Any]:
    """What is recorded of what was noticed, in the order of the rows."""
    parts = []
    for (name, place), rows in noticed.items():
        if name in CODES:  # the bins tell what is out of range
            part = np.empty(len(rows), dtype=NOTE)
            part["row"], part["code"], part["place"] = rows, CODES[name], place
            parts.append(part)
    told = np.concatenate(parts) if parts else np.empty(0, dtype=NOTE)
    return told[np.argsort(told["row"], kind="stable")]
