"""Leases: what is being uploaded or downloaded is held, and a dead holder lets go by itself."""

from __future__ import annotations

import datetime
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, delete, insert, select

from roadworthy.errors import OutsideError
from roadworthy.registry.catalogue import Catalogue
from roadworthy.registry.schema import leases

_TERM = datetime.timedelta(hours=6)
"""Longer than any transfer; on the holder's own machine a dead process is seen at once."""


@contextmanager
def held(catalogue: Catalogue, blob: str) -> Iterator[None]:
    """Hold a blob against garbage collection.

    The collector looks at leases and deletes in one turn as a writer, so a lease that is written is
    kept, and a blob that was deleted before is seen to be missing after.
    """
    name = uuid.uuid4().hex
    expires = (datetime.datetime.now(datetime.UTC) + _TERM).isoformat(timespec="seconds")
    values = {"id": name, "blob": blob, "holder": holder(), "expires": expires}

    def take(connection: Connection) -> None:
        connection.execute(delete(leases).where(leases.c.id == name))  # of a repeated attempt
        connection.execute(insert(leases).values(**values))

    catalogue.write(take)
    try:
        yield
    finally:
        with suppress(OutsideError):  # it expires by itself; the real error must not be hidden
            catalogue.write(lambda connection: connection.execute(
                delete(leases).where(leases.c.id == name)
            ))  # fmt: skip


def held_blobs(connection: Connection) -> set[str]:
    """Blobs that someone alive holds; leases of the dead and the expired are removed."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found = set()
    for row in connection.execute(select(leases)).all():
        if row.expires < now or is_dead(row.holder):
            connection.execute(delete(leases).where(leases.c.id == row.id))
        else:
            found.add(row.blob)
    return found


def holder() -> str:
    """This process, such that `is_dead` can tell whether it still runs."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(name: str) -> bool:
    """Whether a holder is a process of this machine that is gone; others are not judged."""
    host, _, rest = name.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit() or not started:
        return False
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process began, in ticks since boot: process ids are used again. Empty: unknown."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
