"""The ledger: who put which version where, when, with which verdict; appended to, never changed.

Every entry holds the SHA-256 of the one before it (a hash chain, as in Haber and Stornetta, 1991),
so that an edit, a removal or a swap shows. Cutting the end off shows only against a head that was
written down elsewhere: each user's machine does that by itself.
"""

from __future__ import annotations

import datetime
import getpass
import hashlib
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from roadworthy.errors import CheckFailed, InputError
from roadworthy.registry.schema import ledger

START = "0" * 64
"""What stands for the entry before the first."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        number: 1, 2, 3, …
        at: When, in UTC, ISO 8601 with microseconds.
        who: `ROADWORTHY_ACTOR`, or user@machine.
        action: `register`, `sign`, `restore`, `promote`, `rollback`, `remove`, `tag`, `deploy`,
            `retire`, `image` or `delete`.
        model: The model's name.
        version: The version.
        place: The alias, tag or target it was put to; empty for none.
        verdict: What the gates had said, when it is known.
        details: What else there is, as JSON.
        operation: A random id, by which a repeated attempt is recognised.
        previous: The digest of the entry before.
        digest: SHA-256 of all the above as sorted JSON.
    """

    number: int
    at: str
    who: str
    action: str
    model: str
    version: str
    place: str
    verdict: str
    details: str
    operation: str
    previous: str
    digest: str


def now() -> str:
    """This moment in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def actor() -> str:
    """Who is acting: `ROADWORTHY_ACTOR`, or user@machine."""
    named = os.environ.get("ROADWORTHY_ACTOR")
    if named:
        return named
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def append(
    connection: Connection,
    action: str,
    model: str,
    version: str,
    *,
    operation: str,
    place: str = "",
    verdict: str = "",
    details: dict[str, Any] | None = None,
) -> Entry:
    """Write an entry inside the caller's transaction, in which no one else writes."""
    last = connection.execute(
        select(ledger.c.number, ledger.c.digest, ledger.c.at)
        .order_by(ledger.c.number.desc())
        .limit(1)
    ).first()
    values: dict[str, Any] = {
        "number": last.number + 1 if last else 1,
        # A clock that was set back must not put an entry before its predecessor.
        "at": max(now(), last.at) if last else now(),
        "who": actor(),
        "action": action,
        "model": model,
        "version": version,
        "place": place,
        "verdict": verdict,
        "details": msgspec.json.encode(details or {}, order="sorted").decode(),
        "operation": operation,
        "previous": last.digest if last else START,
    }
    entry = Entry(**values, digest=_digest(values))
    connection.execute(insert(ledger).values(**msgspec.structs.asdict(entry)))
    return entry


def done(connection: Connection, operation: str) -> bool:
    """Whether an operation is in the ledger: a repeated attempt finds that it succeeded."""
    query = select(ledger.c.number).where(ledger.c.operation == operation)
    return connection.execute(query).first() is not None


def read(connection: Connection, model: str | None = None) -> list[Entry]:
    """Entries in order, of one model or of all."""
    query = select(ledger).order_by(ledger.c.number)
    if model is not None:
        query = query.where(ledger.c.model == model)
    return [Entry(**row._mapping) for row in connection.execute(query)]


def check_chain(entries: Sequence[Entry], heads: Iterable[tuple[int, str]] = ()) -> None:
    """Recompute the chain.

    Args:
        entries: All of them, in order.
        heads: Numbers and digests that were written down elsewhere; each must still stand.

    Raises:
        CheckFailed: An entry was edited, removed, added or moved; the message names it.
    """
    previous = START
    for number, entry in enumerate(entries, 1):
        values = msgspec.structs.asdict(entry)
        digest = values.pop("digest")
        if entry.number != number:
            raise _broken(f"entry {number} is missing")
        if entry.previous != previous:
            raise _broken(f"entry {number} does not follow the one before it")
        if digest != _digest(values):
            raise _broken(f"entry {number} was changed")
        previous = digest
    for number, digest in heads:
        if number > len(entries):
            raise _broken(f"{number} entries were on record and there are {len(entries)}")
        if number and entries[number - 1].digest != digest:
            raise _broken(f"entry {number} is another than was on record")


def aliases_at(entries: Iterable[Entry], at: str | None = None) -> dict[tuple[str, str], str]:
    """What every alias stood for at a moment: (model, alias) -> version.

    Args:
        entries: In order.
        at: A moment as `parse_moment` gives it; None: after the last entry.
    """
    found: dict[tuple[str, str], str] = {}
    for entry in entries:
        if at is not None and entry.at > at:
            break
        if entry.action in ("promote", "rollback"):
            found[entry.model, entry.place] = entry.version
        elif entry.action == "remove":
            found.pop((entry.model, entry.place), None)
    return found


def alias_stack(entries: Iterable[Entry], model: str, alias: str) -> list[str]:
    """The versions an alias stood for, the present one last; a rollback takes one away."""
    stack: list[str] = []
    for entry in entries:
        if (entry.model, entry.place) != (model, alias):
            continue
        if entry.action == "promote":
            stack.append(entry.version)
        elif entry.action == "rollback":
            stack.pop()
        elif entry.action == "remove":
            stack.clear()
    return stack


def parse_moment(text: str) -> str:
    """A date (its last moment) or a date and time, in UTC unless it says another zone.

    Raises:
        InputError: It is neither.
    """
    try:
        if len(text) == 10:
            day = datetime.date.fromisoformat(text)
            moment = datetime.datetime.combine(day, datetime.time.max, datetime.UTC)
        else:
            moment = datetime.datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise InputError(
            f"{text!r} is not a date", fix="write 2026-05-01 or 2026-05-01T12:00"
        ) from None


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()


def _broken(what: str) -> CheckFailed:
    return CheckFailed(
        f"the ledger was tampered with: {what}",
        fix="compare it with a backup; what it says from there on is not evidence",
    )
