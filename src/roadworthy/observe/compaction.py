"""Compaction: hours that are old become days, a file each, so that the store stays small.

A day's file names each file that is in it by the digest of its content. Whoever reads leaves those
out, so that a row is counted once whether or not they still lie there; they are removed at a later
time, when nobody can be reading that saw them without the day. A process that is killed at any
point leaves a store that says the same. A file that a writer makes anew after that has another
digest: it counts beside the day, and comes into it the next time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import msgspec

from roadworthy.observe.store import (
    DAY_SUFFIX,
    DAY_WRITER,
    HOUR,
    SUFFIX,
    Source,
    Window,
    WindowStore,
    digest,
    hour_of,
)

GRACE = 600.0
"""Seconds for which a file stays after its day was written."""
_HOURS = 24


def compact(store: WindowStore, *, now: float, hours_days: int) -> int:
    """Bring old hours into days; the number of files that were removed.

    Args:
        store: The windows; another process that compacts them at the same time is left to it.
        now: Seconds since 1970.
        hours_days: Days that are kept by the hour.

    Raises:
        OSError: A file cannot be written or removed; what was done until then holds.
    """
    last = (int(now // HOUR) // _HOURS - hours_days) * _HOURS
    removed = 0
    with contextlib.suppress(BlockingIOError), store.alone():
        for folder in sorted(place for place in store.folder.glob("*/*") if place.is_dir()):
            old = [path for path in folder.glob(f"*{SUFFIX}") if 0 <= hour_of(path) < last]
            ordered = sorted(old, key=lambda path: (hour_of(path), path.name))
            for day, paths in groupby(ordered, lambda path: hour_of(path) // _HOURS):
                removed += _compact_day(store, folder, day, list(paths), now)
    return removed


def _compact_day(
    store: WindowStore, folder: Path, day: int, paths: Iterable[Path], now: float
) -> int:
    """Bring files into their day, or remove those that were long enough in it."""
    place = folder / f"{day * _HOURS}-{DAY_WRITER}{DAY_SUFFIX}"
    known = store.read(place)
    if known is None and place.exists():
        return 0  # it is damaged: the hours are all there is
    sources = {source.name: source for source in known.sources} if known is not None else {}
    total = None if known is None else known.unpacked()
    new, listed, about = False, [], known
    for path in paths:
        content, source = path.read_bytes(), sources.get(path.name)
        if source is not None and source.digest == digest(content):
            listed.append(path)
            continue
        try:
            window = msgspec.msgpack.decode(content, type=Window)
            counts = window.unpacked()
            total = counts if total is None else total.merged(counts)
        except (ValueError, msgspec.DecodeError):
            continue  # it is damaged: it is told of where it lies
        generation = max(window.generation, source.generation if source is not None else 0)
        sources[path.name] = Source(path.name, digest(content), generation)
        new, about = True, window
    if new and total is not None and about is not None:
        store.write(
            Window(
                model=about.model, version=about.version, hour=day * _HOURS, writer=DAY_WRITER,
                generation=0, counts=total.packed(),
                sources=tuple(sources[name] for name in sorted(sources)),
            )
        )  # fmt: skip
        return 0
    if not listed or now - place.stat().st_mtime < GRACE:
        return 0
    for path in listed:
        path.unlink()
    return len(listed)
