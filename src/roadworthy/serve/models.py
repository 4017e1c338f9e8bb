"""The models that are served: versions, hot swap, canary, shadow.

A model's place is followed: the path of a bundle, or a symbolic link to one. When it leads to
another version, that one is verified, its signature included, loaded, and asked its golden rows
by the ways that requests take; only then it answers. Requests that began with the old version end
with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from roadworthy.bundle import Bundle
from roadworthy.contract import Contract
from roadworthy.errors import RoadworthyError
from roadworthy.project import ServeSection
from roadworthy.serve.columns import Encoded
from roadworthy.serve.messages import Request
from roadworthy.serve.prediction_log.entries import rows_of
from roadworthy.serve.predictions import Batch, Predictor
from roadworthy.serve.problems import RequestProblem

log = logging.getLogger("roadworthy.serve")
_SHARES = 10_000


class Found(NamedTuple):
    """What a place holds now.

    Attributes:
        path: The bundle.
        stamp: What tells a file from the one that lay there before; empty for a folder.
    """

    path: Path
    stamp: tuple[int, ...] = ()


class Place(Protocol):
    """Where a model comes from; it may come to hold another version."""

    def find(self) -> Found:
        """The bundle that it holds now."""


class PathPlace:
    """A bundle's folder or file, or a symbolic link to one.

    Args:
        path: The folder, file or link.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self) -> Found:
        """The bundle, links resolved; a file that was replaced is another one."""
        path = self.path.resolve()
        try:
            about = path.stat()
        except OSError:  # who opens it says so
            return Found(path)
        if stat.S_ISDIR(about.st_mode):
            return Found(path)
        return Found(path, (about.st_ino, about.st_mtime_ns, about.st_size))


class Comparison(msgspec.Struct):
    """What a shadow or canary did beside the current version.

    Attributes:
        rows: Rows that both answered.
        different: Rows with another class, or a number that differs by more than a hundredth of
            the target's standard deviation.
        failures: Requests that only the other version could not answer.
        seconds: Time of the other version.
        current_seconds: Time of the current one on the same requests.
    """

    rows: int = 0
    different: int = 0
    failures: int = 0
    seconds: float = 0.0
    current_seconds: float = 0.0


class Opener:
    """The one way in which a server opens a bundle.

    Args:
        options: `[serve]`.
        trusted_keys: Public keys, one of which must have signed it; none: signatures are not
            looked at.
        trusted_types: Types that the skops file of a bundle without a core may hold.
    """

    def __init__(
        self,
        options: ServeSection,
        trusted_keys: Sequence[str],
        trusted_types: Sequence[str] = (),
    ) -> None:
        self.options = options
        self.trusted_keys = trusted_keys
        self.trusted_types = trusted_types

    async def open(self, path: Path) -> Predictor:
        """Verify and load a bundle, and ask it its golden rows alone and together.

        Args:
            path: The bundle's folder, `.rwb` or sealed `.rwb`.

        Raises:
            InputError: It is no bundle.
            CheckFailed: It is damaged, no trusted key signed it, or it answers a golden row wrong:
                such a model is never served.
        """
        options = self.options
        bundle = await asyncio.to_thread(
            Bundle,
            path,
            absent=options.absent,
            trusted_keys=self.trusted_keys,
            allow_pickle=options.allow_pickle,
            trusted_types=self.trusted_types,
        )
        await asyncio.to_thread(lambda: bundle.engine)
        predictor = Predictor(
            bundle, options.max_rows, options.max_text, int(options.max_body_mb * 1_000_000)
        )
        await predictor.check_golden()
        return predictor


class Model:
    """One model that is served.

    Args:
        place: Where it comes from.
        opener: What opens another version.
        found: What the place held when it was opened.
        current: The version that answers.

    Attributes:
        canary: A version that answers a share of the requests.
        shadow: A version that is asked too, and whose answers are only compared.
        comparison: What the shadow said.
    """

    def __init__(self, place: Place, opener: Opener, found: Found, current: Predictor) -> None:
        self.place = place
        self.opener = opener
        self.options = opener.options
        self.found = found
        self.current = current
        self.canary: Predictor | None = None
        self.shadow: Predictor | None = None
        self.comparison = Comparison()
        self._refused: Found | None = None
        self._shadowing = 0

    @property
    def name(self) -> str:
        """The model's name."""
        return self.current.bundle.manifest.name

    def loaded(self) -> list[Predictor]:
        """Every version that can be asked, the current one first."""
        return [one for one in (self.current, self.canary, self.shadow) if one is not None]

    def answering(self) -> list[Predictor]:
        """The versions whose answers callers get."""
        return [one for one in (self.current, self.canary) if one is not None]

    def versions(self) -> Sequence[str]:
        """The versions that can be asked for by name."""
        return list(dict.fromkeys(one.short_version for one in self.loaded()))

    def choose(self, request: Request, version: str | None = None) -> Predictor:
        """The version that answers a request.

        Raises:
            RequestProblem: The version that is asked for is not here (404).
        """
        if version is not None:
            for predictor in self.loaded():
                if version in (predictor.short_version, predictor.bundle.version):
                    return predictor
            raise RequestProblem(404, f"the versions are {', '.join(self.versions())}")
        if self.canary is not None and _share(request, self.options.canary_key) < (
            self.options.canary_percent * _SHARES / 100
        ):
            return self.canary
        return self.current

    async def follow(self) -> bool:
        """Swap to what the place holds now; True when it was another version.

        A version that cannot be served is refused once, and the old one goes on.
        """
        found = self.place.find()
        if found in (self.found, self._refused):
            return False
        try:
            self.current = await self.opener.open(found.path)
        except RoadworthyError as error:
            self._refused = found
            log.error(
                "%s goes on with version %s: %s", self.name, self.current.short_version, error
            )
            return False
        self.found, self._refused = found, None
        log.warning("%s is now version %s", self.name, self.current.short_version)
        return True

    async def compare(
        self, read: Callable[[Predictor], Awaitable[Encoded]], batch: Batch, seconds: float
    ) -> None:
        """Ask the shadow what the current version was asked, and note the difference.

        Args:
            read: Reads the request for another version.
            batch: What the current version answered.
            seconds: The time that it took.
        """
        if self.shadow is None or self._shadowing >= self.options.shadow_queue:
            return
        self._shadowing += 1
        start = time.perf_counter()
        try:
            other = await self.shadow.batch(await read(self.shadow), "")
        except RequestProblem:
            self.comparison.failures += 1
        else:
            self.comparison.rows += len(other.scores)
            self.comparison.different += _differences(self.current, batch, self.shadow, other)
            self.comparison.seconds += time.perf_counter() - start
            self.comparison.current_seconds += seconds
        finally:
            self._shadowing -= 1

    def verdict(self) -> dict[str, object]:
        """What the comparison with the shadow comes to."""
        found = self.comparison
        share = found.different / found.rows if found.rows else 0.0
        enough = found.rows >= self.options.shadow_rows
        good = enough and share <= self.options.shadow_tolerance and not found.failures
        return {
            "version": self.shadow.short_version if self.shadow else None,
            "rows": found.rows,
            "different": found.different,
            "different_share": share,
            "failures": found.failures,
            "seconds": found.seconds,
            "current_seconds": found.current_seconds,
            "verdict": "same" if good else "different" if enough else "too few rows",
        }


async def read_again(encoded: Encoded, contract: Contract, other: Predictor) -> Encoded:
    """Read for another version what one with `contract` has read."""
    rows = rows_of(encoded.inputs, len(encoded.matrix), contract)
    return await other.reader.mappings(list(rows))


async def load_model(place: Place, opener: Opener) -> Model:
    """Open the version that a place holds; raises as `Opener.open`."""
    found = place.find()
    return Model(place, opener, found, await opener.open(found.path))


def _share(request: Request, key: str) -> int:
    """A number from 0 to 9999 for a request: always the same for the same key."""
    text = request.head.headers.get(key) or request.id
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) % _SHARES


def _differences(one: Predictor, first: Batch, two: Predictor, second: Batch) -> int:
    if len(first.scores) != len(second.scores):
        return len(first.scores)
    pairs = zip(one.predictions(first), two.predictions(second), strict=True)
    if one.target.classes:
        return sum(a != b for a, b in pairs)
    return sum(abs(a - b) > 0.01 * one.target.scale for a, b in pairs)
