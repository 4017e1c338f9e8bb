"""Garbage collection: what nothing and nobody holds."""

from __future__ import annotations

import datetime
import uuid

import msgspec
from sqlalchemy import Connection, delete, select

from roadworthy.registry import ledger
from roadworthy.registry.leases import held_blobs
from roadworthy.registry.registry import Registry, Version, read_versions
from roadworthy.registry.schema import tags, versions


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken away, or would be.

    Attributes:
        versions: `name:version` of each version.
        blobs: Blobs.
        size: Bytes of these blobs.
    """

    versions: tuple[str, ...]
    blobs: int
    size: int


def collect(
    registry: Registry, *, keep: int | None = None, grace_hours: float = 24.0, dry: bool = False
) -> Collected:
    """Take away old versions, when asked, and blobs that no version has.

    Never taken: what an alias stands for, what it would be rolled back to, what has a tag, what is
    deployed, what someone is uploading or downloading, the newest `keep` versions of each model.

    Args:
        registry: The registry.
        keep: Versions to keep of each model; None keeps all.
        grace_hours: Younger versions and blobs are left alone.
        dry: Only say what would be taken.
    """
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=grace_hours)
    gone: list[Version] = []
    if keep is not None:
        gone += [
            version
            for version in _candidates(registry, keep, before)
            if _take_version(registry, version, keep, before, dry)
        ]
    taken: dict[str, int] = {version.blob: version.size for version in gone}
    for blob in list(registry.store.blobs()):
        if blob.put <= before and blob.digest not in taken and _take_blob(
            registry, blob.digest, dry
        ):  # fmt: skip
            taken[blob.digest] = blob.size
    names = tuple(version.short for version in gone)
    return Collected(versions=names, blobs=len(taken), size=sum(taken.values()))


def _candidates(registry: Registry, keep: int, before: datetime.datetime) -> list[Version]:
    return registry.catalogue.read(lambda connection: _free(connection, keep, before))


def _free(connection: Connection, keep: int, before: datetime.datetime) -> list[Version]:
    """Versions that nothing holds, apart from leases."""
    known = read_versions(connection)
    entries = ledger.read(connection)
    fallback: set[tuple[str, str]] = set()
    for each in known:
        for alias in each.aliases:
            fallback.update(
                (each.model, back) for back in ledger.alias_stack(entries, each.model, alias)[-2:]
            )
    moment = before.isoformat(timespec="microseconds")
    seen: dict[str, int] = {}
    free = []
    for each in known:  # the newest of each model first
        seen[each.model] = seen.get(each.model, 0) + 1
        named = each.aliases or each.tags or each.targets
        held = named or (each.model, each.version) in fallback
        if seen[each.model] > keep and not held and each.registered <= moment:
            free.append(each)
    return free


def _take_version(
    registry: Registry, version: Version, keep: int, before: datetime.datetime, dry: bool
) -> bool:
    """Delete one version and its blob, looking again in the same turn as a writer."""

    def work(connection: Connection) -> bool:
        free = {(each.model, each.version) for each in _free(connection, keep, before)}
        if (version.model, version.version) not in free or version.blob in held_blobs(connection):
            return False
        if dry:
            return True
        for table in (tags, versions):
            connection.execute(
                delete(table).where(
                    table.c.model == version.model, table.c.version == version.version
                )
            )
        ledger.append(
            connection, "delete", version.model, version.version, operation=uuid.uuid4().hex
        )
        return True

    if not registry.catalogue.write(work):
        return False
    if not dry:  # the version is gone for good before its blob is
        _take_blob(registry, version.blob, dry)
    return True


def _take_blob(registry: Registry, digest: str, dry: bool) -> bool:
    """Delete one blob that no version has and nobody holds; no lease can be taken meanwhile."""

    def work(connection: Connection) -> bool:
        used = connection.execute(select(versions.c.blob).where(versions.c.blob == digest)).first()
        if used is not None or digest in held_blobs(connection):
            return False
        if not dry:
            registry.store.delete(digest)
        return True

    return registry.catalogue.write(work)
