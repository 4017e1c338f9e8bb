"""Write files that a verb makes: whole, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from roadworthy.errors import InputError, OutsideError

if TYPE_CHECKING:
    import polars as pl


def check_frame_file(file: str) -> None:
    """Refuse a name that says no format, before any work."""
    if Path(file).suffix not in (".csv", ".parquet"):
        raise InputError("the output must be a .csv or .parquet file", where=file)


def write_frame(frame: pl.DataFrame, file: str) -> None:
    """Write a frame as CSV or Parquet.

    Raises:
        OutsideError: The file cannot be written.
    """
    with _draft_of(Path(file)) as draft, draft.open("wb") as stream:
        if file.endswith(".csv"):
            frame.write_csv(stream)
        else:
            frame.write_parquet(stream)


def write_file(path: Path, content: str) -> None:
    """Write a text; raises as `write_frame`."""
    with _draft_of(path) as draft:
        draft.write_text(content, "utf-8")


@contextlib.contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A file beside another that takes its place once it is whole, and else goes."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise OutsideError(
            f"the file cannot be written: {error.strerror or error}", where=str(path)
        ) from None
    finally:
        with contextlib.suppress(OSError):  # a read-only disk does not let go either
            draft.unlink(missing_ok=True)
