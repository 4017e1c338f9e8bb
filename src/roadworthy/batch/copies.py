"""Tables of databases, copied to this machine for as long as they are scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from roadworthy.batch.places import Input
from roadworthy.project import DataSection
from roadworthy.project.data import is_database


@contextmanager
def copied(
    inputs: Sequence[str], query: str | None
) -> Iterator[tuple[list[str], dict[str, Input]]]:
    """The inputs that are files, and copies of those that are tables of databases.

    What a table holds is its stamp: a run goes on where it was when the table is as it was.

    Args:
        inputs: Paths and addresses.
        query: What is read of a database whose address names no table.

    Raises:
        InputError: There is no such table, or the query cannot be read.
        OutsideError: A database is out of reach.
    """
    files: list[str] = []
    copies: dict[str, Input] = {}
    with ExitStack() as held:
        for each in inputs:
            if not is_database(each):
                files.append(each)
                continue
            from roadworthy.table.database import copy_table

            copy = copy_table(each, DataSection(query=query))
            held.callback(copy.held.cleanup)
            content, what = copy.lineage["content"], copy.lineage.get("query", "")
            stamp = f"{content} {what}".strip()
            rows = int(copy.lineage["rows"])
            copies[copy.origin] = Input(copy.origin, rows, stamp, str(copy.path))
        yield files, copies
