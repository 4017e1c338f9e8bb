"""The registry: what is known of every version, and the few changes there are."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from roadworthy.errors import CheckFailed, InputError
from roadworthy.registry import ledger
from roadworthy.registry.catalogue import Catalogue
from roadworthy.registry.heads import read_heads, record_head
from roadworthy.registry.ledger import Entry
from roadworthy.registry.references import CHAMPION, Reference, check_alias
from roadworthy.registry.schema import aliases, deployments, tags, versions
from roadworthy.registry.schema import ledger as ledger_table
from roadworthy.registry.stores import BlobStore

T = TypeVar("T")


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model, as the catalogue knows it.

    Attributes:
        model: The model's name.
        version: The bundle's content digest.
        blob: SHA-256 of the stored archive.
        size: Its bytes.
        sealed: Whether it is encrypted.
        task: The task.
        family: The model's family.
        metrics: Metric -> value on the holdout.
        created: When the bundle was made.
        registered: When it was registered.
        data: SHA-256 of the table it was trained on, when it is known.
        code: Commit of the code, when it is known.
        parent: The version it follows: the champion when it was registered, unless said otherwise.
        signer: Fingerprint that its signature names; None for an unsigned one.
        aliases: What it is called now.
        tags: Tag -> value.
        targets: Where it is deployed.
    """

    model: str
    version: str
    blob: str
    size: int
    sealed: bool
    task: str
    family: str
    metrics: dict[str, float | None]
    created: str
    registered: str
    data: str | None
    code: str | None
    parent: str | None
    signer: str | None
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    targets: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """`name:` and the first twelve digits of the version."""
        return f"{self.model}:{self.version[:12]}"


class Registry:
    """A catalogue with its blobs; see `open_registry`.

    Args:
        catalogue: The catalogue.
        store: The blobs.
        cache: Folder for fetched versions and for the heads of ledgers.
        trusted_keys: Keys, one of which must have signed what comes in and goes out.
        recipients: For whom blobs are sealed; nobody: they are not.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: BlobStore,
        cache: Path,
        trusted_keys: Sequence[str] = (),
        recipients: Sequence[str] = (),
    ) -> None:
        self.catalogue = catalogue
        self.store = store
        self.cache = cache
        self.trusted_keys = trusted_keys
        self.recipients = recipients

    def versions(self, model: str | None = None) -> list[Version]:
        """Every version, of one model or of all, by name, the newest first."""
        return self.catalogue.read(lambda connection: read_versions(connection, model))

    def find(self, reference: Reference) -> Version:
        """The one version that a reference names.

        Raises:
            InputError: None, or more than one.
        """
        return self.catalogue.read(lambda connection: find_version(connection, reference))

    def promote(self, reference: Reference, alias: str = CHAMPION, verdict: str = "") -> Version:
        """Let an alias stand for a version; nothing when it does already."""
        check_alias(alias)

        def work(connection: Connection, operation: str) -> Version:
            found = find_version(connection, reference)
            if alias in found.aliases:
                return found
            _set_alias(connection, found.model, alias, found.version)
            ledger.append(
                connection, "promote", found.model, found.version,
                operation=operation, place=alias, verdict=verdict,
            )  # fmt: skip
            return find_version(connection, Reference(found.model, found.version))

        return self.change(work)

    def roll_back(self, model: str, alias: str = CHAMPION) -> tuple[Version, Version]:
        """Let an alias stand for what it stood for before.

        Returns:
            The version it stood for and the one it stands for now.

        Raises:
            InputError: There is no such alias or nothing before it.
        """

        def work(connection: Connection, operation: str) -> tuple[Version, Version]:
            old = find_version(connection, Reference(model, alias=alias))
            stack = ledger.alias_stack(ledger.read(connection, model), model, alias)
            if len(stack) < 2:
                raise InputError(
                    f"{model}@{alias} stood for nothing before {old.short}",
                    fix="promote the version you want",
                )
            new = find_version(connection, Reference(model, stack[-2]))
            _set_alias(connection, model, alias, new.version)
            ledger.append(
                connection, "rollback", model, new.version,
                operation=operation, place=alias, details={"from": old.version},
            )  # fmt: skip
            return old, find_version(connection, Reference(model, new.version))

        return self.change(work)

    def remove_alias(self, model: str, alias: str) -> Version:
        """Take an alias away; the version that had it."""

        def work(connection: Connection, operation: str) -> Version:
            found = find_version(connection, Reference(model, alias=alias))
            connection.execute(
                delete(aliases).where(aliases.c.model == model, aliases.c.alias == alias)
            )
            ledger.append(
                connection, "remove", model, found.version, operation=operation, place=alias
            )
            return found

        return self.change(work)

    def tag(self, reference: Reference, add: dict[str, str], remove: Sequence[str] = ()) -> Version:
        """Set and take away tags of a version."""

        def work(connection: Connection, operation: str) -> Version:
            found = find_version(connection, reference)
            wanted = {**found.tags, **add}
            for name in remove:
                wanted.pop(name, None)
            if wanted != found.tags:
                set_tags(connection, found.model, found.version, wanted)
                ledger.append(
                    connection, "tag", found.model, found.version,
                    operation=operation, details={"tags": wanted},
                )  # fmt: skip
            return find_version(connection, Reference(found.model, found.version))

        return self.change(work)

    def record_deployment(self, reference: Reference, target: str, verdict: str = "") -> Version:
        """Write down that a version was put to a target; it is then kept while it is there."""

        def work(connection: Connection, operation: str) -> Version:
            found = find_version(connection, reference)
            here = deployments.c.target == target, deployments.c.model == found.model
            connection.execute(delete(deployments).where(*here))
            connection.execute(
                insert(deployments).values(
                    target=target, model=found.model, version=found.version, at=ledger.now()
                )
            )
            ledger.append(
                connection, "deploy", found.model, found.version,
                operation=operation, place=target, verdict=verdict,
            )  # fmt: skip
            return find_version(connection, Reference(found.model, found.version))

        return self.change(work)

    def retire(self, model: str, target: str) -> None:
        """Write down that a target no longer runs a model."""

        def work(connection: Connection, operation: str) -> None:
            here = deployments.c.target == target, deployments.c.model == model
            row = connection.execute(select(deployments).where(*here)).first()
            if row is None:
                raise InputError(f"no deployment of {model!r} is on record", where=target)
            connection.execute(delete(deployments).where(*here))
            ledger.append(
                connection, "retire", model, row.version, operation=operation, place=target
            )

        self.change(work)

    def history(self, model: str | None = None) -> list[Entry]:
        """The ledger, of one model or whole."""
        return self.catalogue.read(lambda connection: ledger.read(connection, model))

    def check_history(self, head: tuple[int, str] | None = None) -> list[Entry]:
        """Verify the ledger, and that the catalogue says what the ledger says.

        Args:
            head: Number and digest of an entry that was written down elsewhere.

        Returns:
            All entries.

        Raises:
            CheckFailed: Something was tampered with.
        """

        def work(connection: Connection) -> list[Entry]:
            entries = ledger.read(connection)
            heads = read_heads(self.cache, self.catalogue.shown)
            ledger.check_chain(entries, [*heads, *([head] if head else [])])
            _check_replay(connection, entries)
            return entries

        entries = self.catalogue.read(work)
        if entries:
            record_head(self.cache, self.catalogue.shown, entries[-1].number, entries[-1].digest)
        return entries

    def change(self, work: Callable[[Connection, str], T]) -> T:
        """One change under one operation id, so that a lost connection never doubles it."""
        operation = uuid.uuid4().hex
        before: list[T] = []

        def once(connection: Connection) -> T:
            if before and ledger.done(connection, operation):
                return before[0]  # committed, and the answer was lost on the way
            answer = work(connection, operation)
            before[:] = [answer]
            return answer

        answer = self.catalogue.write(once)
        last = self.catalogue.read(_last_entry)
        if last is not None:
            record_head(self.cache, self.catalogue.shown, *last)
        return answer


def read_versions(connection: Connection, model: str | None = None) -> list[Version]:
    """Versions with their aliases, tags and targets, by name, the newest first."""
    query = select(versions).order_by(
        versions.c.model, versions.c.registered.desc(), versions.c.version
    )
    if model is not None:
        query = query.where(versions.c.model == model)
    named = _by_version(connection, select(aliases.c.model, aliases.c.version, aliases.c.alias))
    placed = _by_version(
        connection, select(deployments.c.model, deployments.c.version, deployments.c.target)
    )
    tagged: dict[tuple[str, str], dict[str, str]] = {}
    for row in connection.execute(select(tags).order_by(tags.c.tag)):
        tagged.setdefault((row.model, row.version), {})[row.tag] = row.value
    found = []
    for row in connection.execute(query):
        values = dict(row._mapping)
        key = row.model, row.version
        values["metrics"] = msgspec.json.decode(row.metrics)
        values["sealed"] = bool(row.sealed)
        found.append(
            Version(
                **values,
                aliases=named.get(key, ()),
                tags=tagged.get(key, {}),
                targets=placed.get(key, ()),
            )
        )
    return found


def find_version(connection: Connection, reference: Reference) -> Version:
    """The one version that a reference names; InputError for none or several."""
    known = read_versions(connection, reference.name)
    if not known:
        raise InputError(
            f"no model {reference.name!r} is registered",
            where=str(reference),
            fix="roadworthy models list; or name a bundle's folder",
        )
    if reference.version is not None:
        found = [each for each in known if each.version.startswith(reference.version)]
    else:
        wanted = reference.alias or CHAMPION
        found = [each for each in known if wanted in each.aliases]
        if not found and reference.alias is None:
            found = known[:1]
    if not found:
        raise InputError(
            f"{reference.name!r} has no such version or alias",
            where=str(reference),
            fix=f"roadworthy models list {reference.name}",
        )
    if len(found) > 1:
        raise InputError(
            f"{len(found)} versions begin with {reference.version}",
            where=str(reference),
            fix="write more digits",
        )
    return found[0]


def set_tags(connection: Connection, model: str, version: str, wanted: dict[str, str]) -> None:
    """Make the tags of a version exactly these."""
    connection.execute(delete(tags).where(tags.c.model == model, tags.c.version == version))
    for name, value in sorted(wanted.items()):
        connection.execute(insert(tags).values(model=model, version=version, tag=name, value=value))


def _set_alias(connection: Connection, model: str, alias: str, version: str) -> None:
    here = aliases.c.model == model, aliases.c.alias == alias
    if not connection.execute(update(aliases).where(*here).values(version=version)).rowcount:
        connection.execute(insert(aliases).values(model=model, alias=alias, version=version))


def _by_version(connection: Connection, query: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for model, version, name in sorted(map(tuple, connection.execute(query))):
        found[model, version] = (*found.get((model, version), ()), name)
    return found


def _last_entry(connection: Connection) -> tuple[int, str] | None:
    query = select(ledger_table.c.number, ledger_table.c.digest)
    row = connection.execute(query.order_by(ledger_table.c.number.desc()).limit(1)).first()
    return None if row is None else (row.number, row.digest)


def _check_replay(connection: Connection, entries: Sequence[Entry]) -> None:
    """That aliases and versions are what the entries make of them."""
    said = ledger.aliases_at(entries)
    rows = connection.execute(select(aliases))
    if {(row.model, row.alias): row.version for row in rows} != said:
        raise CheckFailed("the catalogue's aliases are not what the ledger says")
    blobs: dict[tuple[str, str], str] = {}
    for entry in entries:
        if entry.action in ("register", "sign", "restore"):
            blobs[entry.model, entry.version] = msgspec.json.decode(entry.details)["blob"]
        elif entry.action == "delete":
            blobs.pop((entry.model, entry.version), None)
    if {(each.model, each.version): each.blob for each in read_versions(connection)} != blobs:
        raise CheckFailed("the catalogue's versions are not what the ledger says")
