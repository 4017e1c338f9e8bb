"""Blobs by digest: in a folder, or in S3, Google Cloud Storage or Azure Blob Storage.

A blob's name is the SHA-256 of its bytes. A blob is there whole or not at all, and putting one that
is there changes nothing.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from roadworthy.buckets import open_bucket
from roadworthy.bundle.container import CHUNK
from roadworthy.errors import CheckFailed, OutsideError


class Blob(NamedTuple):
    """A blob that is in a store: its digest, its size and when it was put."""

    digest: str
    size: int
    put: datetime.datetime


class BlobStore(Protocol):
    """Where blobs are. Everything raises OutsideError when the store is out of reach or full."""

    shown: str

    def size(self, digest: str) -> int | None:
        """The size of a blob, None when it is not there."""
        ...

    def put(self, digest: str, source: IO[bytes]) -> None:
        """Store a blob, read from its start, in pieces."""
        ...

    def get(self, digest: str, target: IO[bytes]) -> None:
        """Write a blob to `target`, in pieces; CheckFailed when it is not there."""
        ...

    def delete(self, digest: str) -> None:
        """Remove a blob; nothing when it is not there."""
        ...

    def blobs(self) -> Iterator[Blob]:
        """Every blob."""
        ...


class FolderStore:
    """Blobs in a folder: `FOLDER/ab/abcdef…`, written beside their place and moved there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = str(folder)

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def size(self, digest: str) -> int | None:
        """The size of a blob, None when it is not there."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error) from None

    def put(self, digest: str, source: IO[bytes]) -> None:
        """Store a blob; what a killed process left behind is removed by `blobs`."""
        path = self._path(digest)
        source.seek(0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_DRAFT, delete=False) as draft:
                try:
                    while part := source.read(CHUNK):
                        draft.write(part)
                    draft.flush()
                    os.fsync(draft.fileno())
                    Path(draft.name).chmod(0o644)
                    Path(draft.name).replace(path)
                    _sync_folder(path.parent)
                finally:
                    Path(draft.name).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def get(self, digest: str, target: IO[bytes]) -> None:
        """Write a blob to `target`."""
        try:
            with self._path(digest).open("rb") as source:
                while part := source.read(CHUNK):
                    target.write(part)
        except FileNotFoundError:
            raise _missing(digest, self.shown) from None
        except OSError as error:
            raise self._refused(error) from None

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def blobs(self) -> Iterator[Blob]:
        """Every blob; drafts older than a day, which nobody finishes any more, are removed."""
        for path in sorted(self.folder.glob("??/*")):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process was faster
            put = datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC)
            if not path.name.startswith(_DRAFT):
                yield Blob(path.name, status.st_size, put)
            elif datetime.datetime.now(datetime.UTC) - put > datetime.timedelta(days=1):
                path.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> OutsideError:
        return OutsideError(
            f"the store cannot be used: {error.strerror or error}",
            where=self.shown,
            fix="check the disk and the rights, then run the same again",
        )


class ObjectStore:
    """Blobs in a bucket; credentials come from each cloud's own environment and files.

    TLS is asked for; plain HTTP is taken for an emulator on this machine only.

    Args:
        url: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
    """

    def __init__(self, url: str) -> None:
        import obstore

        self.shown = url
        self._obstore: Any = obstore
        self._store = connect(url)

    def size(self, digest: str) -> int | None:
        """The size of a blob, None when it is not there."""
        try:
            return int(self._obstore.head(self._store, digest)["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._refused(error) from None

    def put(self, digest: str, source: IO[bytes]) -> None:
        """Store a blob: large ones in parts, seen by nobody before the last one."""
        source.seek(0)
        try:
            self._obstore.put(self._store, digest, source, chunk_size=8 << 20, max_concurrency=2)
        except Exception as error:
            raise self._refused(error) from None

    def get(self, digest: str, target: IO[bytes]) -> None:
        """Write a blob to `target`."""
        try:
            for part in self._obstore.get(self._store, digest).stream(min_chunk_size=CHUNK):
                target.write(part)
        except FileNotFoundError:
            raise _missing(digest, self.shown) from None
        except OSError:
            raise
        except Exception as error:
            raise self._refused(error) from None

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        try:
            self._obstore.delete(self._store, digest)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._refused(error) from None

    def blobs(self) -> Iterator[Blob]:
        """Every blob."""
        try:
            for page in self._obstore.list(self._store):
                for each in page:
                    yield Blob(each["path"], int(each["size"]), each["last_modified"])
        except Exception as error:
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> OutsideError:
        return refused(self.shown, error)


def connect(url: str) -> Any:
    """The client of a bucket and prefix: `s3://`, `gs://` or `az://`.

    Raises:
        OutsideError: A setting of the environment is missing or wrong.
    """
    try:
        return open_bucket(url)
    except Exception as error:  # obstore raises a class of its own for each setting
        raise refused(url, error) from None


def refused(shown: str, error: Exception) -> OutsideError:
    """What a user is told of an error of obstore's."""
    kind = type(error).__name__
    return OutsideError(
        f"the store cannot be used: {kind}: {_first_words(error)}",
        where=shown,
        fix="check the bucket, the network and the credentials, then run the same again",
    )


def open_store(place: str) -> BlobStore:
    """The store of an address: a folder, or a bucket."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return FolderStore(Path(place).expanduser())
    return FolderStore(Path(rest)) if scheme == "file" else ObjectStore(place)


_DRAFT = ".draft-"


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _missing(digest: str, shown: str) -> CheckFailed:
    return CheckFailed(
        f"blob {digest[:12]} is registered and not in the store",
        where=shown,
        fix="register the bundle again from where it was made: that puts it back",
    )


def _first_words(error: Exception) -> str:
    """The beginning of a library's message: enough to act on, no answer bodies or headers."""
    return (str(error).splitlines() or [""])[0][:160]
