"""The lock of a deployment: a health check that checks nothing, which only one can create.

Compute Engine makes a name once, and health checks cost nothing; its description says who holds it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from roadworthy.deploy.gcp.account import Account, CutOffError
from roadworthy.deploy.gcp.resource import Naming
from roadworthy.errors import OutsideError
from roadworthy.registry.leases import holder, is_dead

_held: set[str] = set()


@contextlib.contextmanager
def held(account: Account, naming: Naming) -> Iterator[None]:
    """Hold it; one that a dead process of this machine left is taken over.

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
            _let_go(account, naming, mine)


def _take(account: Account, naming: Naming, mine: str) -> None:
    body = {
        "name": _name(naming),
        "description": mine,
        "type": "TCP",
        "tcpHealthCheck": {"port": 22},
    }
    other = ""
    for _ in range(3):
        with contextlib.suppress(CutOffError):  # whose it is now is seen by reading it
            account.change(
                "healthChecks", "insert", again=False, project=account.project, body=body
            )
        other = _owner(account, naming)
        if other == mine:
            return
        process = other.rpartition("/")[0]
        if other and not (is_dead(process) or (process == holder() and other not in _held)):
            break
        if other:
            _let_go(account, naming, other)
    host, _, rest = other.partition("/")
    raise OutsideError(
        f"another deployment is at work: {host}, process {rest.partition('/')[0]}",
        where=f"{account.place}, health check {_name(naming)}",
        fix="wait for it; when it is surely dead: "
        f"gcloud compute health-checks delete {_name(naming)}",
    )


def _owner(account: Account, naming: Naming) -> str:
    found = account.get("healthChecks", project=account.project, healthCheck=_name(naming))
    return str((found or {}).get("description", ""))


def _let_go(account: Account, naming: Naming, owner: str) -> None:
    if _owner(account, naming) == owner:
        account.change("healthChecks", "delete", project=account.project, healthCheck=_name(naming))


def _name(naming: Naming) -> str:
    return f"{naming.name}-lock"
