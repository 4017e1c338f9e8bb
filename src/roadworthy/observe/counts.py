"""Counts: what a number of rows comes to, in integers that merge in any order.

Every cell is a plain sum, so that counts of workers, hosts and hours merge by addition. The one
exception is the sketch of distinct rows, whose registers merge by the maximum (HyperLogLog,
Flajolet et al. 2007). Both are associative and commutative.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]
Sketch = NDArray[np.uint8]
REGISTERS = 1024
_SLOT = np.uint64(REGISTERS - 1)
_WIDTH = np.uint64(REGISTERS.bit_length() - 1)
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(32))


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts as they lie in a file.

    Attributes:
        size: Number of cells.
        cells: Little-endian 64-bit integers, deflated.
        sketch: The registers.
    """

    size: int
    cells: bytes
    sketch: bytes


@dataclass(frozen=True)
class Counts:
    """What was counted of some rows; which cell means what is `Layout`'s business.

    Attributes:
        cells: `[L]`.
        sketch: Registers `[1024]` that tell how many rows were distinct.
    """

    cells: Cells
    sketch: Sketch

    @staticmethod
    def empty(size: int) -> Counts:
        """Counts of no rows."""
        return Counts(np.zeros(size, dtype=np.int64), np.zeros(REGISTERS, dtype=np.uint8))

    def merged(self, other: Counts) -> Counts:
        """These counts and others together; ValueError when they count different things."""
        if len(self.cells) != len(other.cells):
            raise ValueError("counts of another layout")
        return Counts(self.cells + other.cells, np.maximum(self.sketch, other.sketch))

    def distinct(self) -> float:
        """About how many different rows there were, within some 3 %."""
        zeros = int((self.sketch == 0).sum())
        bias = 0.7213 / (1 + 1.079 / REGISTERS)
        estimate = bias * REGISTERS**2 / float((2.0 ** -self.sketch.astype(np.float64)).sum())
        if zeros and estimate <= 2.5 * REGISTERS:
            return REGISTERS * math.log(REGISTERS / zeros)
        return estimate

    def packed(self) -> Packed:
        """As a file holds it."""
        cells = zlib.compress(self.cells.astype("<i8").tobytes(), 1)
        return Packed(len(self.cells), cells, self.sketch.tobytes())


def unpack(packed: Packed) -> Counts:
    """The counts of a file; ValueError when they are damaged."""
    try:
        cells = np.frombuffer(zlib.decompress(packed.cells), dtype="<i8").astype(np.int64)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    sketch = np.frombuffer(packed.sketch, dtype=np.uint8)
    if len(cells) != packed.size or len(sketch) != REGISTERS or (cells < 0).any():
        raise ValueError("not the size that it says")
    return Counts(cells, sketch)


def sketch_of(matrix: NDArray[np.float64]) -> Sketch:
    """The registers of rows.

    Args:
        matrix: `[N, width]`; equal rows have equal bits.
    """
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    state = np.full(len(matrix), 1469598103934665603, dtype=np.uint64)
    bits = np.ascontiguousarray(matrix).view(np.uint64)
    for place in range(matrix.shape[1]):
        state = (state ^ bits[:, place]) * _MIX[0]
        state ^= state >> _MIX[2]
    state = state * _MIX[1]
    state ^= state >> _MIX[2]
    rest = state >> _WIDTH
    # the rank of the lowest bit that is set: its power of two, exact as a float
    lowest = rest & (~rest + np.uint64(1))
    ranks = np.where(rest == 0, 55, np.log2(np.maximum(lowest, 1).astype(np.float64)) + 1)
    np.maximum.at(registers, (state & _SLOT).astype(np.int64), ranks.astype(np.uint8))
    return registers
