"""Where files lie: folders of this machine, and buckets of S3, Google and Azure."""

from __future__ import annotations

import glob
import io
import os
import re
import tempfile
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

import msgspec

from roadworthy.errors import InputError, OutsideError
from roadworthy.registry.stores import connect, refused
from roadworthy.table.file_names import named, shown_name

DRAFT = ".draft-"
_SCHEMES = ("s3", "gs", "az")
_WILD = re.compile(r"[*?\[]")
_TABLES = re.compile(r"\.(parquet|pq|((csv|tsv|txt)(\.(gz|bz2|xz))?))$", re.IGNORECASE)
_READ_AHEAD = 1 << 20


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file to score, as it was when it was found.

    Attributes:
        path: Its path or address.
        size: Bytes; of a database's table rows.
        stamp: What changes when its content does: an ETag, the time of its last change, or what
            a table holds.
        copy: Where it lies on this machine, when that is a copy of a database's table.
    """

    path: str
    size: int
    stamp: str
    copy: str = ""

    @property
    def original(self) -> Input:
        """It, wherever it was copied to."""
        return msgspec.structs.replace(self, copy="")


def is_remote(path: str) -> bool:
    """Whether an address names a bucket.

    Raises:
        InputError: It is of a kind that is not known.
    """
    scheme, separator, _ = path.partition("://")
    if separator and scheme not in (*_SCHEMES, "file"):
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise InputError(f"unknown address {scheme}://", where=path, fix=f"use {known} or a path")
    return bool(separator) and scheme != "file"


def find_inputs(patterns: list[str]) -> list[Input]:
    """The files of paths, globs, folders and addresses, each once, in the order of their names.

    Raises:
        InputError: A pattern finds nothing.
        OutsideError: A bucket is out of reach.
    """
    found: dict[str, Input] = {}
    for pattern in patterns:
        inputs = _in_bucket(pattern) if is_remote(pattern) else _in_folder(_local(pattern))
        if not inputs:
            raise InputError("no file is found", where=pattern, fix="check the path or the pattern")
        found |= {each.path: each for each in inputs}
    return [found[path] for path in sorted(found)]


def _local(path: str) -> str:
    return path.removeprefix("file://")


def _in_folder(pattern: str) -> list[Input]:
    path = Path(pattern)
    try:
        if path.is_dir():
            paths = [each for each in path.rglob("*") if _is_table(str(each.relative_to(path)))]
        elif path.exists() or not _WILD.search(pattern):
            paths = [path]
        else:
            paths = [Path(name) for name in glob.glob(pattern, recursive=True)]
        return [_stat(each) for each in paths if not each.is_dir()]
    except FileNotFoundError as error:
        raise InputError("the file does not exist", where=str(error.filename)) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=pattern) from None


def _is_table(name: str) -> bool:
    """Whether a file in a folder is one to score: its name says a table, and hides nothing."""
    hidden = any(part[0] in "._" for part in Path(name).parts)
    return not hidden and _TABLES.search(name) is not None


def _stat(path: Path) -> Input:
    found = path.stat()
    return Input(shown_name(path), found.st_size, str(found.st_mtime_ns))


def _in_bucket(pattern: str) -> list[Input]:
    bucket, key = _split(pattern)
    import obstore

    library: Any = obstore
    store = connect(bucket)
    wild = _WILD.search(key)
    prefix = key[: wild.start()].rpartition("/")[0] if wild else key.rstrip("/")
    matches = _pattern(key).fullmatch if wild else None
    try:
        if not wild and not key.endswith("/") and key:
            try:
                return [_head(bucket, library.head(store, key))]
            except FileNotFoundError:
                pass  # a prefix, written without its stroke
        pages = library.list(store, prefix=prefix or None)
        entries = [entry for page in pages for entry in page]
    except Exception as error:  # obstore raises classes of its own
        raise refused(pattern, error) from None
    if matches:
        return [_head(bucket, entry) for entry in entries if matches(entry["path"])]
    below = len(prefix) + 1 if prefix else 0
    return [_head(bucket, entry) for entry in entries if _is_table(entry["path"][below:])]


def _head(bucket: str, entry: dict[str, Any]) -> Input:
    stamp = entry.get("e_tag") or str(entry["last_modified"])
    return Input(f"{bucket}/{entry['path']}", int(entry["size"]), str(stamp))


def _split(address: str) -> tuple[str, str]:
    parts = urlsplit(address, allow_fragments=False)
    return f"{parts.scheme}://{parts.netloc}", address.split("://", 1)[1].partition("/")[2]


def _pattern(key: str) -> re.Pattern[str]:
    """A glob as an expression: `*` and `?` within one step of the path, `**` through many."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", key)
    made = [words.get(p) or (p if re.fullmatch(r"\[[^\]]+\]", p) else re.escape(p)) for p in parts]
    return re.compile("".join(made))


def open_input(wanted: Input) -> IO[bytes]:
    """A file to read anywhere in it; what is read of a bucket are the asked ranges alone.

    Raises:
        InputError: The file is gone, or is another than it was.
        OutsideError: The bucket is out of reach.
    """
    if wanted.copy:
        return Path(wanted.copy).open("rb")
    if is_remote(wanted.path):
        bucket, key = _split(wanted.path)
        source = _Ranges(connect(bucket), key, wanted)
        return io.BufferedReader(source, _READ_AHEAD)
    try:
        path = named(wanted.path)
        _check_same(_stat(path), wanted)
        return path.open("rb")
    except FileNotFoundError:
        raise InputError("the file is gone", where=wanted.path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=wanted.path) from None


def _check_same(found: Input, wanted: Input) -> None:
    if (found.size, found.stamp) != (wanted.size, wanted.stamp):
        raise InputError(
            "the file was changed while it was scored",
            where=wanted.path,
            fix="run again with --overwrite when it has come to rest",
        )


class _Ranges(io.RawIOBase):
    """An object of a bucket as a file."""

    def __init__(self, store: Any, key: str, wanted: Input) -> None:
        import obstore

        self._obstore: Any = obstore
        self._store, self._key, self._wanted, self._at = store, key, wanted, 0
        try:
            found = self._obstore.head(store, key)
        except FileNotFoundError:
            raise InputError("the file is gone", where=wanted.path) from None
        except Exception as error:
            raise refused(wanted.path, error) from None
        _check_same(_head(_split(wanted.path)[0], found), wanted)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._wanted.size}
        self._at = max(0, starts[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._wanted.size)
        if end <= self._at:
            return 0
        try:
            content = self._obstore.get_range(self._store, self._key, start=self._at, end=end)
        except Exception as error:
            raise refused(self._wanted.path, error) from None
        count = len(content)
        buffer[:count] = memoryview(content)
        self._at += count
        return count


class Place(Protocol):
    """Where results go. A file is there whole or not at all; OutsideError when none can be."""

    shown: str

    def read(self, name: str) -> bytes | None:
        """A file's content; None when it is not there."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Put a file in place of what is there."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; nothing when it is not there."""
        ...

    def sizes(self) -> dict[str, int]:
        """The size of every file by name, those in folders below too."""
        ...


def open_place(address: str) -> Place:
    """The place of an address: a folder, which need not be there yet, or a bucket's prefix."""
    return Bucket(address) if is_remote(address) else Folder(named(_local(address)))


class Folder:
    """A folder of this machine, or of a file system that all workers share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = shown_name(folder)

    def read(self, name: str) -> bytes | None:
        """A file's content; None when it is not there."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from None

    def write(self, name: str, content: bytes) -> None:
        """Write beside the place, force to disk, and move."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=DRAFT, delete=False) as draft:
                try:
                    draft.write(content)
                    draft.flush()
                    os.fsync(draft.fileno())
                    Path(draft.name).chmod(0o644)
                    Path(draft.name).replace(path)
                finally:
                    Path(draft.name).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def delete(self, name: str) -> None:
        """Remove a file, and its folder when that is left empty."""
        path = self.folder / name
        try:
            path.unlink(missing_ok=True)
            if path.parent != self.folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._refused(error) from None

    def sizes(self) -> dict[str, int]:
        """The size of every file by name."""
        try:
            if self.folder.exists() and not self.folder.is_dir():
                raise InputError("a file, not a folder", where=self.shown)
            return {
                path.relative_to(self.folder).as_posix(): path.stat().st_size
                for path in self.folder.rglob("*")
                if path.is_file()
            }
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> OutsideError:
        return OutsideError(
            f"the folder cannot be used: {error.strerror or error}",
            where=self.shown,
            fix="check the disk and the rights, then run the same again: it goes on from there",
        )


class Bucket:
    """A prefix of a bucket; an object is seen by nobody before all of it is there."""

    def __init__(self, address: str) -> None:
        import obstore

        self.shown = address.rstrip("/")
        self._obstore: Any = obstore
        self._store = connect(self.shown)

    def read(self, name: str) -> bytes | None:
        """An object's content; None when it is not there."""
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise refused(self.shown, error) from None

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        try:
            self._obstore.put(self._store, name, content)
        except Exception as error:
            raise refused(self.shown, error) from None

    def delete(self, name: str) -> None:
        """Remove an object."""
        try:
            self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except Exception as error:
            raise refused(self.shown, error) from None

    def sizes(self) -> dict[str, int]:
        """The size of every object by name."""
        try:
            pages = self._obstore.list(self._store)
            return {entry["path"]: int(entry["size"]) for page in pages for entry in page}
        except Exception as error:
            raise refused(self.shown, error) from None
