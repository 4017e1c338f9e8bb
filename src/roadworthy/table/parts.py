"""A file of any size, read part by part: text or Parquet, on this machine or in a bucket."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import polars as pl

from roadworthy.buckets import open_bucket
from roadworthy.errors import InputError, OutsideError
from roadworthy.project import DataSection
from roadworthy.table.delimited import Dialect, check_names, opened_text, scan_text, unreadable
from roadworthy.table.file_names import for_polars

PARQUET = (".parquet", ".pq")
_SCHEMES = ("s3", "gs", "az")
_PART_ROWS = 50_000


class File(NamedTuple):
    """A file that is read part by part, as often as is asked.

    Attributes:
        path: Where it lies on this machine.
        origin: Its path or address, for people.
        options: What the user says of a text file.
        held: What keeps a copy on the disk, as long as the file is read.
        notes: What was noticed when it was copied, for people.
        lineage: Where a model's rows come from, when not from a file.
    """

    path: Path
    origin: str
    options: DataSection
    held: Any = None
    notes: tuple[str, ...] = ()
    lineage: Mapping[str, str] = {}

    @property
    def text(self) -> bool:
        """Whether its cells are all texts."""
        return not self.path.name.lower().endswith(PARQUET)

    @contextmanager
    def opened(self) -> Iterator[tuple[pl.LazyFrame, Dialect | None]]:
        """The file before it is read, and how a text is written.

        Raises:
            InputError: It is no table.
        """
        if not self.text:
            with _told(self.origin):
                found = pl.scan_parquet(for_polars(self.path), glob=False)
                check_names(tuple(found.collect_schema().names()), self.origin)
            yield found, None
            return
        with opened_text(self.path, self.options) as (utf8, dialect, head):
            try:
                yield scan_text(utf8, dialect, head), dialect
            except pl.exceptions.PolarsError as error:
                raise unreadable(utf8, dialect, Path(self.origin), error) from None

    def parts(self) -> Iterator[pl.DataFrame]:
        """Its rows in their order, some tens of thousands at a time.

        Raises:
            InputError: The file cannot be read.
        """
        with self.opened() as (rows, dialect):
            skipped = dialect is None or not dialect.header
            with contextlib.nullcontext() if dialect else _told(self.origin):
                for part in rows.collect_batches(chunk_size=_PART_ROWS, maintain_order=True):
                    # the header is the first row of the text
                    yield part if skipped else part.slice(1)
                    skipped = True


@contextmanager
def _told(origin: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(f"not a Parquet file: {first_line}", where=origin) from None


def is_address(path: str) -> bool:
    """Whether it names an object of a bucket.

    Raises:
        InputError: It is an address of a kind that is not known.
    """
    scheme, separator, _ = path.partition("://")
    if separator and scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in (*_SCHEMES, "postgresql", "sqlite"))
        raise InputError(f"unknown address {scheme}://", where=path, fix=f"use {known} or a path")
    return bool(separator)


def fetch(address: str, options: DataSection) -> File:
    """Copy an object to the disk of this machine, in pieces.

    Raises:
        InputError: There is no such object.
        OutsideError: The bucket is out of reach, or the disk is full.
    """
    parts = urlsplit(address, allow_fragments=False)
    key = address.split("://", 1)[1].partition("/")[2]
    folder = tempfile.TemporaryDirectory(prefix="roadworthy-", ignore_cleanup_errors=True)
    path = Path(folder.name) / (Path(key).name or "table")
    try:
        import obstore

        library: Any = obstore
        found = library.get(open_bucket(f"{parts.scheme}://{parts.netloc}"), key)
        with path.open("wb") as copy:
            for piece in found.stream():
                copy.write(piece)
    except FileNotFoundError:
        raise InputError("the file does not exist", where=address) from None
    except OSError as error:
        raise OutsideError(
            f"the table cannot be copied here: {error.strerror or error}",
            where=address,
            fix="TMPDIR names another disk, when this one is full",
        ) from None
    except Exception as error:  # obstore raises classes of its own
        first = (str(error).splitlines() or [""])[0]
        raise OutsideError(
            f"the bucket cannot be read: {type(error).__name__}: {first:.200}",
            where=address,
            fix="check the bucket, the network and the credentials, then run the same again",
        ) from None
    return File(path, address, options, folder)
