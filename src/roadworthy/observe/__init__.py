"""Step 7: what a model sees and says in production, as integers that add up.

The server imports this room: NumPy and msgspec only.
"""

from roadworthy.observe.counts import Counts
from roadworthy.observe.layout import ColumnBins, Layout
from roadworthy.observe.reference import Reference, read_reference
from roadworthy.observe.store import Window, WindowStore

__all__ = [
    "ColumnBins",
    "Counts",
    "Layout",
    "Reference",
    "Window",
    "WindowStore",
    "read_reference",
]
