"""One deployment at a time: a container that is never started, which only one can make.

The engine makes a name once, whoever asks it, from whichever machine or container.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
import uuid
from collections.abc import Iterator

from roadworthy.deploy.docker.engine import Engine
from roadworthy.errors import OutsideError
from roadworthy.registry.leases import holder, is_dead

_IMAGE = "roadworthy/lock:latest"
HOLDER = "roadworthy.holder"
_TRIES = 5
_held: set[str] = set()


@contextlib.contextmanager
def locked(engine: Engine, name: str) -> Iterator[None]:
    """Hold a lock of an engine; one that a dead process left is taken over.

    Args:
        engine: The engine.
        name: The lock's name.

    Raises:
        OutsideError: Somebody else holds it.
    """
    mine = f"{holder()}/{uuid.uuid4().hex}"
    _take(engine, name, mine)
    _held.add(mine)
    try:
        yield
    finally:
        _held.discard(mine)
        with contextlib.suppress(OutsideError):  # the error that led here must not be hidden
            engine.run("rm", "--force", name)
        with contextlib.suppress(OutsideError):  # another's lock is made of it
            engine.run("rmi", _IMAGE)


def _take(engine: Engine, name: str, mine: str) -> None:
    for _ in range(_TRIES):
        try:
            _have_image(engine)
            engine.run("create", f"--name={name}", f"--label={HOLDER}={mine}", _IMAGE, "nothing")
            return
        except OutsideError as error:
            failed = error
        other = engine.containers(HOLDER).get(name)
        if other is None:
            continue  # let go just now, or the image went with another's lock
        theirs = other["Config"]["Labels"][HOLDER]
        process = theirs.rpartition("/")[0]
        if not (is_dead(process) or (process == holder() and theirs not in _held)):
            host, _, rest = process.partition("/")
            raise OutsideError(
                f"another deployment is at work: {host}, process {rest.partition('/')[0]}",
                where=name,
                fix=f"wait for it; when it is surely dead, {engine.name} rm {name}",
            )
        with contextlib.suppress(OutsideError):
            engine.run("rm", other["Id"])  # that very one: a new one has another id
    raise failed


def _have_image(engine: Engine) -> None:
    if engine.image(_IMAGE) is not None:
        return
    with tempfile.TemporaryFile() as held:
        with tarfile.open(fileobj=held, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("roadworthy"), io.BytesIO())
        held.seek(0)
        engine.feed(["import", "-", _IMAGE], held)
