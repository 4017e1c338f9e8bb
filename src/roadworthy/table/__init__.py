"""Step 1, the table: read it, say what its columns are, hold a part out."""

from roadworthy.table.reading import read_table
from roadworthy.table.table import ColumnProfile, Table

__all__ = ["ColumnProfile", "Table", "read_table"]
