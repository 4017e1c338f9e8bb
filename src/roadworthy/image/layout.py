"""OCI image layouts: read a base, lay files over it, write the result; no engine, no root.

Specification: https://github.com/opencontainers/image-spec (1.1). Layers are tar files with sorted
names, one time and no owner's name, compressed by zlib without a time: same input, same digests on
machines with the same zlib, and the same uncompressed digests everywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from roadworthy.errors import InputError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"
_LEVEL = 6
_CHUNK = 1 << 20


class Blob(NamedTuple):
    """Something in a layout.

    Attributes:
        digest: `sha256:…` of its bytes.
        size: How many there are.
    """

    digest: str
    size: int

    def describe(self, media: str) -> dict[str, Any]:
        """Its descriptor."""
        return {"mediaType": media, "digest": self.digest, "size": self.size}


class Base(NamedTuple):
    """A base image.

    Attributes:
        config: Its configuration.
        layers: Descriptors of its layers, lowest first.
    """

    config: dict[str, Any]
    layers: list[dict[str, Any]]


class Layout:
    """An OCI layout that is being made.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def put(self, content: bytes) -> Blob:
        """Keep some bytes."""
        found = hashlib.sha256(content).hexdigest()
        (self.blobs / found).write_bytes(content)
        return Blob(f"sha256:{found}", len(content))

    def put_json(self, content: Any) -> Blob:
        """Keep a document."""
        return self.put(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())

    def take(self, source: Path) -> Blob:
        """Keep a file's bytes."""
        digest, draft = hashlib.sha256(), self.blobs / ".draft"
        with source.open("rb") as given, draft.open("wb") as kept:
            while part := given.read(_CHUNK):
                digest.update(part)
                kept.write(part)
        size = draft.stat().st_size
        draft.replace(self.blobs / digest.hexdigest())
        return Blob(f"sha256:{digest.hexdigest()}", size)

    def add_layer(self, tree: Path, target: str, epoch: int) -> tuple[Blob, str, int]:
        """Make a layer of a folder.

        Returns:
            The layer, the digest of its tar file, and how many bytes that has.
        """
        draft = self.blobs / ".layer"
        with draft.open("wb") as file:
            writer = _Squeezer(file)
            with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                for entry, source in _entries(tree, target, epoch):
                    if source is None:
                        archive.addfile(entry)
                        continue
                    with source.open("rb") as content:
                        archive.addfile(entry, content)
            writer.close()
        blob = self.take(draft)
        draft.unlink(missing_ok=True)
        return blob, f"sha256:{writer.digest.hexdigest()}", writer.size

    def squeeze(self, given: io.BufferedIOBase) -> tuple[Blob, str]:
        """Keep a plain tar file, compressed; returns it and the digest that it had before."""
        draft = self.blobs / ".layer"
        with draft.open("wb") as file:
            writer = _Squeezer(file)
            while part := given.read(_CHUNK):
                writer.write(part)
            writer.close()
        blob = self.take(draft)
        draft.unlink()
        return blob, f"sha256:{writer.digest.hexdigest()}"

    def finish(self, manifest: Blob, tag: str) -> None:
        """Name the image, which makes the layout whole."""
        entry = manifest.describe(MANIFEST) | {
            "annotations": {"org.opencontainers.image.ref.name": tag}
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True, indent=2))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def read_manifest(folder: Path) -> tuple[str, dict[str, Any]]:
    """Digest and content of the one image of a layout; raises InputError."""
    try:
        index = json.loads((folder / "index.json").read_bytes())
        digest = for_this_machine(index["manifests"])["digest"]
        content = json.loads(blob_path(folder, digest).read_bytes())
        if content.get("mediaType") == INDEX or "manifests" in content:
            digest = for_this_machine(content["manifests"])["digest"]
            content = json.loads(blob_path(folder, digest).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("this is no OCI layout of one image", where=str(folder)) from None
    return digest, content


def blob_path(folder: Path, digest: str) -> Path:
    """Where a layout keeps a blob; raises InputError for what is no digest."""
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
        raise InputError(f"{digest[:80]!r} is no SHA-256 digest", where=str(folder))
    return folder / "blobs" / kind / value


def take_base(source: Path, layout: Layout) -> Base:
    """Copy a base image into a layout.

    Args:
        source: A layout's folder, or a tar file of `docker save`, of an OCI layout, or of a root
            file system.
        layout: Where it goes.

    Raises:
        InputError: It is none of these, or damaged.
    """
    if source.is_dir():
        return _from_layout(source, layout)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(source) as archive:
                names = set(archive.getnames())
                if not names & {"manifest.json", "index.json", "./index.json"}:
                    return _from_root(source, layout)
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"the base cannot be read: {error}", where=str(source)) from None
        if Path(folder, "index.json").exists():
            return _from_layout(Path(folder), layout)
        return _from_saved(Path(folder), layout, source)


def _from_layout(folder: Path, layout: Layout) -> Base:
    _, manifest = read_manifest(folder)
    try:
        for entry in [*manifest["layers"], manifest["config"]]:
            if layout.take(blob_path(folder, entry["digest"])).digest != entry["digest"]:
                raise InputError("a layer of the base is damaged", where=entry["digest"])
        config = json.loads(blob_path(folder, manifest["config"]["digest"]).read_bytes())
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"the base is not whole: {error}", where=str(folder)) from None
    layers = [
        entry | {"mediaType": str(entry["mediaType"]).replace(
            "application/vnd.docker.image.rootfs.diff.tar.gzip", LAYER)}
        for entry in manifest["layers"]
    ]  # fmt: skip
    return Base(config, layers)


def _from_saved(folder: Path, layout: Layout, source: Path) -> Base:
    """What `docker save` wrote: layers are plain tar files."""
    try:
        (saved,) = json.loads((folder / "manifest.json").read_bytes())
        config = json.loads((folder / saved["Config"]).read_bytes())
        layers = []
        for name in saved["Layers"]:
            with (folder / name).open("rb") as given:
                layers.append(layout.squeeze(given)[0].describe(LAYER))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError("the archive holds no single image", where=str(source)) from None
    return Base(config, layers)


def _from_root(source: Path, layout: Layout) -> Base:
    with gzip.open(source) if _is_gzip(source) else source.open("rb") as given:
        blob, digest = layout.squeeze(given)
    config = {
        "architecture": _machine(),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    return Base(config, [blob.describe(LAYER)])


def _is_gzip(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def for_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The image for this machine among those of an index; raises InputError."""
    machine = _machine()
    for entry in manifests:
        if (entry.get("platform") or {}).get("architecture", machine) == machine:
            return entry
    raise InputError(f"the image has no part for this machine ({machine})")


def _machine() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _entries(tree: Path, target: str, epoch: int) -> Iterator[tuple[tarfile.TarInfo, Path | None]]:
    """What a layer holds, parents first, in the order of the names."""
    prefix = target.strip("/")
    parts = prefix.split("/") if prefix else []
    for count in range(1, len(parts) + 1):
        yield _entry("/".join(parts[:count]), epoch, directory=True), None
    for path in sorted(tree.rglob("*")):
        name = "/".join(filter(None, [prefix, path.relative_to(tree).as_posix()]))
        if path.is_symlink():
            entry = _entry(name, epoch)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
            yield entry, None
        elif path.is_dir():
            yield _entry(name, epoch, directory=True), None
        else:
            about = path.stat()
            entry = _entry(name, epoch)
            entry.size = about.st_size
            entry.mode = 0o755 if about.st_mode & 0o100 else 0o644
            yield entry, path


def _entry(name: str, epoch: int, *, directory: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mtime = epoch
    entry.mode = 0o755 if directory else 0o644
    entry.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    return entry


class _Squeezer:
    """Compresses what is written, and digests it before that."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._gzip = gzip.GzipFile("", "wb", _LEVEL, file, mtime=0)

    def write(self, part: bytes) -> int:
        self.digest.update(part)
        self.size += len(part)
        return self._gzip.write(part)

    def close(self) -> None:
        self._gzip.close()
