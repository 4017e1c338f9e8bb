"""What supervisor and workers say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from roadworthy.project import ServeSection


class Orders(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker is told on its standard input.

    Attributes:
        models: Paths of the bundles.
        options: `[serve]`.
        socket: File descriptor of the listening socket.
        share: Folder in which workers share their counts.
        counts: Folder in which what is served is counted; None: in `share`.
        counts_seconds: How often counts are written.
        counts_hours_days: Days for which they are kept by the hour.
        trusted_keys: Public keys, one of which must have signed every bundle that is opened.
    """

    models: list[str]
    options: ServeSection
    socket: int
    share: str | None
    trusted_keys: tuple[str, ...] = ()
    counts: str | None = None
    counts_seconds: float = 10.0
    counts_hours_days: int = 35


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that is served: `name:version` and a typical row."""

    model: str
    example: dict[str, Any]


class Word(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a worker says on its standard output, one line each.

    Attributes:
        kind: `ready`, `alive` (once a second) or `failed`.
        what: What is wrong.
        where: Where.
        fix: What to do about it.
        exit_code: The exit code that the command should have.
        served: The models, when ready.
    """

    kind: str
    what: str = ""
    where: str | None = None
    fix: str | None = None
    exit_code: int = 0
    served: tuple[Served, ...] = ()
