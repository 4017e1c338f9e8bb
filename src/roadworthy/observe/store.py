"""The store of windows: counts of one model version, hour and writer, a file each.

A writer's file holds everything that it counted in that hour and is replaced whole, so that a crash
leaves the old file or the new one, and nothing is counted twice. Writers on other hosts have other
files: merging is adding up what lies in the folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from roadworthy.observe.counts import Counts, Packed, unpack

HOUR = 3600
SUFFIX = ".window"


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts of one model version in one hour, by one writer.

    Attributes:
        model: The model's name.
        version: The bundle's version.
        hour: Hours since 1970, UTC.
        writer: Who counted: no two processes have the same name.
        generation: The last filling of the writer's buffer that is in these counts.
        counts: The counts.
    """

    model: str
    version: str
    hour: int
    writer: str
    generation: int
    counts: Packed

    def unpacked(self) -> Counts:
        """The counts; ValueError when they are damaged."""
        return unpack(self.counts)


class WindowStore:
    """Windows in a folder.

    Args:
        folder: The folder; it is made when the first window is written.

    Attributes:
        damaged: Files that could not be read, as of the last `windows`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.damaged: list[Path] = []

    def path(self, model: str, version: str, hour: int, writer: str) -> Path:
        """Where a window lies."""
        return self.folder / model / version[:12] / f"{hour}-{writer}{SUFFIX}"

    def write(self, window: Window) -> None:
        """Put a window in its place, or in that of its predecessor; OSError when it cannot be."""
        place = self.path(window.model, window.version, window.hour, window.writer)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.write(msgspec.msgpack.encode(window))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def read(self, path: Path) -> Window | None:
        """A window by its file; None when there is none that can be read."""
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=Window)
        except (OSError, msgspec.DecodeError):
            return None

    def models(self) -> list[str]:
        """Names of the models that have windows."""
        try:
            return sorted(
                place.name
                for place in self.folder.iterdir()
                if place.is_dir() and not place.name.startswith(".")
            )
        except OSError:
            return []

    def windows(
        self, model: str, version: str | None = None, *, since: int | None = None
    ) -> Iterator[tuple[Window, Counts]]:
        """The windows of a model, by hour.

        Args:
            model: Its name.
            version: Only of this version.
            since: Only from this hour on.
        """
        self.damaged = []
        wanted = "*" if version is None else version[:12]
        found = []
        for path in self.folder.glob(f"{model}/{wanted}/*{SUFFIX}"):
            hour, _, _ = path.name.partition("-")
            if hour.isdecimal() and (since is None or int(hour) >= since):
                found.append((int(hour), path))
        for _, path in sorted(found):
            window = self.read(path)
            try:
                if window is None:
                    raise ValueError("not a window")
                yield window, window.unpacked()
            except ValueError:
                if path.exists():
                    self.damaged.append(path)
