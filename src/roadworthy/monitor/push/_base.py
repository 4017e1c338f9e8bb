"""What every place that metrics are sent to does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from roadworthy.errors import OutsideError
from roadworthy.monitor.export import Sample


class PushPlace(NamedTuple):
    """Where exactly metrics go.

    Attributes:
        resource: Azure's id of the resource that they are about.
        endpoint: Address; None takes the cloud's own.
    """

    resource: str | None = None
    endpoint: str | None = None


class PushTarget(Protocol):
    """A place that metrics are sent to."""

    name: str

    def push(self, found: Sequence[Sample], place: PushPlace, now: float) -> int:
        """Send samples; how many values were taken.

        Args:
            found: The samples.
            place: Where exactly.
            now: Seconds since 1970.

        Raises:
            InputError: The place is not known well enough.
            OutsideError: A library is missing, or the place did not take them.
        """
        ...


def missing(library: str, extra: str) -> OutsideError:
    """That a library is not there."""
    return OutsideError(f"{library} is missing", fix=f"pip install roadworthy[{extra}]")


def refused(who: str, reason: object) -> OutsideError:
    """That metrics were not taken; the next look sends newer ones."""
    return OutsideError(
        f"{who} did not take the metrics: {reason}",
        fix="look at the rights, the region and the network; the next look sends newer ones",
    )
