"""A Ray cluster: attach to one, or start one on this machine for as long as a job takes."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

from roadworthy.errors import OutsideError, RoadworthyError

_OBJECT_STORE = 512 << 20
_STARTS = 5


@contextlib.contextmanager
def attached(
    address: str | None, workers: int | None = None, *, store_bytes: int = _OBJECT_STORE
) -> Iterator[Any]:
    """The Ray library, attached to a cluster.

    Args:
        address: `ray://HOST:PORT`, `HOST:PORT` or `auto`; None takes the environment's
            `RAY_ADDRESS`, and where that is not set starts a cluster on this machine, which ends
            with the job.
        workers: Cores of a cluster that is started here.
        store_bytes: Object store of a cluster that is started here.

    Raises:
        OutsideError: Ray is not installed, or no cluster answers.
    """
    # Ray sends usage reports unless it is told not to before it is loaded.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Under `uv run` Ray would have every worker build the environment anew, in a copy of it all.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise OutsideError(
            "Ray is not installed", fix="pip install 'roadworthy[ray]' here and on every node"
        ) from None
    if ray.is_initialized():  # the caller's own: theirs to end
        yield ray
        return
    wanted = address or os.environ.get("RAY_ADDRESS") or None
    if wanted not in (None, "auto", "local"):
        knock(wanted)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if wanted is None:
        options |= {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False}
        options |= {"object_store_memory": store_bytes}
    _start(ray, wanted, options)
    try:
        yield ray
    finally:
        ray.shutdown()


def _start(ray: Any, address: str | None, options: dict[str, Any]) -> None:
    # Ray gives a cluster half a minute to come up, which a busy machine may exceed
    for attempt in reversed(range(_STARTS if address is None else 1)):
        try:
            ray.init(address, **options)
            return
        except Exception as error:  # of many kinds: connection, version, resources
            ray.shutdown()  # what was half started
            if not attempt:
                first_line = (str(error).splitlines() or [type(error).__name__])[0]
                raise _unusable(address, first_line[:200]) from None


def knock(address: str) -> None:
    """Say at once that nobody listens: Ray itself tries for half a minute.

    Raises:
        OutsideError: The address is none, or nobody is there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except ValueError:
        raise _unusable(address, "an address is HOST:PORT or ray://HOST:PORT") from None
    except OSError as error:
        raise _unusable(address, str(error.strerror or error)) from None


def _unusable(address: str | None, reason: str) -> OutsideError:
    return OutsideError(
        f"the Ray cluster cannot be used: {reason}",
        where=address,
        fix="check the address, and that every node has the same Python, Ray and Roadworthy",
    )


def lost(error: Exception) -> RoadworthyError:
    """What a user is told of an error that came from a cluster."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RoadworthyError):
        return cause
    first_line = (str(cause or error).splitlines() or [type(error).__name__])[0]
    return OutsideError(
        f"the Ray cluster lost the job: {type(cause or error).__name__}: {first_line[:200]}",
        fix="check the nodes' memory and logs, then run the same again",
    )
