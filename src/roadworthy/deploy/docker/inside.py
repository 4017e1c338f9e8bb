"""What runs in a release's container beside the server: it keeps the deployment's state.

    python -m roadworthy.deploy.docker.inside receive|accepted|switch|unswitch|keep ARGUMENTS

The state is in a volume that all containers of the deployment share: the sockets of releases, the
link to the one that callers get, which releases served before, and the verdicts.
"""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

SHARED = "/run/roadworthy"
STATE = Path(SHARED, "state")
CURRENT = "current.sock"
BEFORE = "before"
ACCEPTED = "accepted"


def receive(root: str = "/") -> None:
    """Lay the files of an archive on standard input, with their owners, over the volumes."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(root, numeric_owner=True, filter="fully_trusted")


def accepted(release: str) -> None:
    """Keep the verdict on standard input: the release has passed."""
    (STATE / ACCEPTED).mkdir(exist_ok=True)
    _write(STATE / ACCEPTED / release, sys.stdin.buffer.read())


def switch(release: str, back: str = "") -> None:
    """Let callers reach a release, and write down what served before.

    Args:
        release: The release.
        back: `back` in a rollback: what served is then the last one to roll back to.
    """
    link = STATE / CURRENT
    was = link.readlink().stem if link.is_symlink() else None
    if was is not None and was != release:
        others = [each for each in _before() if each not in (was, release)]
        _write_before([*others, was] if back else [was, *others])
    _point(release)


def unswitch(release: str = "") -> None:
    """Let callers reach what they reached before a switch; without a release: nothing."""
    if release:
        _point(release)
    else:
        (STATE / CURRENT).unlink(missing_ok=True)


def keep(*releases: str) -> None:
    """Forget all releases but these, the serving one first."""
    _write_before([each for each in _before() if each in releases[1:]])
    for folder, ending in ((STATE / ACCEPTED, ""), (Path(SHARED), ".sock")):
        for file in folder.glob(f"*{ending}") if folder.is_dir() else ():
            if not file.is_dir() and file.name.removesuffix(ending) not in releases:
                file.unlink(missing_ok=True)


def _point(release: str) -> None:
    draft = STATE / f"{CURRENT}.new"
    draft.unlink(missing_ok=True)
    draft.symlink_to(f"{SHARED}/{release}.sock")
    draft.replace(STATE / CURRENT)


def _before() -> list[str]:
    file = STATE / BEFORE
    return file.read_text().split() if file.exists() else []


def _write_before(releases: list[str]) -> None:
    _write(STATE / BEFORE, "".join(f"{each}\n" for each in releases).encode())


def _write(place: Path, content: bytes) -> None:
    draft = place.with_name(f"{place.name}.new")
    with draft.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(place)


WORK: dict[str, Callable[..., None]] = {
    "receive": receive, "accepted": accepted, "switch": switch, "unswitch": unswitch, "keep": keep,
}  # fmt: skip

if __name__ == "__main__":
    WORK[sys.argv[1]](*sys.argv[2:])
