"""Where a bundle's files are: a folder, a `.rwb` archive, or a sealed archive.

A `.rwb` is a ZIP of plain files, stored without compression, sorted, with fixed times and modes:
the same files give the same bytes on every machine. A sealed one is opened into an unnamed
temporary file that is gone when it is closed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

from roadworthy.errors import CheckFailed, InputError, OutsideError

PACKED, SEALED = ".rwb", ".rwb.sealed"
CHUNK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAX_FILES = 1000
MAX_BYTES = 1 << 36
"""Bytes that the files of one bundle may have together: 64 GiB."""


class Container(Protocol):
    """Named files that can be read."""

    def sizes(self) -> dict[str, int]:
        """File name -> size in bytes.

        Raises:
            CheckFailed: Something in it is not a plain file.
        """
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open one file; raises OSError when it is no plain file (any more)."""
        ...


class Folder:
    """A bundle as a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sizes(self) -> dict[str, int]:
        """File name -> size in bytes; links and folders are refused."""
        found = {}
        for entry in self._entries():
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise CheckFailed(
                    f"{entry.name!r} is missing or not a plain file", where=str(self.path)
                )
            found[entry.name] = status.st_size
        return found

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            return list(os.scandir(self.path))
        except OSError as error:
            raise OutsideError(
                f"the bundle cannot be read: {error.strerror or error}", where=str(self.path)
            ) from None

    def open(self, name: str) -> IO[bytes]:
        """Open one file, never through a link."""
        return os.fdopen(os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW), "rb")


class Archive:
    """A bundle as one `.rwb` file.

    Args:
        file: The open archive.
        shown: Its name for messages.

    Raises:
        CheckFailed: It is not an archive of plain, uniquely named, reasonably large files.
    """

    def __init__(self, file: IO[bytes], shown: str) -> None:
        self._shown = shown
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # the reader of zip files raises many kinds on damaged ones
            if isinstance(error, MemoryError):
                raise
            raise CheckFailed("the archive is damaged", where=shown, fix=_AGAIN) from None
        entries = self._zip.infolist()
        if len(entries) > _MAX_FILES or sum(each.file_size for each in entries) > MAX_BYTES:
            raise CheckFailed("the archive holds too much for a bundle", where=shown)
        if len({each.filename for each in entries}) != len(entries):
            raise CheckFailed("the archive holds a name twice", where=shown, fix=_AGAIN)
        for entry in entries:
            self._check(entry)

    def _check(self, entry: zipfile.ZipInfo) -> None:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        plain = (
            is_plain_name(entry.filename)
            and entry.filename == entry.orig_filename
            and not entry.is_dir()
            and kind in (0, stat.S_IFREG)
            and not entry.flag_bits & 0x1
            and entry.compress_type == zipfile.ZIP_STORED
            and entry.compress_size == entry.file_size
        )
        if not plain:
            raise CheckFailed(
                f"{entry.filename!r} in the archive is not a plain file as bundles hold them",
                where=self._shown,
                fix="make the archive with roadworthy models export",
            )

    def sizes(self) -> dict[str, int]:
        """File name -> size in bytes."""
        return {entry.filename: entry.file_size for entry in self._zip.infolist()}

    def open(self, name: str) -> IO[bytes]:
        """Open one file."""
        try:
            return self._zip.open(name)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise CheckFailed("the archive is damaged", where=self._shown, fix=_AGAIN) from None


_AGAIN = "get it again from where it was made"


def is_plain_name(name: str) -> bool:
    """Whether a name is one plain file name: no folder, no drive, nothing hidden."""
    return (
        0 < len(name) <= 128
        and Path(name).name == name
        and not name.startswith(".")
        and not set(name) & set('\\/:*?"<>|')
        and name.isprintable()
    )


def is_sealed(file: IO[bytes]) -> bool:
    """Whether an open file begins as a sealed bundle; it is read from its start again."""
    from roadworthy.bundle.sealing import MAGIC

    start = file.read(len(MAGIC))
    file.seek(0)
    return start == MAGIC


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open a bundle wherever it is.

    Args:
        path: A folder, a `.rwb`, or a sealed `.rwb.sealed`. The keys that open a sealed one come
            from the environment (see `sealing`).

    Raises:
        InputError: There is no such bundle, or no key at hand opens it.
        CheckFailed: The archive or the seal is damaged.
        OutsideError: A disk is full or cannot be read.
    """
    if path.is_dir():
        yield Folder(path)
        return
    if not path.is_file():
        raise InputError(
            "this is not a bundle: there is no such folder or .rwb file",
            where=str(path),
            fix="name the folder that `roadworthy launch` printed",
        )
    with ExitStack() as stack:
        try:
            archive = Archive(_open_plain(path, stack), str(path))
        except OSError as error:
            raise OutsideError(
                f"the bundle cannot be read: {error.strerror or error}", where=str(path)
            ) from None
        yield archive


def _open_plain(path: Path, stack: ExitStack) -> IO[bytes]:
    """An archive's file; what was sealed is opened into a file without a name."""
    file = stack.enter_context(path.open("rb"))
    if not is_sealed(file):
        return file
    from roadworthy.bundle.sealing import unseal

    plain = stack.enter_context(tempfile.TemporaryFile(prefix="roadworthy-"))  # noqa: SIM115 (it closes it)
    unseal(file, plain, shown=str(path))
    plain.seek(0)
    return plain


def pack(container: Container, target: IO[bytes], shown: str) -> None:
    """Write a bundle's files as one archive; the same files give the same bytes.

    Args:
        container: The bundle.
        target: A file that can seek.
        shown: The bundle, for messages.

    Raises:
        CheckFailed: It holds something else than plain files.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, size in sorted(container.sizes().items()):
            if not is_plain_name(name):
                raise CheckFailed(f"{name!r} is not a name a bundle holds", where=shown)
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = size
            with container.open(name) as source, archive.open(entry, "w") as sink:
                try:
                    shutil.copyfileobj(source, sink, CHUNK)
                except (zipfile.BadZipFile, EOFError):
                    raise CheckFailed("the archive is damaged", where=shown, fix=_AGAIN) from None


def unpack(container: Container, folder: Path) -> None:
    """Write a container's files into an empty folder; raises CheckFailed for a damaged archive."""
    for name in container.sizes():
        with container.open(name) as source, (folder / name).open("xb") as sink:
            try:
                shutil.copyfileobj(source, sink, CHUNK)
            except (zipfile.BadZipFile, EOFError):
                raise CheckFailed("the archive is damaged", where=name, fix=_AGAIN) from None
            sink.flush()
            os.fsync(sink.fileno())
