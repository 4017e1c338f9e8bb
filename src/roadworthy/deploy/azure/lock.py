"""The lock of a deployment: a tag of its resource group.

Azure writes tags without a condition, so two may write at once. Each waits after it has written,
longer than a write takes, and looks whether it is still its own: the last writer holds the lock
(M. J. Fischer's algorithm: L. Lamport, A fast mutual exclusion algorithm, 1987).
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator

from roadworthy.deploy.azure.account import Account
from roadworthy.deploy.azure.resource import VERSIONS, Naming
from roadworthy.deploy.azure.tags import merge_tags, remove_tags
from roadworthy.errors import OutsideError
from roadworthy.registry.leases import holder, is_dead

LOCK = "roadworthy-lock"
_SETTLING = 3.0
_held: set[str] = set()


@contextlib.contextmanager
def held(account: Account, naming: Naming) -> Iterator[None]:
    """Hold it; one that a dead process of this machine left is taken over.

    The resource group must be there.

    Raises:
        OutsideError: Another deployment is at work.
    """
    mine = f"{holder()}/{uuid.uuid4().hex[:12]}"
    _take(account, naming, mine)
    _held.add(mine)
    try:
        yield
    finally:
        _held.discard(mine)
        with contextlib.suppress(OutsideError):  # the error that led here must not be hidden
            if _owner(account, naming) == mine:
                remove_tags(account, naming.group, {LOCK: mine})


def _take(account: Account, naming: Naming, mine: str) -> None:
    other = _owner(account, naming)
    process = other.rpartition("/")[0]
    if not other or is_dead(process) or (process == holder() and other not in _held):
        merge_tags(account, naming.group, {LOCK: mine})
        time.sleep(_SETTLING)
        other = _owner(account, naming)
    if other != mine:
        host, _, rest = (other or "somebody/who began just now").partition("/")
        raise OutsideError(
            f"another deployment is at work: {host}, process {rest.partition('/')[0]}",
            where=f"{account.place}, resource group {naming.name}",
            fix=f"wait for it; when it is surely dead, take the tag {LOCK} off the group",
        )


def _owner(account: Account, naming: Naming) -> str:
    group = account.get(naming.group, VERSIONS["microsoft.resources/resourcegroups"])
    return str(((group or {}).get("tags") or {}).get(LOCK, ""))
