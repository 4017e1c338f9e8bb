"""The store of windows: counts of one model version, hour and writer, a file each.

A writer's file holds everything that it counted in that hour and is replaced whole, so that a crash
leaves the old file or the new one, and nothing is counted twice. Writers on other hosts have other
files: merging is adding up what lies in the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from roadworthy.observe.counts import Counts, Packed, unpack

HOUR = 3600
SUFFIX = ".window"
DAY_SUFFIX = ".day"
DAY_WRITER = "all"


class Source(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file that is in a day.

    Attributes:
        name: Its name.
        digest: Of its content.
        generation: Its window's.
    """

    name: str
    digest: bytes
    generation: int


_NOTHING = Source("", b"", 0)


class Window(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Counts of one model version in one hour, by one writer; or of a whole day, by all.

    Attributes:
        model: The model's name.
        version: The bundle's version.
        hour: Hours since 1970, UTC.
        writer: Who counted: no two processes have the same name.
        generation: The last filling of the writer's buffer that is in these counts.
        counts: The counts.
        sources: Of a day: the files of hours that are in it.
    """

    model: str
    version: str
    hour: int
    writer: str
    generation: int
    counts: Packed
    sources: tuple[Source, ...] = ()

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
        suffix = DAY_SUFFIX if writer == DAY_WRITER else SUFFIX
        return self.folder / model / version[:12] / f"{hour}-{writer}{suffix}"

    def page(self, model: str) -> Path:
        """Where the page lies that says what is known of a model; monitoring writes it."""
        return self.folder / ".pages" / f"{model}.html"

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

    def pending(self, model: str, version: str, hour: int, writer: str) -> Window | None:
        """A writer's window that no day holds yet."""
        path = self.path(model, version, hour, writer)
        inside = self._source(model, version, hour, path.name)
        if inside is not None and inside.digest == _digest_of(path):
            return None
        return self.read(path)

    def counted(self, model: str, version: str, hour: int, writer: str) -> int:
        """The last filling of a writer that is in an hour's counts, or in its day's; else 0."""
        path = self.path(model, version, hour, writer)
        inside, window = self._source(model, version, hour, path.name), self.read(path)
        return max(each.generation for each in (inside, window, _NOTHING) if each is not None)

    def _source(self, model: str, version: str, hour: int, name: str) -> Source | None:
        """What a day says of a file."""
        day = self.read(self.path(model, version, hour // 24 * 24, DAY_WRITER))
        sources = () if day is None else day.sources
        return next((source for source in sources if source.name == name), None)

    @contextlib.contextmanager
    def alone(self, *, wait: bool = False) -> Iterator[None]:
        """Keep other processes from files of hours that are long over.

        Args:
            wait: Whether to wait for another one to be done.

        Raises:
            BlockingIOError: Another process is at it, and it was not to be waited for.
            OSError: The folder cannot be used.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

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
        for suffix, hours in ((SUFFIX, 1), (DAY_SUFFIX, 24)):
            for path in self.folder.glob(f"{model}/{wanted}/*{suffix}"):
                hour = hour_of(path)
                if hour >= 0 and (since is None or hour + hours > since):
                    found.append((hour, suffix != DAY_SUFFIX, path))
        inside: dict[Path, bytes] = {}
        for _, _, path in sorted(found):  # a day comes before its hours
            if path in inside and inside[path] == _digest_of(path):
                continue
            window = self.read(path)
            try:
                if window is None:
                    raise ValueError("not a window")
                yield window, window.unpacked()
                inside |= {path.with_name(each.name): each.digest for each in window.sources}
            except ValueError:
                if path.exists():
                    self.damaged.append(path)


def hour_of(path: Path) -> int:
    """The hour since 1970 that a file is of; -1 when it is none of ours."""
    hour, _, _ = path.name.partition("-")
    return int(hour) if hour.isdecimal() else -1


def _digest_of(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return digest(path.read_bytes())
    return b""


def digest(content: bytes) -> bytes:
    """What a file's content is known by."""
    return hashlib.blake2b(content, digest_size=16).digest()
