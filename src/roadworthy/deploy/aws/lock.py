"""The lock of a deployment: a parameter of Systems Manager, which only one can create."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

from roadworthy.deploy.aws.account import Account, CutOffError
from roadworthy.deploy.aws.call import Call
from roadworthy.deploy.aws.part import Naming
from roadworthy.errors import OutsideError
from roadworthy.registry.leases import holder, is_dead

LOCK = "aws-lock"
_held: set[str] = set()


@contextlib.contextmanager
def held(account: Account, naming: Naming) -> Iterator[None]:
    """Hold it; one that a dead process of this machine left is taken over.

    Raises:
        OutsideError: Another deployment is at work.
    """
    name, mine = f"/roadworthy/{naming.deployment}/lock", f"{holder()}/{uuid.uuid4().hex}"
    _take(account, naming, name, mine)
    _held.add(mine)
    try:
        yield
    finally:
        _held.discard(mine)
        with contextlib.suppress(OutsideError):  # the error that led here must not be hidden
            _let_go(account, name, mine)


def _take(account: Account, naming: Naming, name: str, mine: str) -> None:
    put = _ssm("PutParameter", Name=name, Value=mine, Type="String", Overwrite=False,
               Tags=naming.tags(LOCK), met=("ParameterAlreadyExists",))  # fmt: skip
    other = ""
    for _ in range(3):
        with contextlib.suppress(CutOffError):  # whose it is now is seen by reading it
            account.call(put)
        other = _owner(account, name)
        if other == mine:
            return
        process = other.rpartition("/")[0]
        if other and not (is_dead(process) or (process == holder() and other not in _held)):
            break
        if other:
            _let_go(account, name, other)
    host, _, rest = other.partition("/")
    raise OutsideError(
        f"another deployment is at work: {host}, process {rest.partition('/')[0]}",
        where=f"aws {account.region}, parameter {name}",
        fix=f"wait for it; when it is surely dead: aws ssm delete-parameter --name {name}",
    )


def _owner(account: Account, name: str) -> str:
    answer = account.call(_ssm("GetParameter", Name=name, met=("ParameterNotFound",)))
    return str(answer.get("Parameter", {}).get("Value", ""))


def _let_go(account: Account, name: str, owner: str) -> None:
    if _owner(account, name) == owner:
        account.call(_ssm("DeleteParameter", Name=name, met=("ParameterNotFound",)))


def _ssm(operation: str, *, met: tuple[str, ...] = (), **parameters: object) -> Call:
    return Call(service="ssm", operation=operation, parameters=parameters, met=met)
