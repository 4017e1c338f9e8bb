"""Cut the input files into tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from roadworthy.batch.places import Input, open_input
from roadworthy.batch.tasks import Task
from roadworthy.batch.text import NotUtf8, cut_text, find_layout, read_head
from roadworthy.contract import Contract
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import DataSection
from roadworthy.table.delimited import check_names
from roadworthy.table.encodings import refuse_binary

_PARQUET = (".parquet", ".pq")
_MOST_ROWS = 200_000
"""Rows of Parquet in a task: few bytes may hold many."""
_PACKED = (".gz", ".bz2", ".xz")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def plan_tasks(
    inputs: list[Input], contract: Contract, size: int, told: Callable[[str], None]
) -> list[Task]:
    """Cut files into tasks of about so many bytes.

    Parquet files are cut at row groups, by their footers alone. Plain text is read once to find
    where rows end. A text file that is packed, or not in UTF-8, is one task.

    Args:
        inputs: The files.
        contract: Says how text files are written, where the user did.
        size: Bytes of text, or of Parquet before packing, in a task.
        told: Called with each file that is looked at.

    Raises:
        InputError: A file is no table.
    """
    tasks: list[Task] = []
    for wanted in inputs:
        told(wanted.path)
        name = wanted.copy or wanted.path
        cut = _parquet if name.lower().endswith(_PARQUET) else _text
        tasks += [
            Task(len(tasks) + place, *part)
            for place, part in enumerate(cut(wanted, text_options(contract), size))
        ]
    return tasks


def text_options(contract: Contract) -> DataSection:
    """How text files are written, as far as the training table's user said."""
    said = contract.text
    return DataSection(
        blanks=contract.blanks,
        delimiter=said.delimiter,
        encoding=said.encoding,
        header=said.header,
    )


def open_parquet(wanted: Input) -> Any:
    """A Parquet file of which row groups are read as they are asked for.

    Raises:
        InputError: It is no Parquet file.
        OutsideError: The library is missing, or the bucket out of reach.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise OutsideError(
            "Parquet is scored by parts with pyarrow, which is not installed",
            fix="pip install 'roadworthy[arrow]'",
        ) from None
    stream = open_input(wanted)
    try:
        return ParquetFile(stream, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"not a Parquet file: {first_line}", where=wanted.path) from None


def _parquet(wanted: Input, options: DataSection, size: int) -> Iterator[tuple[Any, ...]]:
    with open_parquet(wanted) as file:
        check_names(tuple(file.schema_arrow.names), wanted.path)
        found = file.metadata
        start = first = rows = held = 0
        for group in range(found.num_row_groups):
            entry = found.row_group(group)
            rows, held = rows + entry.num_rows, held + entry.total_byte_size
            if held >= size or rows >= _MOST_ROWS or group == found.num_row_groups - 1:
                yield wanted, "parquet", start, group + 1, first, rows
                start, first, rows, held = group + 1, first + rows, 0, 0
        if not found.num_row_groups:
            yield wanted, "parquet", 0, 0, 0, 0


def _text(wanted: Input, options: DataSection, size: int) -> Iterator[tuple[Any, ...]]:
    whole = [(wanted, "whole")]
    if wanted.path.lower().endswith(_PACKED) or not _may_be_utf8(options):
        yield from whole
        return
    try:
        yield from list(_cuts(wanted, options, size))
    except NotUtf8:
        yield from whole


def _may_be_utf8(options: DataSection) -> bool:
    return (options.encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8", "ascii")


def _cuts(wanted: Input, options: DataSection, size: int) -> Iterator[tuple[Any, ...]]:
    with open_input(wanted) as stream:
        head = read_head(stream)
        if not head.strip():
            raise InputError("the file is empty", where=wanted.path)
        if head.startswith(_UTF16):
            raise NotUtf8
        refuse_binary(head, wanted.path)
        layout, begin = find_layout(head, options, wanted.path)
        some = False
        for cut in cut_text(stream, begin, layout, size, wanted.path):
            some = True
            yield wanted, "text", cut.start, cut.stop, cut.first, cut.rows, layout
        if not some:
            yield wanted, "text", begin, begin, 0, 0, layout
