"""Read a prediction log back, whatever its form."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from roadworthy.errors import InputError
from roadworthy.serve.prediction_log.entries import Logged

_FORMS = (".open", ".jsonl", ".parquet")
"""A segment's forms, in the order of its life."""


def read(path: Path | str) -> Iterator[Logged]:
    """What was logged, segment by segment; within a segment in the order of answers.

    A segment that a worker is still writing is read as far as it has come.

    Args:
        path: A folder of segments (`[serve] log_folder`), one segment, or the address of a bucket
            or database (`[serve] log_to`).

    Raises:
        InputError: There is no such folder or file, or a whole segment cannot be read.
        OutsideError: The bucket or database cannot be used.
    """
    if "://" in str(path):
        from roadworthy.serve.prediction_log.targets import read_address

        yield from read_address(str(path))
        return
    place = Path(path)
    if place.is_dir():
        stems = sorted({file.stem for file in place.iterdir() if file.suffix in _FORMS})
        for stem in stems:
            yield from _segment(place / stem)
    elif place.is_file():
        yield from _file(place)
    else:
        raise InputError("there is no prediction log here", where=str(place))


def read_newest(
    path: Path | str, most: int, wanted: Callable[[Logged], bool], since: float = -math.inf
) -> list[Logged]:
    """The newest entries; segments that can hold none of them are not opened.

    Args:
        path: As `read` takes it.
        most: Entries at most.
        wanted: Which are wanted.
        since: Seconds since 1970 from which.

    Raises:
        InputError: As `read`.
        OutsideError: As `read`.
    """
    found: list[tuple[float, int, Logged]] = []
    place, number = Path(path), itertools.count()

    def keep(entries: Iterator[Logged]) -> None:
        for entry in entries:
            if entry.time < since or not wanted(entry):
                continue
            if len(found) < most:
                heapq.heappush(found, (entry.time, next(number), entry))
            elif entry.time > found[0][0]:
                heapq.heapreplace(found, (entry.time, next(number), entry))

    if "://" in str(path) or not place.is_dir():
        keep(read(path))
    else:
        for stem, changed in _by_age(place):
            # a segment was changed last when its last entry came, or later
            if changed < since or (len(found) == most and changed < found[0][0]):
                break
            keep(_segment(stem))
    return [entry for _, _, entry in sorted(found, key=lambda each: each[:2])]


def _by_age(folder: Path) -> list[tuple[Path, float]]:
    """Segments with the second after their last change, the newest first."""
    found: dict[Path, float] = {}
    for file in folder.iterdir():
        if file.suffix in _FORMS:
            with contextlib.suppress(FileNotFoundError):  # it took its next form
                stem = file.with_suffix("")
                found[stem] = max(found.get(stem, 0.0), file.stat().st_mtime + 1.0)
    return sorted(found.items(), key=lambda each: -each[1])


def _segment(stem: Path) -> Iterator[Logged]:
    """A segment in the form that it has now; it may take the next one while we look."""
    for form in _FORMS:
        rows = _file(stem.with_name(stem.name + form))
        try:
            first = next(rows, None)
        except FileNotFoundError:
            continue
        if first is not None:
            yield first
            yield from rows
        return


def _file(file: Path) -> Iterator[Logged]:
    if file.suffix == ".parquet":
        from roadworthy.serve.prediction_log.parquet import read_parquet

        yield from read_parquet(file, str(file))
    else:
        yield from read_lines(file)


def read_lines(file: Path) -> Iterator[Logged]:
    """The entries of a segment of JSON lines; InputError for a line that is none."""
    decoder = msgspec.json.Decoder(Logged)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if file.suffix == ".open" and not line.endswith(b"\n"):
                return  # it is just being written, or its worker was killed
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError:
                raise InputError(
                    f"line {number} is no logged prediction", where=str(file)
                ) from None
