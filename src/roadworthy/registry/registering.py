"""Register a bundle: pack, verify, store, and then, in one transaction, know it."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from roadworthy.bundle.container import CHUNK, Archive, open_container, pack
from roadworthy.bundle.manifest import Manifest, read_signature, verify_container
from roadworthy.bundle.sealing import seal
from roadworthy.bundle.signature import signer_hint
from roadworthy.errors import CheckFailed, OutsideError
from roadworthy.registry import ledger
from roadworthy.registry.leases import held
from roadworthy.registry.references import CHAMPION, Reference
from roadworthy.registry.registry import Registry, Version, find_version, read_versions, set_tags
from roadworthy.registry.schema import versions


def register(
    registry: Registry,
    path: Path,
    *,
    tags: dict[str, str] | None = None,
    parent: Reference | None = None,
    verdict: str = "",
) -> tuple[Version, bool]:
    """Take a bundle into the registry.

    The blob goes in first and counts for nothing until the catalogue's one transaction; a process
    that is killed anywhere leaves at most a blob that `collect` takes away. Registering what is
    registered changes nothing, except that a signature takes the place of none and a lost blob is
    put back.

    Args:
        registry: The registry.
        path: The bundle: folder, `.rwb` or sealed.
        tags: Tags to give it.
        parent: The version it follows; None: the champion.
        verdict: What the gates said.

    Returns:
        The version, and whether it is new.

    Raises:
        InputError: It is no bundle, or the parent is none.
        CheckFailed: It is damaged or not signed by a trusted key.
        OutsideError: The catalogue or the store is out of reach or full.
    """
    try:
        with contextlib.ExitStack() as stack:
            blob = stack.enter_context(tempfile.TemporaryFile(prefix="roadworthy-"))
            with open_container(path) as container:
                pack(container, blob, str(path))
            archive = Archive(_rewound(blob), str(path))
            manifest, contents = verify_container(
                archive, str(path), trusted_keys=registry.trusted_keys, keep={"report.json"}
            )
            signature = read_signature(archive, str(path))
            values = _values(manifest, contents, signer_hint(signature) if signature else None)
            if registry.recipients:
                sealed = stack.enter_context(tempfile.TemporaryFile(prefix="roadworthy-"))
                seal(_rewound(blob), sealed, registry.recipients)
                blob = sealed
            return _store(registry, blob, values, tags or {}, parent, verdict)
    except OSError as error:
        raise OutsideError(
            f"the bundle cannot be packed: {error.strerror or error}",
            where=tempfile.gettempdir(),
            fix="make room, or set TMPDIR to a folder that has some",
        ) from None


def _store(
    registry: Registry,
    blob: IO[bytes],
    values: dict[str, Any],
    tags: dict[str, str],
    parent: Reference | None,
    verdict: str,
) -> tuple[Version, bool]:
    """Put the blob, unless what is registered already is all there and as well signed."""
    digest, size = _digest(blob)
    values |= {"blob": digest, "size": size, "sealed": int(bool(registry.recipients))}

    def note(connection: Connection, operation: str) -> tuple[Version, bool]:
        return _note(connection, operation, values, tags, parent, verdict, restore=lost)

    known = registry.catalogue.read(lambda connection: _known(connection, values))
    lost = known is not None and registry.store.size(known.blob) != known.size
    if known is not None and not lost and values["signer"] in (None, known.signer):
        with held(registry.catalogue, known.blob):
            values |= {"blob": known.blob, "signer": known.signer}
            return registry.change(note)
    if lost and known is not None and known.signer and not values["signer"]:
        raise CheckFailed(
            "the stored blob is lost; it was signed, and this bundle is not",
            where=known.short,
            fix="register the signed bundle",
        )
    with held(registry.catalogue, digest):
        if registry.store.size(digest) != size:
            registry.store.put(digest, _rewound(blob))
        return registry.change(note)


def _note(
    connection: Connection,
    operation: str,
    values: dict[str, Any],
    tags: dict[str, str],
    parent: Reference | None,
    verdict: str,
    *,
    restore: bool,
) -> tuple[Version, bool]:
    """The one transaction."""
    name, version = values["model"], values["version"]
    known = _known(connection, values)
    action = ""
    if known is None:
        action = "register"
        row = {**values, "registered": ledger.now(), "parent": _parent(connection, name, parent)}
        connection.execute(insert(versions).values(**row))
    elif known.blob != values["blob"] and (restore or values["signer"] not in (None, known.signer)):
        action = "restore" if known.signer == values["signer"] else "sign"
        connection.execute(
            update(versions)
            .where(versions.c.model == name, versions.c.version == version)
            .values({key: values[key] for key in ("blob", "size", "sealed", "signer")})
        )
    if action:
        details = {key: values[key] for key in ("blob", "signer", "data", "code")}
        ledger.append(
            connection, action, name, version,
            operation=operation, verdict=verdict, details=details,
        )  # fmt: skip
    if tags:
        set_tags(connection, name, version, {**(known.tags if known else {}), **tags})
    return find_version(connection, Reference(name, version)), known is None


def _known(connection: Connection, values: dict[str, Any]) -> Version | None:
    here = versions.c.model == values["model"], versions.c.version == values["version"]
    if connection.execute(select(versions.c.version).where(*here)).first() is None:
        return None
    return find_version(connection, Reference(values["model"], values["version"]))


def _parent(connection: Connection, name: str, parent: Reference | None) -> str | None:
    if parent is not None:
        return find_version(connection, parent).version
    known = read_versions(connection, name)
    return next((each.version for each in known if CHAMPION in each.aliases), None)


def _values(manifest: Manifest, contents: dict[str, bytes], signer: str | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(contents["report.json"])["metrics"]
        metrics = {str(name): each["value"] for name, each in found.items()}
    except (KeyError, TypeError, AttributeError, msgspec.DecodeError):
        metrics = {}  # a bundle of another kind has no report of ours
    return {
        "model": manifest.name,
        "version": manifest.version,
        "task": manifest.task,
        "family": manifest.family,
        "metrics": msgspec.json.encode(metrics, order="sorted").decode(),
        "created": manifest.created,
        "data": manifest.lineage.get("data"),
        "code": manifest.lineage.get("commit"),
        "signer": signer,
    }


def _digest(blob: IO[bytes]) -> tuple[str, int]:
    state, size = hashlib.sha256(), 0
    _rewound(blob)
    while part := blob.read(CHUNK):
        state.update(part)
        size += len(part)
    return state.hexdigest(), size


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def parse_tags(words: Sequence[str]) -> dict[str, str]:
    """`name` and `name=value` words as tags."""
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        found[name] = value
    return found
