"""Write frames that a verb makes: whole, or not at all."""

from __future__ import annotations

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
    target = Path(file)
    draft = target.with_name(f".{target.name}.draft")
    try:
        if target.suffix == ".csv":
            frame.write_csv(draft)
        else:
            frame.write_parquet(draft)
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutsideError(
            f"the file cannot be written: {error.strerror or error}", where=file
        ) from None
